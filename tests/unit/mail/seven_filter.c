/*
 * Converts the message on standard input, for seven_readers.py: "7" or "8" names the target. Exit code 65 when it
 * cannot be converted; the reason goes to standard error.
 */
#include <stdio.h>

#include "mail/seven.h"

int main(int argc, char **argv)
{
	struct mail_seven *s = mail_seven_new(argc > 1 && argv[1][0] == '8' ? MAIL_SEVEN_TO_8BIT : MAIL_SEVEN_TO_7BIT);
	char piece[1000];
	struct buf out;
	size_t n;

	if (!s)
		return 71;
	buf_init(&out, 64 << 20);
	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
		mail_seven_feed(s, slice_of(piece, n), &out);
	enum mail_seven_result result = mail_seven_end(s, &out);
	if (result == MAIL_SEVEN_OK)
		fwrite(buf_slice(&out).p, 1, buf_len(&out), stdout);
	else
		fprintf(stderr, "%d: %s\n", (int)result, mail_seven_reason(s));
	mail_seven_free(s);
	buf_free(&out);
	return result == MAIL_SEVEN_OK ? 0 : 65;
}
