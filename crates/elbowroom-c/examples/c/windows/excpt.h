/* Structured exceptions by sigsetjmp and siglongjmp: a signal leaves the body of a __try and brings its number to the
 * filter of the __except.
 *
 * What differs from Windows: the filter runs after the body has been left, and EXCEPTION_CONTINUE_EXECUTION runs the
 * body again from its start, not from the instruction that failed. Neither `break`, `return` nor `goto` may leave a
 * body. A local variable that a body changes has to be volatile. */
#ifndef ELBOWROOM_EXCPT_H
#define ELBOWROOM_EXCPT_H

#include <setjmp.h>
#include <stdint.h>

#define EXCEPTION_EXECUTE_HANDLER 1
#define EXCEPTION_CONTINUE_SEARCH 0
#define EXCEPTION_CONTINUE_EXECUTION (-1)

#define EXCEPTION_ACCESS_VIOLATION 0xC0000005u
#define EXCEPTION_IN_PAGE_ERROR 0xC0000006u

struct excpt_scope {
    sigjmp_buf body;
    struct excpt_scope *outer;
    uint32_t code;
    int runs_again;
};

/* Enters the scope, if its body has to run. */
int excpt_enter(struct excpt_scope *scope);
/* Leaves it after the body, the filter or the handler. */
void excpt_leave(struct excpt_scope *scope);
/* Returns whether the answer of the filter is to run the body again. Does not return if it is to search on. */
int excpt_continues(struct excpt_scope *scope, int answer);

#define __try                                                                                        \
    for (struct excpt_scope excpt = {.runs_again = 1}; excpt_enter(&excpt); excpt_leave(&excpt))     \
        if (sigsetjmp(excpt.body, 1) == 0)

#define __except(filter)                                                                             \
        else if (excpt_continues(&excpt, (filter))) {                                                \
        } else

#define GetExceptionCode() (excpt.code)

#endif
