/*
 * sandbox_private: what the files sandbox*.c share.
 */
#ifndef NET_SANDBOX_PRIVATE_H
#define NET_SANDBOX_PRIVATE_H

#include "net/sandbox.h"

/* Both add up a row and the one of the sanitizers. 0 or an errno value; `what` is then the step that failed. */
int sandbox_filter_calls(unsigned calls, const char **what);
int sandbox_confine_files(const struct sandbox_row *row, const struct sandbox_needs *needs, int abi, const char **what);

/* Calls that the filter hands over as a signal fail, and are remembered. False: this machine cannot. */
bool sandbox_catch_refused(void);
/* Such a call fails with EPERM instead of ENOSYS. */
void sandbox_forbid(int number);

/* What Landlock can be asked for on this kernel; 0: nothing. */
int sandbox_landlock_abi(void);

#endif
