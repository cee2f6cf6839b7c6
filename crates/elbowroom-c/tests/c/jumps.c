/* Leaves refused touches by siglongjmp: nested, by several threads, with and without alternate stacks. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "elbowroom.h"

#define TOUCHES 20000
#define THREADS 4
/* More than the alternate stacks that the library can lend at once. */
#define ENDED_THREADS 40
#define SMALL_STACK ((size_t)32 << 10)
#define HUNGRY_BYTES ((size_t)40 << 10)

static _Thread_local er_error error;
static _Thread_local sigjmp_buf *refused;
static er_region *region;
static size_t page;

static void on_signal(int number)
{
    siglongjmp(*refused, number);
}

/* Needs more than a small alternate stack has. */
static void on_signal_hungry(int number)
{
    volatile char room[HUNGRY_BYTES];
    for (size_t i = 0; i < sizeof room; i += 512)
        room[i] = (char)number;
    siglongjmp(*refused, room[512]);
}

/* The actions of the two signals that a refused touch may raise. */
static const int signals[2] = {SIGSEGV, SIGBUS};
static struct sigaction before[2];

static void install(void (*handler)(int), int flags)
{
    struct sigaction action = {0};
    action.sa_handler = handler;
    action.sa_flags = flags;
    for (int i = 0; i < 2; i++)
        CHECK(sigaction(signals[i], &action, &before[i]) == 0);
}

/* Makes a region of which only the first page may be committed, behind a handler. */
static void open_region(int32_t backend)
{
    er_region_options options = {0};
    options.size = sizeof options;
    options.backend = backend;
    options.commit_limit = page;
    options.flags = ER_REGION_QUIET;
    CHECK(er_region_new(16 * page, &options, &region, &error) == ER_OK);
    *(volatile char *)er_region_base(region) = 1;
}

static void close_region(void)
{
    CHECK(er_fault_handler_is_good() == 1);
    CHECK(er_region_get_stats(region).committed == page);
    CHECK(er_region_write(region, page, "a", 1, &error) == ER_LIMIT);
    CHECK(er_region_release(region, &error) == ER_OK);
    for (int i = 0; i < 2; i++)
        CHECK(sigaction(signals[i], &before[i], NULL) == 0);
}

/* Touches a page, and returns whether that was refused. */
static int is_refused(size_t number)
{
    sigjmp_buf *outer = refused;
    sigjmp_buf here;
    refused = &here;
    if (sigsetjmp(here, 1) != 0) {
        refused = outer;
        return 1;
    }
    ((volatile char *)er_region_base(region))[number * page] = 1;
    refused = outer;
    return 0;
}

static void check_mask(void)
{
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    for (int number = 1; number <= SIGSYS; number++)
        CHECK(sigismember(&mask, number) == 0);
}

/* Gives the thread an alternate stack above a page that may not be touched. */
static char *small_stack(void)
{
    char *base = mmap(NULL, page + SMALL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && mprotect(base, page, PROT_NONE) == 0);
    stack_t stack = {.ss_sp = base + page, .ss_size = SMALL_STACK};
    CHECK(sigaltstack(&stack, NULL) == 0);
    return base;
}

static void drop_small_stack(char *base)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    CHECK(sigaltstack(&none, NULL) == 0);
    CHECK(munmap(base, page + SMALL_STACK) == 0);
}

static void nested(void)
{
    install(on_signal, SA_ONSTACK);
    open_region(ER_PROTECTION);
    static volatile int steps;
    sigjmp_buf outer, inner;
    refused = &outer;
    if (sigsetjmp(outer, 1) == 0) {
        refused = &inner;
        if (sigsetjmp(inner, 1) == 0) {
            CHECK(is_refused(1));
            steps++;
            ((volatile char *)er_region_base(region))[2 * page] = 1;
            steps += 100;
        } else {
            /* The recovery is refused as well, which the outer scope sees. */
            steps++;
            CHECK(is_refused(3));
            refused = &outer;
            ((volatile char *)er_region_base(region))[4 * page] = 1;
            steps += 100;
        }
    } else {
        steps++;
    }
    CHECK(steps == 3);
    check_mask();
    CHECK(er_region_get_stats(region).refused == 4);
    close_region();
}

struct plan {
    int has_stack;
    int keeps_stack;
    int touches;
};

static void *jump(void *argument)
{
    const struct plan *plan = argument;
    char *base = plan->has_stack ? small_stack() : NULL;
    stack_t stack, now;
    CHECK(sigaltstack(NULL, &stack) == 0);
    for (int i = 0; i < plan->touches; i++) {
        errno = i;
        CHECK(is_refused(1 + (size_t)i % 15));
        CHECK(errno == i);
    }
    check_mask();
    CHECK(sigaltstack(NULL, &now) == 0);
    CHECK(!plan->keeps_stack || (now.ss_sp == stack.ss_sp && now.ss_flags == stack.ss_flags));
    if (plan->has_stack)
        drop_small_stack(base);
    return NULL;
}

static void by_threads(int32_t backend, int flags, int has_stack)
{
    install(on_signal, flags);
    open_region(backend);
    struct plan plan = {has_stack, flags != 0 || !has_stack, TOUCHES};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, jump, &plan) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    er_region_stats stats = er_region_get_stats(region);
    CHECK(stats.refused == (uint64_t)TOUCHES * THREADS && stats.faults == stats.refused + 1);
    close_region();
}

/* A stack that the library has lent is not lost to others: not while its thread lives, and not after. */
static void lent_stacks_come_back(void)
{
    install(on_signal_hungry, 0);
    open_region(ER_PROTECTION);
    char *base = small_stack();
    for (int i = 0; i < ENDED_THREADS; i++)
        CHECK(is_refused(1));
    struct plan plan = {1, 0, 3};
    for (int i = 0; i < ENDED_THREADS; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, jump, &plan) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    drop_small_stack(base);
    close_region();
}

static int32_t commit(const er_fault *fault, void *user)
{
    (void)user;
    return er_fault_is_page_fault(fault) ? ER_COMMIT : ER_DECLINE;
}

/* Filters run as they did before. */
static void filters_go_on(void)
{
    er_region_options options = {0};
    options.size = sizeof options;
    options.growth_pages = 1;
    options.filter = commit;
    CHECK(er_region_new(2000 * page, &options, &region, &error) == ER_OK);
    for (size_t i = 0; i < 2000; i++)
        ((volatile char *)er_region_base(region))[i * page] = 1;
    CHECK(er_region_get_stats(region).faults == 2000);
    CHECK(er_region_release(region, &error) == ER_OK);
}

int main(void)
{
    page = er_page_size();
    nested();
    lent_stacks_come_back();

    /* The second is userfaultfd where the system allows it, which raises SIGBUS. */
    const int32_t backends[2] = {ER_PROTECTION, ER_AUTO};
    for (int i = 0; i < 2; i++) {
        by_threads(backends[i], SA_ONSTACK, 0);
        by_threads(backends[i], SA_ONSTACK, 1);
        by_threads(backends[i], 0, 0);
        by_threads(backends[i], 0, 1);
    }
    filters_go_on();
    return 0;
}
