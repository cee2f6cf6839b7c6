/* The functions of windows.h, tchar.h and excpt.h. A block is a region whose filter declines every touch: the signal
 * goes on to the handler that was there before the first region, and so to the innermost __try. */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "elbowroom.h"
#include "tchar.h"

/* Exceptions. */

static _Thread_local struct excpt_scope *innermost;

int excpt_enter(struct excpt_scope *scope)
{
    if (!scope->runs_again)
        return 0;
    scope->runs_again = 0;
    scope->outer = innermost;
    innermost = scope;
    return 1;
}

void excpt_leave(struct excpt_scope *scope)
{
    /* Without an exception, nothing has left the scope yet. */
    if (innermost == scope)
        innermost = scope->outer;
}

/* Goes to the filter of the innermost scope, which is left. Without one, the process ends by the signal. */
static void raise_exception(uint32_t code, int signal)
{
    struct excpt_scope *scope = innermost;
    if (scope == NULL) {
        struct sigaction action = {0};
        action.sa_handler = SIG_DFL;
        sigaction(signal, &action, NULL);
        raise(signal);
        return;
    }
    innermost = scope->outer;
    scope->code = code;
    siglongjmp(scope->body, signal);
}

int excpt_continues(struct excpt_scope *scope, int answer)
{
    if (answer == EXCEPTION_CONTINUE_SEARCH)
        raise_exception(scope->code, scope->code == EXCEPTION_IN_PAGE_ERROR ? SIGBUS : SIGSEGV);
    scope->runs_again = answer == EXCEPTION_CONTINUE_EXECUTION;
    return scope->runs_again;
}

static void on_signal(int signal)
{
    raise_exception(signal == SIGBUS ? EXCEPTION_IN_PAGE_ERROR : EXCEPTION_ACCESS_VIOLATION, signal);
}

static void catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* Memory. */

static _Thread_local DWORD last_error;

struct block {
    er_region *region;
    size_t size;
    struct block *next;
};

static struct block *blocks;
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;

static int32_t decline(const er_fault *fault, void *user)
{
    (void)fault;
    (void)user;
    return ER_DECLINE;
}

/* Returns the link to the block that has all bytes of the range, with the range's offset in it, or NULL. */
static struct block **find(const void *address, size_t size, size_t *offset)
{
    for (struct block **link = &blocks; *link != NULL; link = &(*link)->next) {
        *offset = (uintptr_t)address - (uintptr_t)er_region_base((*link)->region);
        if (*offset < (*link)->size && size <= (*link)->size - *offset)
            return link;
    }
    return NULL;
}

static DWORD error_of(er_code code)
{
    if (code == ER_OK)
        return 0;
    return code == ER_LIMIT || code == ER_OUT_OF_MEMORY ? ERROR_COMMITMENT_LIMIT : ERROR_INVALID_PARAMETER;
}

static struct block *reserve(size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, catch_signals);

    struct block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        last_error = ERROR_COMMITMENT_LIMIT;
        return NULL;
    }
    er_region_options options = {0};
    options.size = sizeof options;
    options.filter = decline;
    options.flags = ER_REGION_QUIET;
    /* One page more, which is never committed: a touch right behind the block is an exception as well. */
    size_t page = er_page_size();
    block->size = (size + page - 1) / page * page;
    DWORD error = error_of(er_region_new(block->size + page, &options, &block->region, NULL));
    if (error != 0) {
        last_error = error;
        free(block);
        return NULL;
    }
    pthread_mutex_lock(&blocks_lock);
    block->next = blocks;
    blocks = block;
    pthread_mutex_unlock(&blocks_lock);
    return block;
}

LPVOID VirtualAlloc(LPVOID address, SIZE_T size, DWORD kind, DWORD protection)
{
    if (address == NULL && kind == MEM_RESERVE && protection == PAGE_NOACCESS) {
        struct block *block = reserve(size);
        return block == NULL ? NULL : er_region_base(block->region);
    }
    if (address == NULL || kind != MEM_COMMIT || protection != PAGE_READWRITE) {
        last_error = ERROR_NOT_SUPPORTED;
        return NULL;
    }
    size_t offset;
    pthread_mutex_lock(&blocks_lock);
    struct block **link = find(address, size, &offset);
    DWORD error = link == NULL ? ERROR_INVALID_ADDRESS : error_of(er_region_commit((*link)->region, offset, size, NULL));
    pthread_mutex_unlock(&blocks_lock);
    if (error == 0)
        return address;
    last_error = error;
    return NULL;
}

BOOL VirtualFree(LPVOID address, SIZE_T size, DWORD kind)
{
    size_t offset;
    DWORD error = ERROR_INVALID_PARAMETER;
    pthread_mutex_lock(&blocks_lock);
    struct block **link = find(address, size, &offset);
    if (link == NULL) {
        error = ERROR_INVALID_ADDRESS;
    } else if (kind == MEM_RELEASE && size == 0 && offset == 0) {
        struct block *block = *link;
        *link = block->next;
        error = error_of(er_region_release(block->region, NULL));
        free(block);
    } else if (kind == MEM_DECOMMIT && size > 0) {
        error = error_of(er_region_decommit((*link)->region, offset, size, NULL));
    }
    pthread_mutex_unlock(&blocks_lock);
    if (error != 0)
        last_error = error;
    return error == 0;
}

/* The rest. */

void GetSystemInfo(SYSTEM_INFO *info)
{
    info->dwPageSize = (DWORD)er_page_size();
    info->dwAllocationGranularity = (DWORD)er_allocation_granularity();
}

DWORD GetLastError(void)
{
    return last_error;
}

void ExitProcess(DWORD status)
{
    exit((int)status);
}

int _tprintf(const TCHAR *format, ...)
{
    int printed = 0;
    va_list arguments;
    va_start(arguments, format);
    for (; *format != 0; format++) {
        if (*format != '%') {
            printed += putchar((int)*format) != EOF;
            continue;
        }
        format++;
        if (*format == 'l')
            format++;
        if (*format == 'd') {
            printed += printf("%d", va_arg(arguments, int));
        } else if (*format == 's') {
            for (const TCHAR *text = va_arg(arguments, const TCHAR *); *text != 0; text++)
                printed += putchar((int)*text) != EOF;
        } else {
            abort();
        }
    }
    va_end(arguments);
    return printed;
}

int main(void)
{
    _tmain();
    return 0;
}
