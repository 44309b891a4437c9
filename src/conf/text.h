/*
 * text: what the keys whose value is a text, or a list of texts, may hold.
 */
#ifndef CONF_TEXT_H
#define CONF_TEXT_H

#include "base/buf.h"
#include "conf/keys.h"
#include "conf/conf.h"

/* What texts are completed with. */
struct conf_text_context {
	const struct conf_host *host;
	struct slice data_dir; /* empty until it is known */
};

/*
 * Check one text (of a list: one of its texts) and append the form that it is kept in to `out`: a domain in canonical
 * form, "auto" replaced, "none" as nothing. On failure *why is a static text.
 */
bool conf_text_read(enum conf_type type, struct slice text, const struct conf_text_context *context, struct buf *out,
		    const char **why);

/* A domain in canonical form, for titles; ".example.net" and "*" too when it is of a route. */
bool conf_domain_read(struct slice text, bool of_route, struct buf *out, const char **why);

#endif
