/*
 * The smallest handler that commits on touch: it makes a window of pages accessible and does nothing else. It has no
 * registry, limits, filter or counts, and serves one block at a time. It is the baseline for the cost of elbowroom's
 * faults.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

static char *base;
static size_t length;
static size_t window;
static struct sigaction earlier_segv, earlier_bus;

static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)base;
    if (offset >= length || mprotect(base + offset / window * window, window, PROT_READ | PROT_WRITE) != 0) {
        /* The touch runs again; its fault then goes to the handler that was installed before. */
        sigaction(signal, signal == SIGSEGV ? &earlier_segv : &earlier_bus, NULL);
    }
}

/* Reserves `bytes`, a multiple of `window_bytes`, which is a multiple of the page size. Returns NULL on failure. */
void *bare_handler_begin(size_t bytes, size_t window_bytes) {
    struct sigaction action = {0};
    void *block = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        return NULL;
    }
    base = block;
    length = bytes;
    window = window_bytes;
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &earlier_segv);
    sigaction(SIGBUS, &action, &earlier_bus);
    return block;
}

void bare_handler_end(void) {
    sigaction(SIGSEGV, &earlier_segv, NULL);
    sigaction(SIGBUS, &earlier_bus, NULL);
    munmap(base, length);
    base = NULL;
    length = 0;
}
