/* What the sample does not use of the small windows.h: nested scopes, searching on, decommitting, and errors. */
#include <windows.h>
#include <tchar.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                               \
    do {                                                               \
        if (!(condition)) {                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);    \
            exit(1);                                                   \
        }                                                              \
    } while (0)

static volatile char *block;
static DWORD page;
static int asked;

static int answer(DWORD code, int verdict)
{
    CHECK(code == EXCEPTION_ACCESS_VIOLATION);
    asked++;
    if (verdict == EXCEPTION_CONTINUE_EXECUTION)
        CHECK(VirtualAlloc((LPVOID)block, page, MEM_COMMIT, PAGE_READWRITE) == block);
    return verdict;
}

static void nested(void)
{
    static volatile int handled, bodies;
    __try
    {
        __try
        {
            bodies++;
            block[0] = 1;
        }
        __except (answer(GetExceptionCode(), EXCEPTION_CONTINUE_SEARCH))
        {
            handled += 100;
        }
    }
    __except (answer(GetExceptionCode(), EXCEPTION_EXECUTE_HANDLER))
    {
        /* A handler is outside its scope, so a scope of its own sees what it does. */
        __try
        {
            bodies++;
            block[1] = 2;
        }
        __except (answer(GetExceptionCode(), EXCEPTION_CONTINUE_EXECUTION))
        {
            handled += 100;
        }
        handled++;
    }
    CHECK(handled == 1 && bodies == 3 && asked == 3);
    CHECK(block[0] == 0 && block[1] == 2);
}

static void errors(void)
{
    LPVOID base = (LPVOID)block;
    CHECK(VirtualAlloc(base, 3 * page, MEM_COMMIT, PAGE_READWRITE) == NULL);
    CHECK(GetLastError() == ERROR_INVALID_ADDRESS);
    CHECK(VirtualAlloc(base, page, MEM_RESERVE, PAGE_READWRITE) == NULL);
    CHECK(GetLastError() == ERROR_NOT_SUPPORTED);
    CHECK(VirtualAlloc(NULL, 0, MEM_RESERVE, PAGE_NOACCESS) == NULL);
    CHECK(GetLastError() == ERROR_INVALID_PARAMETER);
    CHECK(VirtualAlloc(NULL, (SIZE_T)1 << 62, MEM_RESERVE, PAGE_NOACCESS) == NULL);
    CHECK(!VirtualFree((PCHAR)base + page, 0, MEM_RELEASE));
    CHECK(GetLastError() == ERROR_INVALID_PARAMETER);
    CHECK(VirtualFree(base, page, MEM_DECOMMIT));
    int is_gone = 0;
    __try
    {
        block[1] = 1;
    }
    __except (answer(GetExceptionCode(), EXCEPTION_EXECUTE_HANDLER))
    {
        is_gone = 1;
    }
    CHECK(is_gone);
    CHECK(VirtualFree(base, 0, MEM_RELEASE));
    CHECK(!VirtualFree(base, 0, MEM_RELEASE) && GetLastError() == ERROR_INVALID_ADDRESS);
}

VOID _tmain(VOID)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    page = info.dwPageSize;
    block = VirtualAlloc(NULL, 2 * page, MEM_RESERVE, PAGE_NOACCESS);
    CHECK(block != NULL);
    nested();
    errors();
}
