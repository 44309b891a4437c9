/*
 * conf: the configuration, as one immutable value.
 *
 * It is read from a file (libconfuse's syntax), from a text, or from the embedded default; every key stands in one
 * table (conf/keys.def), from which come its reading, its bounds, its place in the dump and its paragraph in
 * postrider.conf(5). A value is counted: conf_ref, conf_unref, for one thread. Nothing in it changes after loading, and
 * all texts in it are lent as long as it lives; each is followed by a NUL and holds none, so `.p` is a C string.
 *
 * Octets are octets and times are milliseconds here, whatever unit the file used. No number means "unlimited".
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/buf.h"
#include "base/clock.h"
#include "directory/directory.h"
#include "directory/external.h"
#include "directory/token.h"
#include "mail/address.h"
#include "policy/relay.h"
#include "policy/route.h"
#include "policy/route_table.h"
#include "queue/engine.h"
#include "smtp/client.h"
#include "smtp/server.h"

/* Limits of the configuration itself. */
#define CONF_TEXT_MAX     (8u << 20) /* octets of a file, an included file, or a dump */
#define CONF_MEMORY_MAX   (64u << 20)
#define CONF_FILES_MAX    100 /* included files */
#define CONF_LISTENER_MAX 64
#define CONF_CERTIFICATE_MAX 64
#define CONF_CERTIFICATE_LOGIN_MAX 1000
#define CONF_HOSTS_MAX    32 /* hosts of one route */
#define CONF_PROCESS_MAX  64 /* receivers, or senders */
#define CONF_RULES_MAX    1000 /* about other servers' replies */
#define CONF_RULE_NAME_MAX 64

/* What the machine is like; the caller finds out. */
struct conf_host {
	struct slice name; /* host name; "localhost" when empty or no domain name */
	unsigned cores;    /* 1 when 0 */
};

/* What is wrong: lines "file:line: text\n", NUL-terminated. Errors that do not fit are counted and left out. */
#define CONF_ERROR_TEXT_MAX 8192
struct conf_error {
	unsigned errors;
	unsigned warnings; /* these do not make loading fail; their lines begin "file:line: warning: " */
	size_t length;
	char text[CONF_ERROR_TEXT_MAX];
};

struct conf_texts {
	const struct slice *list;
	size_t count;
};

/* Whether the DNS is asked, and whether mail waits while it does not answer. */
enum conf_check { CONF_CHECK_NO, CONF_CHECK_YES, CONF_CHECK_STRICT };

/* Whether mail waits for AUTH, and what may be used without TLS. */
enum conf_auth { CONF_AUTH_NO, CONF_AUTH_OFFER, CONF_AUTH_REQUIRE };
enum conf_in_clear { CONF_IN_CLEAR_NEVER, CONF_IN_CLEAR_SCRAM, CONF_IN_CLEAR_ALL };

struct conf_listener {
	struct slice name;    /* "smtp", "submission"; "submit" for submit_socket */
	struct slice address; /* "127.0.0.1", "::", "*" = every address of both families; empty for a unix socket */
	uint16_t port;        /* 0 for a unix socket */
	struct slice socket;  /* path of a unix socket; empty for TCP. Its clients are local users */
	struct smtp_server_config server; /* whole: name and lmtp too */
	size_t sessions_max;              /* in one receiver */
	uint32_t sessions_per_client_max; /* from one network, in all receivers; not for unix sockets */
	uint8_t network_ipv4, network_ipv6; /* bits of an address that make a network of clients */
	bool takes_mail;                  /* no: 521 */
	struct conf_texts client_texts;
	struct networks clients; /* who may come; empty: everybody */
	span_ms greeting_delay;  /* 0: none */
	/* Of one network, in all receivers; 0: no limit. */
	uint32_t connections_per_minute, messages_per_minute, recipients_per_minute, errors_per_minute;
	span_ms tarpit;              /* a refusal is held back so long; 0: it is not */
	uint32_t tarpit_after;       /* refusals of a session that are not */
	uint32_t tarpit_sessions_max; /* held at one time, in one receiver */
	struct conf_texts proxy_texts, xclient_texts, xforward_texts;
	struct networks proxies; /* any: only they may come, and each has to say whom it stands for */
	struct networks xclient, xforward;
	span_ms proxy_timeout;
	enum conf_check check_reverse_dns;
	bool refuse_own_name;
	struct conf_texts refuse_media, refuse_attachments; /* see mail/parts.h */
	struct conf_texts refuse_senders, sender_domains; /* patterns, see policy/pattern.h */
	bool bounce_single_recipient;
	bool require_from;
	struct conf_texts suspend_parameters; /* also in .server */
	enum conf_auth auth;                  /* as in the file; .server has the mechanisms */
	enum conf_in_clear in_clear;
	bool submission; /* RFC 6409 */
	bool ask_certificate;
};

/* A login by certificate as it was configured. */
struct conf_certificate_login {
	struct slice login;
	struct conf_texts names;
};

/* Those who log in; who they are is in directory/accounts.h. */
struct conf_accounts {
	struct conf_texts mechanisms; /* names; none: the usual ones */
	struct conf_texts scram_only; /* patterns of login names, see policy/pattern.h */
	bool tells_transition;
	struct external_map external; /* by certificates */
	uint32_t failures_per_account, failures_per_network;
	span_ms failures_span, failure_delay;           /* 0: no delay */
	uint32_t messages_per_hour, recipients_per_hour; /* of a user who has no limit of his own; 0: no limit */
};

/* Tokens that users log in with. */
struct conf_oauth {
	struct token_rules rules; /* empty texts where there are no keys */
	struct slice keys;        /* path of a JWK set; empty: there are no tokens */
};

struct conf_certificate {
	struct slice name; /* by SNI: a host name, or "*.example.com" */
	struct slice chain, key; /* paths */
	struct slice ocsp;       /* a path; empty: nothing is stapled */
};

struct conf_moved {
	struct slice name;
	struct slice to;
	bool disclose, forward;
};

/* What a Maildir may hold; 0: no limit. */
struct conf_quota {
	struct slice path; /* in a table: "example.com/alice", or "example.com" for all others of the domain */
	uint64_t octets;
	uint32_t messages;
};

struct conf_limit {
	struct slice name;
	uint64_t message_max; /* 0: none */
	struct conf_quota quota;
};

struct conf_list {
	struct slice name;
	struct conf_texts members;
	enum directory_post post;
	struct conf_texts senders; /* patterns */
	bool disclose;
};

/* A domain as it was configured; questions go to `directory`. */
struct conf_domain {
	struct slice name; /* canonical */
	enum directory_delivery deliver;
	struct slice lmtp; /* "unix:/path" or "inet:host:port"; empty for Maildir */
	struct conf_texts mailboxes, suspended, disabled;
	struct slice catch_all; /* empty = none */
	uint64_t message_max;   /* 0: none */
	const struct conf_moved *moved;
	size_t moved_count;
	struct conf_quota quota;
	const struct conf_limit *limits;
	size_t limit_count;
	const struct conf_list *lists;
	size_t list_count;
};

/* A route as it was configured; questions go to conf_route. */
struct conf_route_keys {
	struct slice domain; /* canonical, ".example.net" or "*" */
	struct conf_texts hosts;
	bool from_anybody, hold, convert, own_name;
	enum smtp_client_tls tls;
	enum route_tls_first tls_first;
	struct slice tls_name, tls_ca, tls_crl; /* empty: none */
	struct slice auth_user;                 /* empty: nobody logs in */
	struct slice auth_secret_file, auth_secret_env; /* one of them; see conf/secrets.h */
	struct conf_texts auth_mechanisms;              /* names; none: the usual ones */
	enum conf_in_clear auth_in_clear;
	bool auth_required;
};

enum conf_rule_verdict { CONF_VERDICT_OF_CODES, CONF_VERDICT_TEMPORARY, CONF_VERDICT_PERMANENT };

/* A rule about replies of other servers as it was configured; questions go to `rules`. */
struct conf_rule {
	struct slice name;
	struct conf_texts codes, statuses, texts;
	enum smtpcodes_class klass;
	enum conf_rule_verdict verdict;
	struct slice note; /* empty: none */
};

enum conf_newlines { CONF_NEWLINES_CRLF, CONF_NEWLINES_LF };
enum conf_log_format { CONF_LOG_LOGFMT, CONF_LOG_JSON };
enum conf_log_level { CONF_LOG_ERROR, CONF_LOG_WARNING, CONF_LOG_INFO, CONF_LOG_DEBUG };
enum conf_disclose { CONF_DISCLOSE_NOBODY, CONF_DISCLOSE_RELAY, CONF_DISCLOSE_EVERYBODY, CONF_DISCLOSE_OFF };

enum conf_sandbox { CONF_SANDBOX_AUTO, CONF_SANDBOX_REQUIRED };

struct conf {
	struct slice hostname;
	struct slice data_dir;         /* absolute, or relative to where the server was started */
	struct slice user;             /* "auto", or the account to become when root starts the server */
	enum conf_sandbox sandbox;
	struct slice control_socket;   /* DATA_DIR/control.sock */
	struct slice submit_socket;    /* DATA_DIR/submit.sock; empty = none. It is one of the listeners too */
	struct slice postmaster;       /* as configured; empty = the Maildir "postmaster" */
	unsigned receivers, senders;   /* processes, at least 1 */
	enum conf_disclose vrfy, expn; /* who is told about mailboxes */
	enum conf_disclose status;     /* who is told by HELP STATUS how the server does */
	struct slice resolver;         /* "192.0.2.53@53"; empty: those of the system */
	span_ms resolver_timeout;
	enum conf_check check_null_mx, check_domains;

	const struct conf_listener *listeners;
	size_t listener_count;
	const struct conf_certificate *certificates; /* the first is for every other name, too; none: one is made */
	size_t certificate_count;
	struct slice client_authorities, client_revoked; /* paths; empty: none */
	const struct conf_certificate_login *certificate_logins;
	size_t certificate_login_count;
	bool keep_cram_md5; /* of passwords that are set */
	struct conf_accounts accounts;
	struct conf_oauth oauth;
	span_ms ticket_lifetime; /* 0: no session of TLS is resumed */
	struct conf_texts relay_texts;
	struct networks relay_networks;
	struct conf_texts literal_texts;

	const struct conf_domain *domains; /* in the order of the file */
	size_t domain_count;
	const struct conf_quota *quotas; /* by path */
	size_t quota_count;
	const struct directory *directory;
	const struct conf_route_keys *routes;
	size_t route_count;
	const struct conf_rule *rule_keys; /* as many as there are rules */
	struct smtpcodes_rules rules;      /* about other servers' replies */
	struct route_table route_table; /* host groups of routes and of LMTP domains */

	struct queue_config queue; /* with router, name and postmaster; .fs and .boot_id are the role's to add */
	uint64_t congested_recipients; /* no mail is taken while there are so many; 0: no bound */
	span_ms recovery_grace;    /* for the store: what a former queue had under way waits this long */
	uint64_t disk_reserve;     /* octets kept free: the queue takes nothing below it (452 4.3.1) */
	uint64_t inline_body_max;  /* larger bodies live in files */

	struct smtp_client_config client;      /* for SMTP; whose own name is refused is the route's to say */
	struct smtp_client_config lmtp_client; /* for LMTP: the same with .lmtp */
	span_ms connect_timeout;
	span_ms idle_timeout;           /* an open connection without a job is kept for further mail this long */
	size_t connection_messages_max; /* messages on one connection */
	size_t connections_max;         /* of one sender, or of the mailbox role to LMTP */

	span_ms full_wait;           /* age of a message up to which it waits for a full mailbox */
	enum conf_newlines newlines; /* of files in a Maildir; LF: but for messages with bare CR or LF */
	char delimiter;              /* of sub-addresses; 0 = none */
	enum conf_log_format log_format;
	enum conf_log_level log_level;

	/* Private: what a listener starts from, and bookkeeping. */
	struct conf_listener listener_defaults;
	struct slice delimiter_text;
	struct arena arena;
	unsigned refs;
};

/* ---- loading ------------------------------------------------------------------------------------------------- */

/*
 * Read a file and what it includes. NULL when anything is wrong: err then holds at least one error. Includes are
 * relative to the file they stand in; conf_file_check is applied to each file. Warnings may be there on success too.
 */
struct conf *conf_load_file(const char *path, const struct conf_host *host, struct conf_error *err);
/* The same from a text, called `name` in errors. Includes are refused. */
struct conf *conf_load_text(struct slice text, const char *name, const struct conf_host *host, struct conf_error *err);

struct conf *conf_ref(struct conf *c);
/* NULL is fine. */
void conf_unref(struct conf *c);

/* Append the embedded default (design of `make run`): SMTP on 127.0.0.1:port, data below data_dir, example.com with
 * alice and bob. 0 and empty give 2525 and "./run". */
bool conf_default_text(uint16_t port, struct slice data_dir, struct buf *out);

/* Append the effective configuration, every key of it, so that conf_load_text reads an equal value on any host. */
bool conf_dump(const struct conf *c, struct buf *out);
/* The same for programs, which need not be told what is preset: routes and domains, of which there may be many
 * thousands, without the keys that have their preset. */
bool conf_dump_short(const struct conf *c, struct buf *out);

enum conf_file_verdict {
	CONF_FILE_SAFE,
	CONF_FILE_OWNER,    /* it or a directory above belongs to somebody who is neither root nor us: a warning */
	CONF_FILE_WRITABLE, /* anybody may change it, or replace it: an error */
	CONF_FILE_MISSING,  /* errno says why */
};
/* Owner and mode of a file and of the directories above it. */
enum conf_file_verdict conf_file_check(const char *path);

/* Whether the roles need a restart to go from one to the other: a key that cannot change on reload did. *which is the
 * name of the first one ("data_dir"), static. */
bool conf_needs_restart(const struct conf *from, const struct conf *to, const char **which);

/* ---- asking -------------------------------------------------------------------------------------------------- */

/*
 * Where mail for `address` goes: local@domain as in an envelope, or "postmaster". What is no address is ROUTE_NONE.
 * Disabled and moved mailboxes, and lists, are ROUTE_UNKNOWN_MAILBOX. Texts are lent from the configuration.
 */
void conf_route(const struct conf *c, struct slice address, struct route *ret);

/*
 * Where a report to `address` goes on to: a forwarded mailbox, and a list that takes mail from everybody, stand for
 * others; none: it stands for itself. A list that is closed to strangers is closed to reports, too: whoever may write
 * an envelope could make us send one to all its members.
 */
struct directory_texts conf_report_targets(const struct conf *c, struct slice address);

/* A host group of a route; NULL when there is no such group. Hosts in order of preference. */
const struct route_group *conf_hosts(const struct conf *c, struct slice group);

/* What a Maildir may hold; `mailbox` is its path, as in a route. */
struct conf_quota conf_quota_of(const struct conf *c, struct slice mailbox);

/* All there is to know for the answer to RCPT. */
struct conf_recipient {
	enum relay_decision decision;
	bool in_a_circle; /* its route leads back to us: every host of it is a listener of ours */
	bool by_dns;      /* another's, and no route of its own says where it is */
	/* .result DISABLED or MOVED refine RELAY_UNKNOWN_MAILBOX; FORWARDED, LIST and SUSPENDED are RELAY_OURS */
	struct directory_entry entry;
	struct route route;
};
void conf_recipient(const struct conf *c, const struct relay_client *client, const struct mail_address *address,
		    struct conf_recipient *ret);

/* Whether the address may send to a list: by who may relay, by the members or by the list's senders. */
bool conf_may_post(const struct conf *c, const struct relay_client *client, const struct directory_entry *list,
		   const struct mail_address *sender);

/* Whether a listener speaks TLS. */
bool conf_has_tls(const struct conf *c);

/* Whether a listener asks for certificates. */
bool conf_asks_certificates(const struct conf *c);

/* Whether a listener has AUTH. */
bool conf_has_auth(const struct conf *c);

/* Whether anything in it asks the DNS. */
bool conf_asks_dns(const struct conf *c);

/* Whether a name given in EHLO is one of ours: our host name, a domain or an address. */
bool conf_is_own_name(const struct conf *c, struct slice name);

/* Whether this client is told about mailboxes by VRFY or EXPN. */
bool conf_discloses(const struct conf *c, enum conf_disclose to, const struct relay_client *client);

#endif
