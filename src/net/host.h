/*
 * host: what this machine says of itself.
 */
#ifndef NET_HOST_H
#define NET_HOST_H

#include "base/buf.h"
#include "base/clock.h"

/* The full host name, or "localhost" when it has none that is a domain name. At most 255 octets. */
bool host_name(struct buf *out);
/* Processors that this process may use; at least 1. */
unsigned host_cores(void);
/* Text that is the same until the machine boots again; empty when unknown. */
bool host_boot_id(struct buf *out);

/* The clocks and the chance of tools that run without a loop (net/loop.h has those of roles). */
mono_ms host_mono(void);
/* The same clock in microseconds, for measuring. */
int64_t host_mono_us(void);
wall_ms host_wall(void);
uint64_t host_random(void);
void host_random_octets(void *into, size_t n);

#endif
