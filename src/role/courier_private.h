/*
 * The inside of the courier: jobs (courier_jobs.c), what serves one site (courier_site.c), the search for a host that
 * takes us (courier_link.c), the session with it (courier_session.c), its TLS (courier_tls.c) and how we log in
 * (courier_auth.c). courier.c is what the roles see.
 */
#ifndef ROLE_COURIER_PRIVATE_H
#define ROLE_COURIER_PRIVATE_H

#include "base/crc32c.h"
#include "directory/sasl_client.h"
#include "net/channel.h"
#include "net/conn.h"
#include "role/courier.h"

#define COURIER_BUCKETS       1024
#define COURIER_REMOTE_MAX    300
#define COURIER_HELD_KEPT     ((size_t)64 * 1024)
#define COURIER_STOP_PATIENCE (10 * SECOND) /* for what is under way when the server stops */

TAILQ_HEAD(job_list, courier_job);

struct site;
struct courier_trust;
struct courier_secret;
struct courier_file;

/* One connection to a next hop, from the first look-up to its end. */
struct link {
	TAILQ_ENTRY(link) link;
	struct courier *courier;
	struct site *site;
	struct conf *conf; /* the one that its hosts and settings come from */
	/* Where we are in the list of hosts and their addresses. */
	const struct route_group *group;
	struct smtp_client_config settings; /* the configuration's, for this group */
	mono_ms opened;
	mono_ms awaits_hosts; /* until then it waits for the configuration that has its hosts; 0: it has them */
	size_t host;
	uint32_t tried;   /* bits: hosts that were come to */
	bool spares_none; /* hosts that failed of late are tried, too */
	struct net_address addresses[16];
	size_t address, address_count;
	struct conn_lookup *lookup;
	struct conn_attempt *attempt;
	bool in_clear; /* TLS broke at this address: this time it goes without */
	/* Once connected. */
	char secured[SMTP_OUTCOME_SECURED_MAX]; /* how, for log and trace; "": it is not */
	bool handshake_due;
	struct sasl_client *auth;      /* an exchange, or NULL */
	struct courier_secret *secret; /* with it */
	struct tls_binding binding;    /* the same; lent to it, as is this: */
	uint8_t chance[18];
	struct conn *conn;
	struct smtp_client *client;
	struct loop_timer *timer;
	char remote[COURIER_REMOTE_MAX];
	struct job_list jobs; /* given to the client and not done */
	bool was_ready;       /* the session took jobs */
	bool idle;            /* ready, without a job */
	bool quitting;
	bool *gone; /* set when the link is freed, for who is still using it */
	size_t messages;
	mono_ms idle_until;
	struct smtp_outcome failure; /* of the hosts so far, in case none is left; klass 0: none failed */
	char failure_text[SMTP_OUTCOME_TEXT_MAX];
};

struct site {
	struct site *next;
	uint64_t hash;
	struct courier *courier;
	char *name;
	size_t name_n;
	struct job_list waiting;
	TAILQ_HEAD(, link) links;
	bool demands_tls; /* what is for mail with REQUIRETLS alone: it has connections of its own, beside the site's */
	bool silent; /* it is not known to answer: its links are counted in courier->silent_links */
	unsigned link_count, allowed;
	unsigned busy;                 /* functions that still use it */
	unsigned pace;                 /* eighths of a millisecond that a job takes there, by and large; 0: unknown */
	struct loop_timer *stalled;    /* jobs that were left in line have waited long enough; may be NULL */
	bool in_line;                  /* it runs */
	TAILQ_ENTRY(site) starved;     /* in its line of courier->starved when is_starved */
	bool is_starved;               /* jobs wait, and there may be no more connections for now */
	mono_ms avoid[CONF_HOSTS_MAX]; /* until then a host is passed over */
};

struct courier {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct channel *queue;
	struct buf held; /* frames that could not be sent yet: type and payload of each */
	struct loop_timer *again; /* tries to send them */
	struct buf frame;
	struct site *sites[COURIER_BUCKETS];
	TAILQ_HEAD(, site) starved[2]; /* sites that answer, silent ones: who waits longest comes first */
	struct loop_timer *room;    /* there may be a connection for them */
	const struct site *turn;    /* the one of them that is being served */
	size_t link_count, silent_links, job_count;
	void (*local)(void *arg, struct courier_job *job);
	void *local_arg;
	struct loop_timer *patience;
	bool stopping, finished;
	struct crc32c crc; /* of bodies in files */
	struct courier_trust *trust; /* of the configuration in force */
	struct courier_secret *secrets; /* the same */
	struct courier_file *files;  /* for the next one */
};

/* ---- courier_jobs.c: jobs come from the queue and go back to it ------------------------------------------------ */

/* NULL: not a job, or no memory for it. */
struct courier_job *courier_decode_job(struct slice payload);
void courier_free_job(struct courier_job *job);
/* The outcome of one recipient; the caller counts job->open down. */
void courier_tell_outcome(struct courier *c, const struct courier_job *job, size_t rcpt,
			  const struct smtp_outcome *outcome, struct slice remote, bool site_failed);
/* The same outcome for every recipient of a job that never began. Frees the job. */
void courier_settle_job(struct courier *c, struct courier_job *job, const struct smtp_outcome *outcome,
			struct slice remote, bool site_failed);
/* The last of its recipients was settled: to be done, or to be held. Frees it. */
void courier_close_job(struct courier *c, struct courier_job *job);
/* The job is the queue's again: done, or not begun. Frees it. */
void courier_end_job(struct courier *c, struct courier_job *job, enum wire_type how);
/* Sends what is held, as far as it goes; the rest later. */
void courier_tell_held(struct courier *c);
/* Gives `held` the memory that it has at rest, for frames that come when there is no other. It is empty. */
void courier_keep_room(struct courier *c);
/* The queue misses something: it takes all that we have under way for ambiguous, and another connection comes. */
void courier_lose_queue(struct courier *c);
void courier_finish_if_done(struct courier *c);

/* ---- courier_site.c -------------------------------------------------------------------------------------------- */

/* Found or made, for mail that demands TLS or for all other; NULL: no memory. It goes away when nothing waits for it
 * and no link serves it. */
struct site *courier_find_site(struct courier *c, struct slice name, bool demands_tls);
/* Idle connections take waiting jobs; more are opened while jobs wait and the queue allows it. `site` may be gone
 * afterwards. */
void courier_serve_site(struct site *site);
/* The same for sites that found no room for a connection, now that there may be some. */
void courier_serve_starved(void *courier);
void courier_free_site(struct site *site);
/* What is known of the site: whether it answers. */
void courier_set_silent(struct site *site, bool silent);
/* Whether the connection is to be given up for others that have none, at the end of a job. */
bool courier_is_wanted(const struct link *k, bool has_job);
/* A job of the site was done in so much time. */
void courier_note_pace(struct site *site, span_ms took);
/* Whether the jobs that wait are taken up in a moment by the connections that are at work or about to be, so that idle
 * ones may stay idle. */
bool courier_leaves_in_line(struct site *site);

/* ---- courier_link.c -------------------------------------------------------------------------------------------- */

/* A new connection for the site, to the first of these hosts that takes us. */
void courier_open_link(struct site *site, struct slice hosts);
/* Looks once more, for a link that awaits its hosts; it may be gone afterwards. */
void courier_find_hosts(struct link *k);
void courier_free_link(struct link *k);
/* Keeps a copy of the outcome, its text included: what the jobs are told if no host is left. One that is temporary
 * outlives later ones that are not: mail fails at the door only when every host says so. */
void courier_note_failure(struct link *k, const struct smtp_outcome *outcome);
/* The same of our own finding: temporary. */
void courier_note_finding(struct link *k, struct smtpcodes_status status, const char *what, const char *why);
/* What it says of an attempt to connect that it failed with this errno value (RFC 3463 3.5). */
struct smtpcodes_status courier_connect_status(int error);
/* The host that the link has come to does not do: the next one, or none. k may be gone afterwards. */
void courier_host_failed(struct link *k);
/* The same address once more, without TLS. k may be gone afterwards. */
void courier_try_in_clear(struct link *k);
/* No host of the site took us. If no other connection serves the site, its jobs are told why. k is gone afterwards. */
void courier_give_up_link(struct link *k);
/* How logs and reports name the host that the link has come to. */
struct slice courier_remote(const struct link *k);

/* ---- courier_session.c ----------------------------------------------------------------------------------------- */

/* Takes fd, which is connected. k may be gone afterwards. */
void courier_start_session(struct link *k, int fd);
/* The session can take a job: the next one of its site, or none for the time being. */
void courier_give_job(struct link *k);
/* Handles what the engine has to say, and hands over what it has to send. k may be gone afterwards. */
void courier_pull_events(struct link *k);
/* No more jobs; courier_pull_events carries it out. */
void courier_quit_link(struct link *k);
void courier_on_timer(void *link);

/* ---- courier_tls.c --------------------------------------------------------------------------------------------- */

/* Reads the files of authorities and of revoked certificates that were handed over for the configuration. */
void courier_load_trust(struct courier *c);
void courier_forget_trust(struct courier *c);
/* Whether the host that the link has come to is reached without a network. */
bool courier_is_on_this_machine(const struct link *k);
void courier_forget_files(struct courier *c);
/* What the session that is about to begin has to have. */
enum smtp_client_tls courier_tls_level(const struct link *k);
bool courier_tls_is_first(const struct link *k);
/* False: there is no memory, or the connection does not stand as it should. */
bool courier_begin_tls(struct link *k);
/* The handshake is done: tells the log and the engine. */
void courier_on_secured(struct link *k);
/* How the session is secured, for outcomes; lent. */
struct slice courier_secured(struct link *k);
/* The session ended with `why` before it took a job, which is logged if TLS is to blame. True: mail may go in the clear
 * all the same. */
bool courier_falls_back(struct link *k, const struct smtp_outcome *why);

/* ---- courier_auth.c -------------------------------------------------------------------------------------------- */

void courier_forget_secrets(struct courier *c);
/* The engine asks for an answer. */
void courier_on_auth(struct link *k, const struct smtp_client_event *ev);
/* What a session said when it ended, without our secret. */
struct slice courier_hide_secret(const struct link *k, struct slice text);
/* The session takes its first job: tells the log how we logged in, and keeps it for outcomes. */
void courier_on_open(struct link *k);
/* It ended before that with `why`, which is logged if AUTH is to blame. */
void courier_on_unopened(struct link *k, const struct smtp_outcome *why);
void courier_end_auth(struct link *k);

#endif
