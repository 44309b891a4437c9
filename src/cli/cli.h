/*
 * cli: what the sub-commands of postrider share.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "codes/smtpcodes.h"
#include "conf/conf.h"

#include <jansson.h>
#include <stdio.h>

/* One option of a sub-command, for its parser and its help. */
struct cli_option {
	const char *name;     /* without "--" */
	char letter;          /* 0: none */
	const char *argument; /* its name in the help; NULL: takes none */
	const char *meaning;
};

struct cli_command {
	const char *name;
	const char *summary;              /* one line */
	const char *synopsis;             /* behind the name: "ID", "[list|show|...] [options]" */
	const char *text;                 /* paragraphs of the help */
	const struct cli_option *options; /* ends with a name of NULL */
	int (*run)(const struct cli_command *self, int argc, char **argv);
};

/* The sub-commands, ending with a name of NULL. */
extern const struct cli_command cli_commands[];

/*
 * Options as they come: cli_next returns the index of the next one with its argument, CLI_WORD for a word that is no
 * option, CLI_END, or CLI_BAD after it said what is wrong. --help is handled by who calls cli_help.
 */
struct cli_args {
	const struct cli_command *command;
	int argc;
	char **argv;
	int at;
	int letter;        /* place in a bundle of one-letter options; 0: none */
	bool words_only;   /* after "--" */
	const char *value; /* of the option, or the word */
};
enum { CLI_END = -1, CLI_WORD = -2, CLI_BAD = -3 };
int cli_next(struct cli_args *a);

void cli_help(const struct cli_command *command);
/* "postrider NAME: text" on standard error; returns `status`. */
int cli_fail(const struct cli_command *command, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The name of the table that is nearest to `word`, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *(*name_at)(size_t i));

/*
 * The configuration that the server was started with: `path`, else $POSTRIDER_CONF, else /etc/postrider/postrider.conf
 * if it is there, else the embedded default with $SMTP_PORT and $DATA_DIR. NULL after it said what is wrong.
 */
struct conf *cli_conf(const struct cli_command *command, const char *path);
/* The same, its errors and warnings to *error, and the file that it would be read from; NULL: the embedded default. */
struct conf *cli_conf_load(const char *path, struct conf_error *error);
const char *cli_conf_path(const char *path);
/* From now on the configuration's rules about replies count in what is explained. cli_conf does so. */
void cli_use_rules(struct conf *c);
/* NULL: no configuration was loaded. */
const struct smtpcodes_rules *cli_rules(void);

/* "90", "90s", "5m", "2h", "3d" as milliseconds. */
bool cli_span_parse(const char *text, span_ms *ret);
/* "45s", "5m", "2h10m", "3d4h" into `out`. */
const char *cli_span_text(span_ms span, char out[32]);
/* "2026-11-21 23:04:05Z". */
const char *cli_time_text(wall_ms at, char out[32]);

/* Text from outside, made safe for a terminal: control characters and octets that are no UTF-8 as \xHH. */
void cli_print(FILE *to, struct slice text);

/* JSON values of what C has; texts that are no UTF-8 are escaped as cli_print does. */
json_t *cli_json_text(struct slice text);
json_t *cli_json_text_or_null(struct slice text);
json_t *cli_json_status(struct smtpcodes_status status); /* null when there is none */
json_t *cli_json_time(wall_ms at);
/* Prints and releases it. */
void cli_json_print(json_t *value);

/* What an outcome means, in words: one sentence on the reply and one of advice. */
struct smtp_outcome;
void cli_explain_outcome(FILE *to, const char *indent, const struct smtp_outcome *outcome, struct slice remote);
/* Why a recipient that waits has had no attempt yet. */
struct wire_row;
void cli_explain_untried(const char *indent, const struct wire_row *row);
json_t *cli_json_outcome(const struct smtp_outcome *outcome, struct slice remote);

const char *cli_state_name(int state);
/* -1 when it is none. */
int cli_state_parse(const char *name);

int cli_queue(const struct cli_command *self, int argc, char **argv);
int cli_trace(const struct cli_command *self, int argc, char **argv);
int cli_explain(const struct cli_command *self, int argc, char **argv);
int cli_codes(const struct cli_command *self, int argc, char **argv);
int cli_send(const struct cli_command *self, int argc, char **argv);
int cli_check(const struct cli_command *self, int argc, char **argv);
int cli_backup(const struct cli_command *self, int argc, char **argv);
int cli_bench(const struct cli_command *self, int argc, char **argv);
int cli_user(const struct cli_command *self, int argc, char **argv);
int cli_domain(const struct cli_command *self, int argc, char **argv);
/* What cli_trace tells of one message. */
int cli_trace_id(const struct cli_command *self, const char *conf_path, msg_id id, bool json);
extern const struct cli_option cli_queue_options[], cli_trace_options[], cli_explain_options[], cli_codes_options[],
	cli_send_options[], cli_check_options[], cli_backup_options[], cli_bench_options[], cli_user_options[],
	cli_domain_options[];

#endif
