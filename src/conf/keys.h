/*
 * keys: the table of sections and keys, and look-up in it.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include "base/slice.h"

enum conf_section_id {
	SECTION_TOP,
	SECTION_SMTP, /* before LISTEN, which starts from it */
	SECTION_LISTEN,
	SECTION_TLS,
	SECTION_CERTIFICATE,
	SECTION_ACCOUNTS,
	SECTION_CERTIFICATE_LOGIN,
	SECTION_OAUTH,
	SECTION_DOMAIN,
	SECTION_MOVED,
	SECTION_LIMIT,
	SECTION_LIST,
	SECTION_ROUTE,
	SECTION_RULE,
	SECTION_QUEUE,
	SECTION_CLIENT,
	SECTION_MAILBOX,
	SECTION_LOG,
};
#define SECTION_COUNT (SECTION_LOG + 1)

/* Numbers up to NUMBER_LAST, then texts up to TEXT_LAST, then lists of texts. */
enum conf_type {
	TYPE_BOOL,
	TYPE_WORD,
	TYPE_COUNT,
	TYPE_PROCESSES, /* a count, or "auto" */
	TYPE_OCTETS,
	TYPE_SPAN,
	TYPE_SPAN_OR_NEVER, /* "never" is stored as 0 */
	TYPE_COUNT_OR_NONE,  /* "none" is stored as 0 */
	TYPE_OCTETS_OR_NONE, /* the same */
	TYPE_NUMBER_LAST = TYPE_OCTETS_OR_NONE,

	TYPE_HOSTNAME, /* "auto" is replaced */
	TYPE_ACCOUNT,  /* "auto" stays */
	TYPE_PATH,
	TYPE_SOCKET,         /* from here on "none" is the empty text */
	TYPE_ADDRESS,        /* local@domain */
	TYPE_LISTEN_ADDRESS, /* an IP address, or "*" */
	TYPE_LMTP_HOST,
	TYPE_MAILBOX,
	TYPE_DELIMITER,
	TYPE_RESOLVER, /* "192.0.2.53@53"; "none" is the system's */
	TYPE_PEER_NAME, /* a host name in A-labels, or an IP address */
	TYPE_FILE,      /* a path */
	TYPE_NOTE,     /* any one line */
	TYPE_TEXT_LAST = TYPE_NOTE,

	TYPE_NETWORKS,
	TYPE_ADDRESSES,
	TYPE_MAILBOXES,
	TYPE_HOSTS,
	TYPE_MEMBERS,    /* mail addresses */
	TYPE_PATTERNS,   /* mail addresses and domains, see policy/pattern.h */
	TYPE_DOMAINS,    /* domains alone */
	TYPE_PARAMETERS, /* of MAIL and RCPT */
	TYPE_MEDIA,      /* media types; "*" as subtype stands for all */
	TYPE_EXTENSIONS, /* of file names, without the dot */
	TYPE_MECHANISMS, /* of AUTH */
	TYPE_CERTIFICATE_NAMES, /* see directory/external.h */
	TYPE_OUT_MECHANISMS, /* of AUTH with other servers */
	TYPE_REPLY_CODES, /* these three: conditions of rules, see codes/smtpcodes.h */
	TYPE_STATUS_CODES,
	TYPE_WORDINGS,
};
#define TYPE_COUNT_OF (TYPE_WORDINGS + 1)

struct conf_section {
	enum conf_section_id id, parent;
	const char *name;
	const char *titles; /* what its title is; NULL = it has none and is there once */
	const char *text;
};

struct conf_key {
	enum conf_section_id section;
	enum conf_type type;
	const char *name;
	const char *preset; /* NULL = the key must be given */
	uint64_t min, max;
	const char *words;   /* WORD */
	size_t offset, size; /* of the member in its section's struct */
	bool live;
	const char *text;
};

extern const struct conf_section conf_sections[SECTION_COUNT];
extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;

static inline bool conf_type_is_number(enum conf_type type)
{
	return type <= TYPE_NUMBER_LAST;
}
static inline bool conf_type_is_list(enum conf_type type)
{
	return type > TYPE_TEXT_LAST;
}

/* Whether keys of `from` may stand in `section`: its own, and in listen those of smtp. */
static inline bool conf_section_takes(enum conf_section_id section, enum conf_section_id from)
{
	return section == from || (section == SECTION_LISTEN && from == SECTION_SMTP);
}
/* NULL when there is none of that name in the section. */
const struct conf_key *conf_key_find(enum conf_section_id section, struct slice name);
/* The section of that name inside `parent`, or NULL. */
const struct conf_section *conf_section_find(enum conf_section_id parent, struct slice name);
/* The key or section of `section` whose name is nearest to a mistyped one; NULL when none is near. */
const char *conf_nearest(enum conf_section_id section, struct slice name);
/* A section other than `section` where such a key or section may stand; NULL when there is none. */
const struct conf_section *conf_elsewhere(enum conf_section_id section, struct slice name);

#endif
