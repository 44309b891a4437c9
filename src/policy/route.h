/*
 * route: where the mail for a recipient goes.
 */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "base/slice.h"

enum route_kind {
	ROUTE_MAILBOX,         /* a Maildir here: `mailbox` */
	ROUTE_LMTP,            /* an LMTP server of ours: `hosts` */
	ROUTE_SMTP,            /* another server: `hosts` */
	ROUTE_UNKNOWN_MAILBOX, /* our domain, but no such mailbox: 550 5.1.1 */
	ROUTE_NONE,            /* not ours, and no route leads there: 550 5.4.4 */
};
#define ROUTE_KIND_MAX ROUTE_NONE

/*
 * All texts are lent from the configuration.
 *
 * The site is what connections are counted and retries paced by: recipients of one site go to the same next hops.
 */
struct route {
	enum route_kind kind;
	struct slice
		site; /* "example.net" for a domain of its own, "smarthost", "lmtp/example.com", "local/example.com" */
	struct slice mailbox; /* MAILBOX: path below the mail directory, "example.com/alice"; safe as a path */
	struct slice hosts;   /* SMTP, LMTP: name of a host group of the configuration; empty = the domain's own MX */
	bool hold;            /* what comes for it waits until an operator releases it */
};

#endif
