/*
 * shared: memory that processes have in common.
 *
 * Its size is sealed: nobody can make it smaller under the others' feet. What stands in it may be changed by each of
 * them at any moment, also by one that is in an attacker's hand: only numbers belong there, each read once.
 */
#ifndef NET_SHARED_H
#define NET_SHARED_H

#include <stdbool.h>
#include <stddef.h>

/* A descriptor of zeroed memory; -1 with errno. `name` is for people who look at the process. */
int shared_new(const char *name, size_t size);
/* Takes fd, also on failure: NULL with errno when it is not memory of this size whose size is sealed. */
void *shared_map(int fd, size_t size);
void shared_unmap(void *memory, size_t size);

#endif
