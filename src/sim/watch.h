/*
 * watch: looks at what the queue asks of its store, to see when it takes recipients up again.
 *
 * A retry is one recipient that the schedule had told to wait, because an attempt was put off or because its site
 * rests, and that the queue takes up again: it is counted in the second in which the store hands it over. This is what
 * the schedule chose and what the server has to carry, whether the site's window then lets it come to a connection or
 * sends it back. First attempts are not counted: their time was chosen by the clients. Nor is what a restart brings.
 */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include "sim/sim.h"

struct watch_spread {
	uint64_t retries;
	uint64_t busiest; /* second: how many */
	double mean;      /* of a second */
};
/* From the second of `from` to that of `until`, which may not be later than now. */
struct watch_spread watch_spread(sim_us from, sim_us until);

#endif
