/* As much of the Windows API as `seed_windows.c` uses, for Linux. `windows.c` implements it with elbowroom. */
#ifndef ELBOWROOM_WINDOWS_H
#define ELBOWROOM_WINDOWS_H

#include <stddef.h>
#include <stdint.h>
#include <uchar.h>

#include "excpt.h"

#define VOID void
typedef void *LPVOID;
typedef char *PCHAR;
typedef int BOOL;
typedef int INT;
typedef uint32_t DWORD;
typedef size_t SIZE_T;

#ifdef UNICODE
typedef char16_t TCHAR;
#define TEXT(text) u##text
#else
typedef char TCHAR;
#define TEXT(text) text
#endif
typedef TCHAR *LPTSTR;

typedef struct {
    DWORD dwPageSize;
    DWORD dwAllocationGranularity;
} SYSTEM_INFO;

#define MEM_COMMIT 0x1000u
#define MEM_RESERVE 0x2000u
#define MEM_DECOMMIT 0x4000u
#define MEM_RELEASE 0x8000u
#define PAGE_NOACCESS 0x01u
#define PAGE_READWRITE 0x04u

#define ERROR_NOT_SUPPORTED 50u
#define ERROR_INVALID_PARAMETER 87u
#define ERROR_INVALID_ADDRESS 487u
#define ERROR_COMMITMENT_LIMIT 1455u

void GetSystemInfo(SYSTEM_INFO *info);
DWORD GetLastError(void);
_Noreturn void ExitProcess(DWORD status);

/* Reserves a block (no address, MEM_RESERVE), or commits the pages of a range in one (MEM_COMMIT). Committed pages can
 * be read and written. Returns NULL if it fails. */
LPVOID VirtualAlloc(LPVOID address, SIZE_T size, DWORD kind, DWORD protection);

/* Releases a block (its base, 0, MEM_RELEASE), or decommits the pages of a range in one (MEM_DECOMMIT). Returns 0 if it
 * fails. */
BOOL VirtualFree(LPVOID address, SIZE_T size, DWORD kind);

#endif
