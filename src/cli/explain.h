/*
 * explain: the parts of postrider explain.
 *
 *	explain.c         what is to be explained: words, files, standard input, lines of a log
 *	explain_text.c    replies, codes, and texts that hold one
 *	explain_log.c     lines of our own log
 *	explain_bounce.c  whole messages
 *
 * Each of the last three tells people on standard output, or makes a JSON object. Texts from outside are made safe.
 */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include "cli/cli.h"

/* ---- explain_text.c ------------------------------------------------------------------------------------------ */

void cli_explanation_print(const struct smtpcodes_explanation *e);
json_t *cli_explanation_json(const struct smtpcodes_explanation *e);
/* "Label        text", nothing when the text is empty. */
void cli_fact_print(const char *label, struct slice text);

/* ---- explain_log.c ------------------------------------------------------------------------------------------- */

#define CLI_LOG_FIELDS_MAX 32
#define CLI_LOG_TEXT_MAX   8192 /* octets of all values, unescaped */

/* A line of our log, as logfmt or JSON. */
struct cli_log_line {
	struct slice names[CLI_LOG_FIELDS_MAX], values[CLI_LOG_FIELDS_MAX]; /* lent from the line and from `text` */
	size_t count;
	struct buf text;
};

/* Whether the line, maybe behind what a journal puts before it, is one of our log and tells of an event that there is.
 * To be freed in either case. */
bool cli_log_read(struct slice line, struct cli_log_line *ret);
void cli_log_free(struct cli_log_line *l);
/* The event, and what the reply in it means; with ret_json it prints nothing. */
void cli_log_explain(const struct cli_log_line *l, json_t **ret_json);

/* Whether a line begins as lines of logs do: with a time, or as one of ours. */
bool cli_is_log_line(struct slice line);

/* ---- explain_bounce.c ---------------------------------------------------------------------------------------- */

/* Whether a text is a message and not a reply or a log line: it starts with two fields or more, one of them such as
 * every header has. */
bool cli_is_message(struct slice text);

struct mail_bounce_config;
/* Says what the message is and what it says of whom. With ret_json it prints nothing; `details` adds to it what is
 * seldom needed. False when there is no memory. */
bool cli_explain_message(struct slice message, const struct mail_bounce_config *config, bool details,
			 json_t **ret_json);

#endif
