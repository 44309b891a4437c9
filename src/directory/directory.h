/*
 * directory: our domains and their mailboxes, in memory, made once from the configuration.
 *
 * A local part is compared by its meaning (quotes and backslashes undone), without regard to ASCII case, first whole
 * and then up to the sub-address delimiter. A mailbox's path comes from its configured name, never from the wire, and
 * is safe as a relative path: "example.com/alice".
 *
 * An address can stand for others: a list for its members, a mailbox that moved for its new address. What it stands for
 * in the end, through lists in lists, is found when the directory is made; circles and too much depth or number are
 * errors then, so that no message can set off an expansion without end.
 *
 * postmaster exists in every domain of ours, at our host name, at our address literals and without any domain
 * (RFC 5321 4.5.1): a mailbox of that name if the domain lists one, else the configured postmaster, else the Maildir
 * "postmaster" of that domain (the first domain for those without one of their own).
 */
#ifndef DIRECTORY_DIRECTORY_H
#define DIRECTORY_DIRECTORY_H

#include "base/arena.h"
#include "mail/address.h"
#include "policy/network.h"

enum directory_delivery {
	DIRECTORY_MAILDIR,
	DIRECTORY_LMTP,
};

enum directory_state {
	DIRECTORY_ACTIVE,
	DIRECTORY_PAUSED, /* for a time */
	DIRECTORY_SWITCHED_OFF,
	DIRECTORY_GONE,  /* has a new address */
	DIRECTORY_GROUP, /* a list: stands for other addresses */
};

/* Who may send to a list. */
enum directory_post {
	DIRECTORY_POST_EVERYBODY,
	DIRECTORY_POST_RELAY,   /* clients that may relay */
	DIRECTORY_POST_MEMBERS, /* senders that the list stands for */
	DIRECTORY_POST_NOBODY,  /* but those named as senders */
};

/* Bounds of what one address may stand for, through lists in lists and forwarding. */
#define DIRECTORY_DEPTH_MAX   20
#define DIRECTORY_TARGETS_MAX 10000

struct directory_texts {
	const struct slice *list;
	size_t count;
};

/* ---- making --------------------------------------------------------------------------------------------------------
 */

struct directory_mailbox_config {
	struct slice name; /* a local part as it is meant, without quotes */
	enum directory_state state;
	struct slice moved_to;          /* GONE: the new address */
	bool forward;                   /* GONE: mail goes on to the new address */
	uint64_t message_max;           /* octets of a message; 0: no limit. Not for GONE and GROUP */
	bool disclose;                  /* GONE: tell it to whoever asks; GROUP: EXPN may show the members */
	struct directory_texts members; /* GROUP: at least one address */
	struct directory_texts senders; /* GROUP: addresses and domains that may send to it besides `post` */
	enum directory_post post;       /* GROUP */
};

struct directory_domain_config {
	struct slice name; /* a domain name */
	enum directory_delivery delivery;
	bool accept_all;        /* LMTP: every local part, the server behind decides */
	uint64_t message_max;   /* with accept_all: of the local parts that are not listed; 0: no limit */
	struct slice catch_all; /* name of an active mailbox of this domain; empty = none */
	const struct directory_mailbox_config *mailboxes;
	size_t mailbox_count;
};

struct directory_config {
	const struct directory_domain_config *domains;
	size_t domain_count;
	char delimiter;          /* of sub-addresses; 0 = none */
	struct slice postmaster; /* local@domain of an active mailbox here; empty = the Maildir "postmaster" */
	struct slice hostname;
	const struct ip_address *literals; /* our own addresses */
	size_t literal_count;
};

struct directory;

/*
 * Made in the arena, with copies of all texts. NULL when the configuration is wrong or memory is out; *why then says
 * what is wrong, in the arena or static.
 */
struct directory *directory_new(const struct directory_config *config, struct arena *a, const char **why);

/* Whether a text can name a mailbox: 1 to 64 octets, ASCII letters, digits and !#$%&'*+-=?^_`{|}~. or UTF-8, no '.' or
 * '-' at the start. On failure *why is a static text. */
bool directory_name_valid(struct slice name, const char **why);
/* Append the path part for a mailbox name: lower case, octets other than a-z 0-9 . _ - + as "=XX". Injective over names
 * that differ in more than ASCII case. */
bool directory_path_part(struct slice name, struct buf *out);

/* ---- asking -------------------------------------------------------------------------------------------------- */

enum directory_result {
	DIRECTORY_NOT_OURS,
	DIRECTORY_FOUND,     /* deliver it */
	DIRECTORY_UNKNOWN,   /* our domain, no such mailbox */
	DIRECTORY_DISABLED,  /* our domain, the mailbox is switched off: 550 5.2.1 */
	DIRECTORY_MOVED,     /* our domain, the mailbox has a new address: 551 5.1.6, or 550 5.1.6 when not disclosed */
	DIRECTORY_SUSPENDED, /* as FOUND, but nothing new is taken for the time being: 450 4.2.1 */
	DIRECTORY_FORWARDED, /* as MOVED, but mail is taken for `targets`: 251 2.1.5, or 250 when not disclosed */
	DIRECTORY_LIST,      /* mail is taken for `targets` from those who may send to it */
};
#define DIRECTORY_RESULT_MAX DIRECTORY_LIST

/* Texts are lent from the directory. */
struct directory_entry {
	enum directory_result result;
	enum directory_delivery delivery; /* FOUND, SUSPENDED */
	struct slice domain;              /* canonical; all but NOT_OURS */
	struct slice site; /* FOUND, SUSPENDED: "local/example.com" or "lmtp/example.com", also the LMTP host group */
	struct slice mailbox;                    /* the same with MAILDIR: "example.com/alice" */
	struct slice moved_to;                   /* MOVED, FORWARDED */
	/* Octets of the largest message that it takes, 0: no limit. FORWARDED, LIST: that all targets take. */
	uint64_t message_max;
	bool disclose;                           /* MOVED, FORWARDED, LIST */
	struct directory_texts members, senders; /* LIST, as configured */
	enum directory_post post;                /* LIST */
	/* FORWARDED, LIST: the addresses that mail goes on to, none of them twice and none of them a list or forwarded
	 * again, at most DIRECTORY_TARGETS_MAX. None: at least one of them is not what it seemed (never after loading).
	 */
	struct directory_texts targets;
	struct directory_texts keys; /* private: the targets as they are compared */
};

/* `address` comes from mail_path_parse or mail_address_parse; MAIL_DOMAIN_NONE with a local part is <postmaster>. */
void directory_find(const struct directory *d, const struct mail_address *address, struct directory_entry *ret);
/* The same for a canonical domain (or literal) and a local part as meant, such as the argument of VRFY. */
void directory_find_plain(const struct directory *d, struct slice domain, struct slice local,
			  struct directory_entry *ret);

/* Whether a list or a forwarded mailbox stands for this address in the end. */
bool directory_list_has(const struct directory_entry *entry, const struct mail_address *address);

/* The domains whose mailboxes (lists, ...) have this name, as their own and not by a catch-all or sub-address: the
 * first `max` of them go to `ret`, in the order of names. Returns how many there are in all. */
size_t directory_domains_with(const struct directory *d, struct slice local, struct slice *ret, size_t max);

size_t directory_domain_count(const struct directory *d);
/* Canonical name of the domain that was configured first; the host name when there is none. */
struct slice directory_first_domain(const struct directory *d);

#endif
