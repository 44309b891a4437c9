/* A program outside the project: what libsmtpcodes(3) promises to it. */
#include <smtpcodes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct smtpcodes_explanation e;
	char status[10];

	if (argc != 2 || !smtpcodes_explain(argv[1], strlen(argv[1]), NULL, &e))
		return 1;
	smtpcodes_status_format(e.status, status);
	printf("%u %s %s %s %s\n", e.code, status, smtpcodes_class(e.finding.klass)->name,
	       smtpcodes_verdict_name(e.finding.verdict), smtpcodes_actor_name(e.finding.actor));
	if (e.code_row)
		printf("%s\n", e.code_row->source);
	return puts(e.finding.advice) < 0;
}
