/* What the tests in C share. */
#ifndef ELBOWROOM_TESTS_CHECK_H
#define ELBOWROOM_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Ends the program, with a line on standard error, if the condition is false. The file has an `er_error error`. */
#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, error.message); \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

#endif
