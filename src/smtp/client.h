/*
 * client: the client side of an SMTP or LMTP session, without I/O.
 *
 * Jobs go in (one message for some recipients of one next hop), outcomes come out: exactly one for each recipient of
 * each job, whatever the peer does. The session is reused for job after job. With PIPELINING the commands of a
 * job go out together, and the next job may start while the reply to the last end of data is still on its way.
 *
 *	smtp_client_start(c, now)
 *	taken = smtp_client_feed(c, in, now)
 *	while (smtp_client_next(c, &ev)) ...
 *	smtp_client_output / smtp_client_sent
 *	smtp_client_deadline -> smtp_client_tick
 *
 * The peer is hostile: replies are parsed strictly, bounded in lines and octets (smtp/limits.h), and matched to
 * commands by counting alone (RFC 2920 3.1). Loss of the connection after the end of the data was sent makes the
 * outcome ambiguous: deferred, and marked. RFC 5321 4.5.3.2 gives the timeouts.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "base/buf.h"
#include "base/clock.h"
#include "mail/envelope.h"
#include "smtp/outcome.h"

/* How much TLS a session has to have; more comes later. */
enum smtp_client_tls {
	SMTP_CLIENT_TLS_OFF,
	SMTP_CLIENT_TLS_OPPORTUNISTIC, /* if it is offered and can be had */
	SMTP_CLIENT_TLS_REQUIRED,      /* with whoever it is */
	SMTP_CLIENT_TLS_VERIFIED,      /* with a server whose certificate is that of its name */
	SMTP_CLIENT_TLS_DEMANDED,      /* the same, and it offers REQUIRETLS (RFC 8689 4.2.1) */
};

#define SMTP_CLIENT_MECHANISMS 16

struct smtp_client_mechanism {
	struct slice name;
	bool in_clear; /* may be used without TLS */
	bool binds;    /* only with what binds to the session of TLS */
};

struct smtp_client_config {
	struct slice name; /* for EHLO: our host name or literal */
	bool lmtp;
	bool pipelining, chunking; /* use them where offered */
	enum smtp_client_tls tls;
	bool on_this_machine; /* nothing goes over a network: mail with REQUIRETLS goes there as it is */
	bool tls_first;       /* TLS from the first octet (RFC 8314) instead of STARTTLS; not with TLS_OFF */
	span_ms tls_timeout;  /* for the handshake; > 0 but with TLS_OFF */
	/* The owner has credentials for these mechanisms of SASL, and would use them in this order (RFC 4954). A
	 * session that is not authenticated takes no job then. */
	const struct smtp_client_mechanism *mechanisms;
	size_t mechanism_count; /* 0: no AUTH; at most SMTP_CLIENT_MECHANISMS */
	bool auth_optional;     /* but it does where the server has no AUTH at all */
	/* RFC 5321 4.5.3.2.1 to .6 */
	span_ms greeting_timeout, command_timeout, data_timeout, block_timeout, end_timeout;
	size_t output_max; /* octets waiting to be sent before no more body is asked for; >= 16384, <= SIZE_MAX / 64 */
	bool refuses_own_name; /* a server that calls itself by `name` is taken for ourselves: the session ends with
				  5.3.5, as mail would go in a circle. Not for servers on one's own machine */
};

/* Lent until the job's last outcome has come. */
struct smtp_client_job {
	uint64_t tag; /* the owner's name for it, given back in events */
	const struct mail_envelope
		*envelope; /* recipients: those of this job. addresses may hold UTF-8 only with .utf8 */
	uint64_t size;     /* octets of the message */
	bool eight_bit;    /* the body holds octets above 127 */
	bool needs_utf8;   /* the header section holds octets above 127 (RFC 6531 3.2). Addresses are
			      looked at here: one whose domain alone is outside ASCII can go out as
			      A-labels */
	bool has_bare;     /* holds bare CR, bare LF or NUL (BINARYMIME content) */
	bool no_conversion; /* goes out as it is or not at all */
	bool requiretls;    /* goes out with REQUIRETLS or not at all; with the null reverse-path rather without
			       than not at all (RFC 8689 5) */
};

enum smtp_client_event_type {
	SMTP_CLIENT_HANDSHAKE, /* all that was said is in the clear, and from here on nothing may be: the owner does
				  the handshake of TLS, then smtp_client_secured; or smtp_client_lost when it fails.
				  Comes once at most, before all others */
	SMTP_CLIENT_AUTH,    /* an answer of SASL is wanted, at once: smtp_client_auth or smtp_client_auth_failed. `tag`
				is the mechanism's index, `challenge` what the server said, lent until then; its `p` is
				NULL when nothing was said yet: then an exchange begins, with the initial response. One
				that the server refused as such may be followed by another, of the next mechanism */
	SMTP_CLIENT_READY,   /* takes a job now (or QUIT). Comes once after EHLO and once after each job that it can
				follow */
	SMTP_CLIENT_BODY,    /* job `tag` wants octets: smtp_client_body. Asked again until told `last`; not asked when
				every recipient was refused */
	SMTP_CLIENT_OUTCOME, /* job `tag`, recipient `rcpt`: `outcome`, its text lent until the next call */
	SMTP_CLIENT_DONE,    /* job `tag` has had all its outcomes; it is forgotten */
	SMTP_CLIENT_CLOSED,  /* the session is over, all outcomes were given: send what is left of the output, close.
				`outcome` says why: SMTP_DELIVERED for an orderly QUIT, else as for a job. */
};

struct smtp_client_event {
	enum smtp_client_event_type type;
	uint64_t tag;
	size_t rcpt; /* index into the job's recipients */
	struct smtp_outcome outcome;
	struct slice challenge;
};

/* What the peer offered, for logs and tests. */
struct smtp_peer {
	struct slice name; /* from its EHLO reply, or greeting; lent for the life of the session */
	bool extended, pipelining, chunking, eight_bit_mime, binary_mime, smtputf8, dsn, size, starttls;
	bool requiretls;
	bool tls_refused;  /* it refused STARTTLS, and the session went on */
	bool auth;           /* it has AUTH */
	uint32_t mechanisms; /* bits: those of the configuration that it offers */
	uint64_t size_max; /* 0 = no limit told */
};

struct smtp_client;

/* NULL without memory. `config` is lent until smtp_client_free. */
struct smtp_client *smtp_client_new(const struct smtp_client_config *config);
void smtp_client_free(struct smtp_client *c);

/* The connection stands; the greeting is awaited, or TLS. */
void smtp_client_start(struct smtp_client *c, mono_ms now);
/* Returns the octets taken: no more than a reply that gave outcomes, until those are pulled. After the end everything
 * is taken and ignored. */
size_t smtp_client_feed(struct smtp_client *c, struct slice in, mono_ms now);
bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev);
/* What the handshake came to. */
struct smtp_client_security {
	bool verified;    /* the server is who it should be */
	struct slice why; /* it is not; lent for the call */
	bool binds;       /* there is what mechanisms can bind to */
};
/* After HANDSHAKE: everything is under TLS now, and all that was heard before is forgotten (RFC 3207 4.2). */
void smtp_client_secured(struct smtp_client *c, const struct smtp_client_security *security, mono_ms now);
/* After CLOSED: the session ended in its handshake, or before it had a reply under TLS. One in the clear might do. */
bool smtp_client_tls_broke(const struct smtp_client *c);
/*
 * After AUTH: the answer to the challenge, NULL for no initial response. `complete`: nothing is missing any more from
 * the server, which has proved what its mechanism lets it prove; its 235 is believed only then.
 */
void smtp_client_auth(struct smtp_client *c, const struct slice *response, bool complete, mono_ms now);
/* After AUTH: there is no answer. The exchange is cancelled, and the session ends. */
void smtp_client_auth_failed(struct smtp_client *c, struct slice why, mono_ms now);
/* Only after READY, once for each. The engine checks what the peer can take: a message that needs 8BITMIME, SMTPUTF8 or
 * BINARYMIME is converted (mail/seven.h) or fails with 5.6.2, 5.6.3, 5.6.5, 5.6.7, 5.6.9; one over SIZE fails with
 * 5.3.4, one with REQUIRETLS that may not go to this peer with 5.7.10 or 5.7.30, without a transaction on the wire. DSN
 * parameters are passed on where offered. */
void smtp_client_send(struct smtp_client *c, const struct smtp_client_job *job, mono_ms now);
/*
 * Octets of the message, taken whole: CRLF lines, no dots doubled. Pieces of up to output_max octets always have room;
 * each becomes a chunk where the peer has CHUNKING, so that small messages should come in one piece. Ignored when none
 * was asked for, or when the transaction ended meanwhile.
 */
void smtp_client_body(struct smtp_client *c, struct slice octets, bool last, mono_ms now);
/* The owner cannot give the message's octets (disk error): the transaction is aborted so that the peer cannot take it
 * as whole: the connection is dropped. The job's recipients without outcome are deferred with 4.6.6 and `text`, a
 * static one. */
void smtp_client_body_failed(struct smtp_client *c, struct slice text);
/* No more jobs: QUIT when the open ones are done. The 221 is waited for half a minute at most. */
void smtp_client_quit(struct smtp_client *c, mono_ms now);
/* The peer closed or the connection broke; `why` is our own words for it ("connection reset by peer"). */
void smtp_client_lost(struct smtp_client *c, struct slice why);
void smtp_client_tick(struct smtp_client *c, mono_ms now);
mono_ms smtp_client_deadline(const struct smtp_client *c);
struct slice smtp_client_output(const struct smtp_client *c);
void smtp_client_sent(struct smtp_client *c, size_t n);
const struct smtp_peer *smtp_client_peer(const struct smtp_client *c);
/* The mechanism by which the session is authenticated, lent from the configuration; NULL: it is not, or not yet. */
const struct smtp_client_mechanism *smtp_client_authenticated(const struct smtp_client *c);

#endif
