/* Characters of one or two bytes: see TCHAR in windows.h. */
#ifndef ELBOWROOM_TCHAR_H
#define ELBOWROOM_TCHAR_H

#include "windows.h"

/* Knows %d, %ld and %s. A long has 32 bits on Windows, so %ld is %d, and %s is a string of TCHAR. */
int _tprintf(const TCHAR *format, ...);

/* The program. */
VOID _tmain(VOID);

#endif
