/*
 * How accounts are shown.
 */
#include "cli/user.h"

#include "directory/scheme.h"

/* ---- for people ---------------------------------------------------------------------------------------------- */

static const char *state_of(const struct account *a)
{
	if (a->enabled)
		return "enabled";
	return a->disabled_itself ? "disabled" : "disabled, as its domain";
}

static void print_secrets(const struct secrets *s)
{
	static const char *const names[SCRAM_HASHES] = {"SCRAM-SHA-256", "SCRAM-SHA-1"};
	const char *separator = "";

	if (s->crypt[0]) {
		printf("%s", scheme_name_of(slice_from_cstr(s->crypt)));
		separator = ", ";
	}
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		if (s->scram[h].iterations) {
			printf("%s%s", separator, names[h]);
			separator = ", ";
		}
	if (s->has_cram_md5)
		printf("%sCRAM-MD5", separator);
	if (s->foreign)
		printf(" (imported; renewed at the next login)");
}

static void print_mail(const struct conf *conf, const struct account *a)
{
	struct directory_entry entry;

	printf("  mail for it: ");
	switch (cli_accounts_mail(conf, a->name, &entry)) {
	case CLI_MAIL_HERE:
		if (entry.delivery == DIRECTORY_LMTP)
			printf("by LMTP, as the configuration says\n");
		else
			printf("the mailbox %.*s\n", SLICE_ARGS(entry.mailbox));
		break;
	case CLI_MAIL_ELSEWHERE:
		printf("sent on, as the configuration says\n");
		break;
	case CLI_MAIL_NO_MAILBOX:
		printf("refused, it is no mailbox in the configuration\n");
		break;
	case CLI_MAIL_NO_DOMAIN:
		printf("not here, its domain is none of the configuration\n");
		break;
	case CLI_MAIL_NO_ADDRESS:
		printf("none, its name is no address\n");
		break;
	}
}

void user_print(const struct user_request *q, const struct account *a)
{
	char created[32], changed[32];

	cli_print(stdout, a->name);
	printf("\n  %s, since %s\n", state_of(a), cli_time_text(a->created, created));
	printf("  password: ");
	print_secrets(&a->secrets);
	printf("; set %s\n", cli_time_text(a->password_changed, changed));
	printf("  may send as: ");
	for (size_t i = 0; i < a->address_count; i++) {
		printf("%s", i ? ", " : "");
		cli_print(stdout, a->addresses[i]);
	}
	printf("%s\n", a->address_count ? "" : "nobody");
	cli_accounts_print_limit(a->own_messages_per_hour, a->messages_per_hour, "messages", true);
	cli_accounts_print_limit(a->own_recipients_per_hour, a->recipients_per_hour, "recipients", true);
	print_mail(q->conf, a);
}

/* ---- for programs -------------------------------------------------------------------------------------------- */

static json_t *json_secrets(const struct secrets *s, bool keep_cram_md5)
{
	static const char *const names[SCRAM_HASHES] = {"SCRAM-SHA-256", "SCRAM-SHA-1"};
	json_t *scram = json_object();

	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		if (s->scram[h].iterations)
			json_object_set_new(scram, names[h], json_integer(s->scram[h].iterations));
	return json_pack("{s:o, s:o, s:b, s:b, s:b}", "hash",
			 s->crypt[0] ? json_string(scheme_name_of(slice_from_cstr(s->crypt))) : json_null(),
			 "scram_iterations", scram, "cram_md5", s->has_cram_md5, "imported", s->foreign, "outdated",
			 secrets_outdated(s, keep_cram_md5));
}

json_t *user_json(const struct user_request *q, const struct account *a)
{
	static const char *const mail[] = {
		[CLI_MAIL_HERE] = "here",
		[CLI_MAIL_ELSEWHERE] = "elsewhere",
		[CLI_MAIL_NO_MAILBOX] = "refused",
		[CLI_MAIL_NO_DOMAIN] = "not-here",
		[CLI_MAIL_NO_ADDRESS] = "no-address",
	};
	json_t *addresses = json_array();
	struct directory_entry entry;

	for (size_t i = 0; i < a->address_count; i++)
		json_array_append_new(addresses, cli_json_text(a->addresses[i]));
	return json_pack("{s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "name", cli_json_text(a->name),
			 "enabled", a->enabled, "disabled_by_domain", a->disabled_by_domain, "addresses", addresses,
			 "messages_per_hour", cli_accounts_json_limit(a->messages_per_hour), "recipients_per_hour",
			 cli_accounts_json_limit(a->recipients_per_hour), "password",
			 json_secrets(&a->secrets, q->conf->keep_cram_md5), "created", cli_json_time(a->created),
			 "password_changed", cli_json_time(a->password_changed), "mail",
			 mail[cli_accounts_mail(q->conf, a->name, &entry)]);
}
