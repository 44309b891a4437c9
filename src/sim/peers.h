/*
 * peers: the clients and servers of the world, honest, sloppy and hostile as the plan of the run says.
 */
#ifndef SIM_PEERS_H
#define SIM_PEERS_H

#include "sim/kernel.h"
#include "sim/ledger.h"
#include "sim/users.h"
#include "smtp/client.h"

/* ---- servers: where mail goes to ---------------------------------------------------------------------------------
 * What a recipient's local part begins with says what becomes of it: "ok-" is taken, "no-" is refused for good,
 * "later-" is put off until the world has healed. */

/* With TLS, as the routes to them ask for; OFF: they have none. */
void servers_start(enum smtp_client_tls tls);
/* One more server, which takes what it is given for the domain `name` and all below it. Texts are lent for ever. */
void servers_open(const char *name, const char *address, uint16_t port);

/* What a server does once instead of what it would do. */
enum server_deed {
	SERVER_SAYS,           /* this reply */
	SERVER_LETS_NOBODY_IN, /* the reply instead of its greeting */
	SERVER_BREAKS,         /* it takes the message, and the connection breaks before its 250 */
};
/* At the next occasion, after so many others; of SERVER_SAYS: the next line that begins with `verb`. Texts are lent for
 * ever. */
void servers_will(const char *name, const char *verb, unsigned others, enum server_deed deed, const char *reply);

/* ---- clients: where mail comes from ------------------------------------------------------------------------------ */

/* `count` messages, the last of them handed in at about `until`. */
void clients_start(size_t count, sim_us until);
/* Of those that follow, some log in: rightly, with a wrong password, as nobody, as one who is disabled. */
void clients_log_in(void);
/* One more message, of a client that does not give up. */
struct client_order {
	struct slice sender, rcpt[LETTER_RCPTS];
	size_t count;
	size_t size; /* octets of its body, about */
	bool plain;  /* one command after the other, and DATA */
	const struct user *user; /* logs in as him; NULL: does not */
};
void clients_hand_in(const struct client_order *order);
/* No client has anything left to hand in. */
bool clients_are_done(void);
/* The world heals: nobody gives up any more. */
void clients_heal(void);

#endif
