/*
 * host: what this machine says of itself.
 */
#ifndef NET_HOST_H
#define NET_HOST_H

#include "base/buf.h"

/* The full host name, or "localhost" when it has none that is a domain name. At most 255 octets. */
bool host_name(struct buf *out);
/* Processors that this process may use; at least 1. */
unsigned host_cores(void);
/* Text that is the same until the machine boots again; empty when unknown. */
bool host_boot_id(struct buf *out);

#endif
