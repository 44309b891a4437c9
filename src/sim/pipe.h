/*
 * pipe: two connected ends for the channels of two roles.
 */
#ifndef SIM_PIPE_H
#define SIM_PIPE_H

struct role_instance;

void pipe_new(struct role_instance *a, struct role_instance *b, int ret[2]);

#endif
