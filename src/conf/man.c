/*
 * Writes postrider.conf(5) from the table of keys: conf-man > postrider.conf.5
 */
#include "conf/keys.h"
#include "conf/value.h"

#include <stdio.h>

/* Text for man(7): backslashes and hyphens escaped, and no line begins with a control character. */
static void put_text(struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c == '\\')
			fputs("\\e", stdout);
		else if (c == '-')
			fputs("\\-", stdout);
		else if ((c == '.' || c == '\'') && (i == 0 || text.p[i - 1] == '\n'))
			printf("\\&%c", c);
		else
			putchar(c);
	}
}

static void put(const char *text)
{
	put_text(slice_from_cstr(text));
}

static void put_preset(const struct conf_key *key)
{
	if (!key->preset) {
		puts("Must be given.");
		return;
	}
	fputs("Default: ", stdout);
	put(conf_type_is_list(key->type) ? "{}" : key->preset);
	puts(".");
}

static void put_key(const struct conf_key *key)
{
	struct buf description;

	buf_init(&description, 1024);
	conf_type_describe(key, &description);
	printf(".TP\n.B ");
	put(key->name);
	printf("\n");
	put(key->text);
	printf("\n.br\nValue: ");
	put_text(buf_slice(&description));
	puts(".");
	put_preset(key);
	if (!key->live)
		puts("A change needs a restart.");
	buf_free(&description);
}

static void put_section(const struct conf_section *section)
{
	if (section->id == SECTION_TOP) {
		printf(".SH KEYS AT THE TOP\n");
	} else {
		printf(".SH \"SECTION ");
		put(section->name);
		printf("\"\n");
	}
	put(section->text);
	printf("\n");
	if (section->titles)
		printf("Its title is %s.\n", section->titles);
	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_keys[i].section == section->id)
			put_key(&conf_keys[i]);
}

static const char head[] = ".TH POSTRIDER.CONF 5 \"\" Postrider\n"
			   ".SH NAME\n"
			   "postrider.conf \\- configuration of the Postrider mail server\n"
			   ".SH DESCRIPTION\n"
			   "The file holds keys with values, and sections with keys of their own:\n"
			   ".PP\n.nf\n.RS\n"
			   "hostname = mail.example.com\n"
			   "relay_networks = {\"127.0.0.0/8\", \"::1\"}\n"
			   "listen smtp { port = 25 }\n"
			   "listen submission { port = 587 size_max = 20M }\n"
			   "domain \"example.com\" {\n"
			   "\tmailboxes = {\"alice\", \"bob\"}\n"
			   "\tmoved \"carol\" { to = \"carol@example.net\" disclose = yes }\n"
			   "}\n"
			   "route \"partner.example\" { hosts = {\"mx.partner.example:25\", \"[192.0.2.1]:2525\"} }\n"
			   "route \"*\" { hosts = {\"smarthost.example.net:587\"} }\n"
			   "include(\"conf.d/*.conf\")\n"
			   ".RE\n.fi\n.PP\n"
			   "A value with other characters than letters, digits and _ \\- . : / @ [ ] stands in quotes; "
			   "inside double quotes a\n"
			   "backslash stands before \", \\e and $. Comments begin with # or // and go to the end of "
			   "the line, or stand between /*\n"
			   "and */. A key stands once in its section. Whether a file is right is told by\n"
			   ".BR \"postrider check\" .\n"
			   ".PP\n"
			   "An included file is read as if it stood at the end of the file that includes it; its path "
			   "begins at the directory of\n"
			   "that file, and may have the wildcards * ? and [ ]. Neither a file nor a directory above it "
			   "may be writable by\n"
			   "everybody.\n"
			   ".PP\n"
			   "Sizes are octets, or have one of the units k, M, G and T (1024 each). Times have a unit, "
			   "one of ms, s, m, h and d, and\n"
			   "can be put together: 1h30m. No number means \\(lqunlimited\\(rq.\n"
			   ".PP\n"
			   "A reload (SIGHUP) puts a changed file into force, except for the keys that say otherwise. "
			   "A file with an error\n"
			   "changes nothing.\n";

static const char tail[] = ".SH SEE ALSO\n"
			   ".BR postriderd (8),\n"
			   ".BR postrider (1)\n";

int main(void)
{
	fputs(head, stdout);
	for (size_t i = 0; i < SECTION_COUNT; i++)
		put_section(&conf_sections[i]);
	fputs(tail, stdout);
	return ferror(stdout) || fflush(stdout) != 0;
}
