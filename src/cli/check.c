/*
 * postrider check: is the configuration good, and what is it in full; is a data directory sound.
 */
#include "cli/check_data.h"
#include "cli/check_sandbox.h"

#include "conf/problem.h"
#include "conf/secrets.h"
#include "net/credential.h"
#include "net/host.h"

#include <string.h>
#include <sysexits.h>

const struct cli_option cli_check_options[] = {
	{"conf", 'c', "FILE", "the configuration; the same as FILE alone"},
	{"dump", 0, NULL, "print the effective configuration: every key with its value"},
	{"data", 0, NULL, "look at a data directory instead: DIR, or that of the configuration"},
	{"salvage", 0, NULL, "with --data, if it is damaged: have the next start save what can be read"},
	{"sandbox", 0, NULL, "show what each role of the server may do, and try what it could do"},
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_CONF, OPTION_DUMP, OPTION_DATA, OPTION_SALVAGE, OPTION_SANDBOX, OPTION_JSON, OPTION_HELP };

/* One line "file:line: text", or "file: text", taken apart. */
struct problem {
	struct slice file, text;
	uint64_t line; /* 0: the file as a whole */
	bool warning;
};

/* The end of the first ":NUMBER: ", or 0 when there is none; *colon is where it begins. */
static size_t find_line_number(struct slice line, size_t *colon)
{
	for (size_t i = 0; i < line.n; i++) {
		size_t end = i + 1;

		if (line.p[i] != ':')
			continue;
		while (end < line.n && ascii_is_digit(line.p[end]))
			end++;
		if (end > i + 1 && slice_starts(slice_skip(line, end), SLICE(": "))) {
			*colon = i;
			return end + 2;
		}
	}
	return 0;
}

static struct problem take_apart(struct slice line)
{
	struct problem p = {0};
	size_t colon, end = find_line_number(line, &colon);

	if (end) {
		p.file = slice_head(line, colon);
		slice_u64(slice_of(line.p + colon + 1, end - colon - 3), UINT32_MAX, &p.line);
	} else {
		colon = slice_search(line, SLICE(": "));
		p.file = colon < line.n ? slice_head(line, colon) : SLICE_NONE;
		end = colon < line.n ? colon + 2 : 0;
	}
	p.text = slice_skip(line, end);
	p.warning = slice_starts(p.text, SLICE("warning: "));
	if (p.warning)
		p.text = slice_skip(p.text, sizeof "warning: " - 1);
	return p;
}

static json_t *json_problems(struct slice lines)
{
	json_t *list = json_array();

	while (lines.n) {
		struct slice line = slice_split(&lines, '\n');
		if (line.n == 0)
			continue;
		struct problem p = take_apart(line);
		json_array_append_new(list,
				      json_pack("{s:s, s:o, s:o, s:o}", "severity", p.warning ? "warning" : "error",
						"file", cli_json_text_or_null(p.file), "line",
						p.line ? json_integer((json_int_t)p.line) : json_null(), "text",
						cli_json_text(p.text)));
	}
	return list;
}

static void print_json(const char *file, const struct conf_error *error, const struct buf *dump)
{
	json_t *value = json_pack("{s:b, s:o, s:i, s:i, s:o}", "valid", error->errors == 0, "file",
				  file ? cli_json_text(slice_from_cstr(file)) : json_null(), "errors",
				  (int)error->errors, "warnings", (int)error->warnings, "problems",
				  json_problems(slice_of(error->text, error->length)));

	if (dump)
		json_object_set_new(value, "dump", cli_json_text(buf_slice(dump)));
	cli_json_print(value);
}

static void print_text(const char *file, const struct conf_error *error, const struct buf *dump)
{
	struct slice lines = slice_of(error->text, error->length);

	while (lines.n) {
		struct slice line = slice_split(&lines, '\n');
		if (line.n == 0)
			continue;
		cli_print(stderr, line);
		fputc('\n', stderr);
	}
	if (dump) {
		printf("%.*s", SLICE_ARGS(buf_slice(dump)));
		return;
	}
	FILE *to = error->errors ? stderr : stdout;
	cli_print(to, slice_from_cstr(file ? file : "the embedded default"));
	if (error->errors)
		fprintf(to, ": %u error%s", error->errors, error->errors == 1 ? "" : "s");
	else
		fprintf(to, ": good");
	if (error->warnings)
		fprintf(to, ", %u warning%s", error->warnings, error->warnings == 1 ? "" : "s");
	fputc('\n', to);
}

static void warn_of_certificate(struct conf_error *error, struct slice name, struct slice path, const char *why)
{
	conf_warn(error, (struct conf_place){path.p, 0}, "certificate \"%.*s\": %s", SLICE_ARGS(name), why);
}

/* Files that cannot be used keep nobody from starting the server, but they do keep it from TLS. */
static void check_certificates(const struct conf *conf, struct conf_error *error)
{
	struct credential *loaded[CONF_CERTIFICATE_MAX] = {NULL};
	char why[CREDENTIAL_WHY_MAX];

	for (size_t i = 0; i < conf->certificate_count; i++) {
		const struct conf_certificate *c = &conf->certificates[i];
		loaded[i] = credential_load(c->chain.p, c->key.p, why);
		if (!loaded[i]) {
			warn_of_certificate(error, c->name, c->chain, why);
			continue;
		}
		for (size_t j = 0; j < i; j++)
			if (loaded[j] && slice_eq(conf->certificates[j].name, c->name) &&
			    strcmp(credential_kind(loaded[j]), credential_kind(loaded[i])) == 0)
				warn_of_certificate(error, c->name, c->chain,
						    "another one for this name has the same kind of key");
		if (c->ocsp.n > 0 && !credential_load_staple(loaded[i], c->ocsp.p, host_wall(), why))
			warn_of_certificate(error, c->name, c->ocsp, why);
	}
	for (size_t i = 0; i < conf->certificate_count; i++)
		credential_unref(loaded[i]);
}

/* Files of authorities that cannot be read leave a route without any that it believes. */
static void check_trust(const struct conf *conf, struct conf_error *error)
{
	for (size_t i = 0; i < conf->route_count; i++) {
		const struct conf_route_keys *r = &conf->routes[i];
		if (r->tls_ca.n == 0 && r->tls_crl.n == 0)
			continue;
		struct tls_client *c =
			tls_client_new(r->tls_ca.n ? r->tls_ca.p : NULL, r->tls_crl.n ? r->tls_crl.p : NULL);
		if (c && tls_client_complaint(c))
			conf_warn(error, (struct conf_place){r->tls_ca.n ? r->tls_ca.p : r->tls_crl.p, 0},
				  "route \"%.*s\": %s", SLICE_ARGS(r->domain), tls_client_complaint(c));
		tls_client_unref(c);
	}
}

static void check_clients_trust(const struct conf *conf, struct conf_error *error)
{
	struct buf authorities, revoked;
	char why[CREDENTIAL_WHY_MAX];
	const char *wrong = why;

	if (!conf_asks_certificates(conf))
		return;
	buf_init(&authorities, TLS_TRUST_TEXT_MAX);
	buf_init(&revoked, TLS_TRUST_TEXT_MAX);
	bool good = credential_append_file(conf->client_authorities.p, &authorities, why) &&
		    (conf->client_revoked.n == 0 || credential_append_file(conf->client_revoked.p, &revoked, why));
	struct tls_trust_text text = {buf_slice(&authorities), buf_slice(&revoked)};
	struct tls_trust *trust = good ? tls_trust_new(&text, &wrong) : NULL;
	if (!trust)
		conf_warn(error, (struct conf_place){conf->client_authorities.p, 0}, "client_authorities: %s", wrong);
	tls_trust_unref(trust);
	buf_free(&authorities);
	buf_free(&revoked);
}

static void check_tokens(const struct conf *conf, struct conf_error *error)
{
	char reason[CREDENTIAL_WHY_MAX];
	const char *why = reason;
	struct buf text;

	if (conf->oauth.keys.n == 0)
		return;
	buf_init(&text, TOKEN_KEYS_TEXT);
	struct tokens *tokens = credential_append_file(conf->oauth.keys.p, &text, reason)
					? tokens_new(&conf->oauth.rules, buf_slice(&text), &why)
					: NULL;
	if (!tokens)
		conf_warn(error, (struct conf_place){conf->oauth.keys.p, 0}, "keys of section oauth: %s", why);
	tokens_unref(tokens);
	buf_free(&text);
}

/* Without the secrets of its routes a server does not start. */
static bool check_secrets(const struct conf *conf, struct conf_error *error)
{
	struct conf_secrets *s = conf_secrets_read(conf, NULL, true, error);

	conf_secrets_free(s);
	return s != NULL;
}

static int check_conf(const struct cli_command *self, const char *path, bool dump, bool json)
{
	static struct conf_error error;
	struct conf *conf = cli_conf_load(path, &error);
	struct buf text;
	int status = conf ? EX_OK : EX_CONFIG;

	if (conf)
		check_certificates(conf, &error);
	if (conf)
		check_trust(conf, &error);
	if (conf)
		check_clients_trust(conf, &error);
	if (conf)
		check_tokens(conf, &error);
	if (conf && !check_secrets(conf, &error))
		status = EX_CONFIG;
	buf_init(&text, CONF_TEXT_MAX);
	dump = dump && conf;
	if (dump && !conf_dump(conf, &text))
		status = cli_fail(self, EX_OSERR, "out of memory for the configuration");
	else if (json)
		print_json(cli_conf_path(path), &error, dump ? &text : NULL);
	else
		print_text(cli_conf_path(path), &error, dump ? &text : NULL);
	buf_free(&text);
	conf_unref(conf);
	return status;
}

struct check {
	const char *conf, *word; /* NULL: not given */
	bool dump, data, salvage, sandbox, json;
};

/* DIR, or the data directory of the configuration. */
static int check_data(const struct cli_command *self, const struct check *c)
{
	if (c->word)
		return cli_check_directory(self, c->word, c->salvage, c->json);
	struct conf *conf = cli_conf(self, c->conf);
	if (!conf)
		return EX_CONFIG;
	int status = cli_check_directory(self, conf->data_dir.p, c->salvage, c->json);
	conf_unref(conf);
	return status;
}

static int check_sandbox(const struct cli_command *self, const struct check *c)
{
	struct conf *conf = cli_conf(self, c->conf ? c->conf : c->word);
	if (!conf)
		return EX_CONFIG;
	int status = cli_check_sandbox(self, conf, c->json);
	conf_unref(conf);
	return status;
}

/* False when there is nothing to do; *status says how to end. */
static bool read_arguments(const struct cli_command *self, int argc, char **argv, struct check *c, int *status)
{
	struct cli_args args = {.command = self, .argc = argc, .argv = argv};
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_DUMP:
			c->dump = true;
			break;
		case OPTION_DATA:
			c->data = true;
			break;
		case OPTION_SALVAGE:
			c->salvage = true;
			break;
		case OPTION_SANDBOX:
			c->sandbox = true;
			break;
		case OPTION_JSON:
			c->json = true;
			break;
		case OPTION_HELP:
			cli_help(self);
			*status = EX_OK;
			return false;
		case OPTION_CONF:
		case CLI_WORD: {
			const char **given = option == CLI_WORD ? &c->word : &c->conf;
			if (*given) {
				cli_fail(self, EX_USAGE, "one is wanted: %s or %s?", *given, args.value);
				return false;
			}
			*given = args.value;
			break;
		}
		default:
			return false;
		}
	}
	return true;
}

int cli_check(const struct cli_command *self, int argc, char **argv)
{
	struct check c = {0};
	int status;

	if (!read_arguments(self, argc, argv, &c, &status))
		return status;
	if (c.data && c.dump)
		return cli_fail(self, EX_USAGE, "--dump prints a configuration, --data looks at a data directory");
	if (c.salvage && !c.data)
		return cli_fail(self, EX_USAGE, "--salvage is for --data");
	if (c.sandbox && (c.data || c.dump))
		return cli_fail(self, EX_USAGE, "--sandbox looks at neither --data nor --dump");
	if (c.data)
		return check_data(self, &c);
	if (c.conf && c.word)
		return cli_fail(self, EX_USAGE, "one file is wanted: %s or %s?", c.conf, c.word);
	if (c.sandbox)
		return check_sandbox(self, &c);
	return check_conf(self, c.conf ? c.conf : c.word, c.dump, c.json);
}
