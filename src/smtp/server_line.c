/*
 * server_line: lines of the client (RFC 5321 2.3.8, 4.5.3.1.4): commands, and responses of AUTH.
 *
 * A line ends with CRLF alone. Too long ones are skipped to their end and then refused; one with a bare CR or LF is
 * refused at once and skipped.
 */
#include "smtp/server_private.h"

#include <string.h>

/* Looks for the line's end, CRLF, and for a CR or LF that is not part of one (RFC 5321 2.3.8). `part` ends with the
 * first LF, or has none. */
static void look_for_end(const struct line *line, struct slice part, bool *ret_ended, bool *ret_bare)
{
	size_t n = part.n;
	/* Behind the first CR; beyond n when there is none. */
	size_t behind_cr = line->cr ? 0 : slice_find(part, '\r') + 1;

	*ret_ended = part.p[n - 1] == '\n' && (n > 1 ? part.p[n - 2] == '\r' : line->cr);
	*ret_bare = (part.p[n - 1] == '\n' && !*ret_ended) || (behind_cr < n && !(*ret_ended && behind_cr == n - 1));
}

/* Whether the line begins as AUTH does; `part` are the octets of it that are not held yet. */
static bool is_auth(const struct smtp_server *s, struct slice part)
{
	static const char verb[] = "AUTH ";
	struct slice held = buf_slice(&s->line.held);

	if (!(server_features(s->config) & FEATURE_AUTH) || held.n + part.n < sizeof verb - 1)
		return false;
	for (size_t i = 0; i < sizeof verb - 1; i++)
		if (ascii_upper(i < held.n ? held.p[i] : part.p[i - held.n]) != verb[i])
			return false;
	return true;
}

/* Octets that the line may have, its CRLF included. */
static size_t line_max(const struct smtp_server *s, struct slice part)
{
	if (s->state == ST_AUTH)
		return SMTP_AUTH_LINE_MAX + 2;
	return is_auth(s, part) ? SMTP_AUTH_COMMAND_MAX : SMTP_COMMAND_LINE_MAX;
}

static void line_too_long(struct smtp_server *s, size_t max)
{
	bool auth = max > SMTP_COMMAND_LINE_MAX;
	struct reply reply = {auth ? REPLY_AUTH_LINE_TOO_LONG : REPLY_LINE_TOO_LONG,
			      {server_number(s, auth ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_LINE_MAX)}};

	if (s->state == ST_AUTH)
		server_auth_bad_response(s, &reply);
	else
		server_bad_line(s, &reply);
}

static void line_ended(struct smtp_server *s)
{
	struct line *line = &s->line;
	size_t max = line_max(s, SLICE_NONE);
	bool told = line->told, too_long = line->n > max;
	struct slice text = slice_head(buf_slice(&line->held), line->n - 2);

	line->n = 0;
	line->cr = line->told = false;
	s->since = s->now;
	if (told || s->broken)
		return;
	if (too_long)
		line_too_long(s, max);
	else if (s->state == ST_AUTH)
		server_auth_response(s, text);
	else
		server_command(s, text);
}

/* A CR or LF stands in it that ends no line. */
static void line_bare(struct smtp_server *s)
{
	if (s->state == ST_AUTH)
		server_auth_bad_response(s, &(struct reply){.id = REPLY_AUTH_BASE64});
	else
		server_bad_line(s, &(struct reply){.id = REPLY_LINE_BARE});
}

/* The record of a TLS handshake (RFC 8446 5.1): no command begins with these octets. */
static bool is_client_hello(const struct line *line, struct slice part)
{
	static const char start[] = {0x16, 0x03};
	struct slice held = buf_slice(&line->held);

	if (line->n == 0)
		return part.n > 1 && memcmp(part.p, start, 2) == 0;
	return line->n == 1 && held.n == 1 && held.p[0] == start[0] && part.p[0] == start[1];
}

/* Keeps of a line what is not beyond its limit, so that its start can be looked at in any case. False without memory.
 */
static bool hold(struct smtp_server *s, struct slice part)
{
	size_t max = line_max(s, part), held = buf_len(&s->line.held);

	return held >= max || buf_add(&s->line.held, slice_head(part, max - held));
}

/* Takes a command line, or a part of one. It is parsed where it is held: what an event lends lies there too. */
size_t server_line(struct smtp_server *s, struct slice in)
{
	struct line *line = &s->line;
	struct slice part = slice_head(in, slice_find(in, '\n') + 1);
	bool ended, bare;

	if (line->n == 0)
		buf_reset(&line->held);
	if (is_client_hello(line, part)) {
		server_leave_other(s, SLICE("TLS"));
		return part.n;
	}
	look_for_end(line, part, &ended, &bare);
	line->n += part.n;
	line->cr = part.p[part.n - 1] == '\r';
	if (line->n > SMTP_COMMAND_LINE_MAX + SMTP_LINE_DISCARD_MAX) {
		server_leave(s, REPLY_LINE_ENDLESS);
		return part.n;
	}
	/* Told at once: a client that ends its lines with LF alone would wait for ever. The rest, to the next CRLF, is
	 * no command: it could be one that somebody else smuggled into the client's words. */
	if (bare && !line->told) {
		line->told = true;
		line_bare(s);
		if (s->state == ST_CLOSED)
			return part.n;
	}
	if (!line->told && !hold(s, part))
		s->broken = true;
	if (ended)
		line_ended(s);
	return part.n;
}
