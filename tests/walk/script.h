/*
 * script: what a walk is made of. A step is four numbers that mean the same wherever they stand, so that a walk can be
 * written down, shortened and played again; playing one tells the model what is done and hands out the octets.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "model.h"

enum step_kind {
	STEP_HELO,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_BDAT,
	STEP_RSET,
	STEP_QUIT,
	STEP_ASK,       /* VRFY, EXPN, HELP STATUS: the owner answers */
	STEP_PLAIN,     /* a line whose reply depends on nothing */
	STEP_BARE_VERB, /* MAIL, RCPT without argument */
	STEP_BURST,     /* so many good RCPT that the limit is met */
	STEP_LONG_LINE,
	STEP_PARTIAL, /* the start of a line, then the end of the session */
	STEP_SILENCE, /* long, but not too long */
	STEP_END,     /* the connection breaks, the server stops, or silence for too long */
	STEP_OTHER_PROTOCOL,
	STEP_STARTTLS,
	STEP_AUTH,
	STEP_RESPONSE, /* to a challenge; elsewhere a line like others */
	STEP_LONG_AUTH,  /* AUTH or a response at the limit of its length, or beyond it */
	STEP_MECHANISMS, /* the owner says anew which mechanisms can be used */
	STEP_XCLIENT,
	STEP_XFORWARD,
	STEP_KINDS
};

enum step_flag {
	STEP_JOIN = 1,         /* goes out in one piece with the next step */
	STEP_NO_WAIT = 2,      /* goes out, but the replies are not fetched */
	STEP_IMPATIENT = 4,    /* does not wait where RFC 2920 3.1 says so */
	STEP_FATE = 8,         /* enum model_fate, in two bits */
	STEP_FATE_SECOND = 32, /* of the second question to the owner */
	STEP_CUT = 64,         /* DATA, BDAT: the session ends within the octets */
};

struct step {
	uint8_t kind, flags;
	uint16_t what;
	uint32_t more;
};

#define WALK_STEPS 48

struct plan {
	uint64_t config;
	unsigned n;
	struct step step[WALK_STEPS];
};

/* Small, fast and good enough; never zero. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((random_next(state) >> 32) * n >> 32);
}

/* ---- configuration: bits of plan.config -------------------------------------------------------------------------- */

struct setting {
	struct smtp_server_config config;
	enum reply_id greeting;
	enum model_fate greeting_fate;
	uint32_t usable;        /* mechanisms of AUTH */
	uint32_t usable_secure; /* from the handshake on */
	struct smtp_server_trust trust;
	bool unshaken;          /* TLS from the first octet is awaited, and never comes */
	unsigned unshaken_end;  /* as player.end has it */
	bool pushed, impatient; /* octets come before the greeting is given, or seen */
};

void script_configure(uint64_t bits, struct setting *ret);
uint64_t script_random_config(uint64_t *random);

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* Where octets of a step go, and who plays what is not octets. */
struct player {
	struct model *m;
	void (*put)(struct player *p, struct slice octets);
	/* The client waits: everything goes out, all replies come in. */
	void (*wait)(struct player *p);
	/* The session ends: 0 lost, 1 shutdown, 2 silence. */
	void (*end)(struct player *p, unsigned how);
	void (*silence)(struct player *p);
	/* The handshake. */
	void (*secure)(struct player *p);
	/* The client waits, and then the owner says which mechanisms can be used. */
	void (*mechanisms)(struct player *p, uint32_t usable);
};

/* A step that fits to where the session is, or that does not, now and then. */
struct step script_random_step(uint64_t *random, const struct model *m);
void script_play(struct player *p, struct step s);
/* The decoration of events: "RCPT TO:<a@b>" */
const char *script_kind(enum step_kind kind);

#endif
