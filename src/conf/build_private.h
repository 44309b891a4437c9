/*
 * build_private: what the parts of conf_build share.
 *
 *	build.c          the whole, listeners, the queue, what follows from other values
 *	build_keys.c     keys of a section into a struct, by the table; memory; names that must not come twice
 *	build_domains.c  domains, the directory
 *	build_routes.c   routes and host groups
 *	build_rules.c    rules about other servers' replies
 *	build_auth.c     what listeners offer by AUTH
 *	build_auth_out.c how routes log in
 */
#ifndef CONF_BUILD_PRIVATE_H
#define CONF_BUILD_PRIVATE_H

#include "conf/build.h"
#include "conf/text.h"

struct build {
	const struct conf_raw *raw;
	const struct conf_host *host;
	struct conf_error *err;
	struct conf *c;
	struct buf scratch; /* for one text at a time */
	struct conf_text_context context;
	bool out_of_memory;
};

/* A text of the configuration and where it stands. */
struct named {
	struct slice name;
	struct conf_place at;
};

/* ---- build_keys.c -------------------------------------------------------------------------------------------- */

/* The error comes once. */
void build_no_memory(struct build *b);
/* Zeroed memory of the configuration; NULL with an error. */
void *build_take(struct build *b, size_t count, size_t size);
/* A NUL-terminated copy; the empty text with an error. */
struct slice build_keep(struct build *b, struct slice s);
/* The same of what stands in the scratch buffer, which is emptied. */
struct slice build_keep_scratch(struct build *b);

/* Sorts the names, and complains of each that is there before, without regard to ASCII case. Empty ones are left out.
 */
void build_check_twice(struct build *b, struct named *names, size_t count, const char *what);

/* Fill what the keys of a section name; `raw` NULL: the files do not have it. Inherited keys stay as they are unless
 * they are given. */
void build_section(struct build *b, enum conf_section_id id, const struct conf_raw_section *raw, void *base);

/* The first section of this kind from `from` on, or NULL. */
const struct conf_raw_section *build_next_section(const struct conf_raw_section *from, enum conf_section_id id);
/* A section that is there once at most, or NULL. */
const struct conf_raw_section *build_only_section(struct build *b, enum conf_section_id id);
/* The title of a domain or a route, in canonical form; empty with an error. */
struct slice build_title(struct build *b, const struct conf_raw_section *s);

/* Where a key stands; where its section does when it is not given. */
struct conf_place build_key_place(const struct conf_raw_section *section, const char *name);
/* To complain, where routes and domains are concerned: in what roles get, what is preset is not given. */
bool build_key_given(const struct conf_raw_section *section, const char *name);

/* ---- build_auth.c -------------------------------------------------------------------------------------------- */

/* After the listener's keys and those of section accounts. */
void build_mechanisms(struct build *b, struct conf_listener *l, struct conf_place at);
void build_check_mechanisms(struct build *b, const struct conf_raw_section *s);
void build_check_oauth(struct build *b, const struct conf_raw_section *s);
void build_certificate_logins(struct build *b);

/* ---- build_auth_out.c ---------------------------------------------------------------------------------------- */

/* After the route's keys. */
void build_route_auth(struct build *b, const struct conf_raw_section *s, const struct conf_route_keys *r,
		      struct route_auth *ret);

/* ---- build_domains.c, build_routes.c ------------------------------------------------------------------------- */

void build_domains(struct build *b);
/* After domains and listeners. */
void build_directory(struct build *b);
/* After domains. */
void build_routes(struct build *b);
/* After the queue's keys. */
void build_rules(struct build *b);

#endif
