/*
 * peers: the clients and servers of the world, honest, sloppy and hostile as the plan of the run says.
 */
#ifndef SIM_PEERS_H
#define SIM_PEERS_H

#include "sim/kernel.h"

/* ---- servers: where mail goes to ---------------------------------------------------------------------------------
 * What a recipient's local part begins with says what becomes of it: "ok-" is taken, "no-" is refused for good,
 * "later-" is put off until the world has healed. */

void servers_start(void);

/* ---- clients: where mail comes from ------------------------------------------------------------------------------ */

/* `count` messages, the last of them handed in at about `until`. */
void clients_start(size_t count, sim_us until);
/* No client has anything left to hand in. */
bool clients_are_done(void);
/* The world heals: nobody gives up any more. */
void clients_heal(void);

#endif
