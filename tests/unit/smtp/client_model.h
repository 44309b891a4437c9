/*
 * client_model: the client engine against a random peer, with a reference that knows what may come of it.
 *
 * All choices come from one source (octets of a fuzzer, or a generator), so that a run can be repeated. The peer is a
 * small server that reads the client's octets as a server would. It answers what it likes: right, wrong, in pieces, too
 * early, too much, nonsense, or not at all, and breaks the connection at any octet.
 *
 * The reference counts: the n-th reply answers the n-th command, and none that came before it. From that follow
 *
 *	- exactly one outcome for each recipient of each job, then DONE, and CLOSED at the end
 *	- an outcome with a code has the code of the reply that answered its command, and the verdict of its class
 *	- delivered only with 2yz to the recipient and to the end of its data
 *	- ambiguous if and only if the end of the data reached the peer and no answer came back
 *	- the message arrives octet for octet, or converted; and by DATA every lenient reader of the octets finds
 *exactly one message in them (attacks.md, SM-out)
 *	- commands wait for replies where they must (RFC 2920 3.1)
 *	- with TLS: no job without as much of it as is asked for, no use of what was offered before it, no second one,
 *	  and nothing but the end when octets in the clear come in place of the handshake
 */
#ifndef CLIENT_MODEL_H
#define CLIENT_MODEL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/client.h"
#include "smtp/limits.h"

#define MODEL_JOBS     3
#define MODEL_RCPTS    4
#define MODEL_MESSAGE  512
#define MODEL_OCTETS   (1 << 15)
#define MODEL_COMMANDS 256

/* ---- choices --------------------------------------------------------------------------------------------------- */

struct model_source {
	const uint8_t *data;
	size_t n;
	uint64_t seed; /* of the generator that goes on when there is no data */
};

static unsigned model_choose(struct model_source *s, unsigned n)
{
	if (s->n > 0) {
		s->n--;
		return *s->data++ % n;
	}
	s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(s->seed >> 33) % n;
}

/* ---- state ----------------------------------------------------------------------------------------------------- */

enum model_kind { M_GREETING, M_HELLO, M_STARTTLS, M_RSET, M_MAIL, M_RCPT, M_DATA, M_BDAT, M_END, M_EMPTY, M_QUIT };

struct model_command {
	enum model_kind kind;
	int job, rcpt; /* -1: of no job; of all recipients */
	unsigned code; /* of the reply that came in its turn; 0 = none yet */
};

struct model_job {
	struct mail_envelope envelope;
	struct mail_rcpt rcpt[MODEL_RCPTS];
	char address[MODEL_RCPTS][64], sender[64];
	char message[MODEL_MESSAGE];
	size_t message_n, given;
	bool lies, sent, done, end_seen, requiretls;
	int outcomes[MODEL_RCPTS];
};

struct model {
	struct model_source *source;
	struct smtp_client_config config;
	struct smtp_client *c;
	struct model_job job[MODEL_JOBS];
	int jobs, next_job, body_owed; /* -1: none */
	bool closed, quit;

	bool sane; /* the peer keeps to the protocol, but for its choice of codes */
	bool pipelining, chunking, eight_bit, binary, utf8, hello_done;
	bool starttls, secured, verified, shaking, requiretls;

	/* The peer: what it has read, and what it says. */
	char in[MODEL_OCTETS], out[MODEL_OCTETS], data[MODEL_OCTETS];
	size_t in_n, out_n, said, data_n, chunk_left;
	bool in_data, chunk_last, gone;
	int now;        /* the job whose transaction is open; -1 = none */
	size_t barrier; /* octets that the client must have been told before it may send more */

	struct model_command command[MODEL_COMMANDS];
	size_t commands, replies, counted; /* counted: octets of `out` that replies were counted in */
	size_t answerable;                 /* commands that were read when the reply in progress began */
	bool reply_begun, confused;
	mono_ms time;
};

#define MODEL_CHECK(m, what)                                                                                  \
	do {                                                                                                  \
		if (!(what)) {                                                                                \
			fprintf(stderr, "model: %s:%d: %s\nclient said:\n%.*s\npeer said:\n%.*s\n", __FILE__, \
				__LINE__, #what, (int)(m)->in_n, (m)->in, (int)(m)->said, (m)->out);          \
			abort();                                                                              \
		}                                                                                             \
	} while (0)

static unsigned model_pick(struct model *m, unsigned n)
{
	return model_choose(m->source, n);
}

/* ---- the peer speaks ------------------------------------------------------------------------------------------- */

static void model_say(struct model *m, const char *text)
{
	size_t n = strlen(text);

	if (m->out_n + n > sizeof m->out)
		return;
	memcpy(m->out + m->out_n, text, n);
	m->out_n += n;
}

static void model_reply(struct model *m, enum model_kind kind)
{
	static const char *const usual[] = {[M_GREETING] = "220 peer\r\n",     [M_HELLO] = "",
					    [M_STARTTLS] = "220 go\r\n",
					    [M_RSET] = "250 reset\r\n",        [M_MAIL] = "250 2.1.0 mail\r\n",
					    [M_RCPT] = "250 2.1.5 rcpt\r\n",   [M_DATA] = "354 go\r\n",
					    [M_BDAT] = "250 chunk\r\n",        [M_END] = "250 2.6.0 end\r\n",
					    [M_EMPTY] = "554 5.5.0 empty\r\n", [M_QUIT] = "221 bye\r\n"};
	static const char *const refusals[] = {"450 4.2.1 busy\r\n",
					       "550 5.1.1 no\r\n",
					       "552 too many recipients\r\n",
					       "552-5.2.2 full\r\n552 5.2.2 up\r\n",
					       "451\r\n",
					       "554 \r\n",
					       "452-4.5.3 too\r\n452-4.5.3 many\r\n452 4.5.3 rcpts\r\n",
					       "550 4.1.1 odd class\r\n"};
	static const char *const strange[] = {"421 4.3.2 bye\r\n",
					      "250 yes\r\n",
					      "354 go\r\n",
					      "334 \r\n",
					      "",
					      "xyz\r\n",
					      "250\n",
					      "250-a\r\n251 b\r\n",
					      "199 x\r\n",
					      "250 one\r\n250 two\r\n",
					      "250-never ends\r\n",
					      "\r\n",
					      "2"};
	unsigned dice = model_pick(m, 32);

	if (dice < 24)
		model_say(m, usual[kind]);
	else if (dice < 30 || m->sane)
		model_say(m, kind == M_RSET || kind == M_QUIT ? usual[kind] : refusals[model_pick(m, 8)]);
	else
		model_say(m, strange[model_pick(m, sizeof strange / sizeof *strange)]);
	if (kind == M_DATA || kind == M_HELLO || kind == M_STARTTLS || kind == M_QUIT || !m->pipelining)
		m->barrier = m->out_n;
}

static void model_hello(struct model *m)
{
	static const char *const offers[] = {"PIPELINING", "chunking", "8BITMIME", "BINARYMIME",
					     "SmtpUtf8",   "DSN",      "SIZE 300", "requireTLS"};
	unsigned set = model_pick(m, 256);

	if (set >= 250) {
		model_reply(m, M_MAIL); /* no extension, or a refusal */
		m->barrier = m->out_n;
		return;
	}
	set = set < 64 ? 0x7f & ~0x40u : set;
	m->starttls = m->config.tls && model_pick(m, 8);
	m->pipelining = (set & 1) && m->config.pipelining;
	m->chunking = (set & 2) && m->config.chunking;
	m->eight_bit = set & 4;
	m->binary = (set & 8) && m->chunking;
	m->utf8 = (set & 16) && m->eight_bit;
	m->requiretls = set & 128;
	model_say(m, "250-peer\r\n");
	for (unsigned i = 0; i < 8; i++) {
		if (set & 1u << i) {
			model_say(m, "250-");
			model_say(m, offers[i]);
			model_say(m, "\r\n");
		}
	}
	if (m->starttls)
		model_say(m, "250-starttls\r\n");
	model_say(m, "250 HELP\r\n");
	m->barrier = m->out_n;
}

/* ---- the reference counts replies ------------------------------------------------------------------------------ */

/* Called with each octet that the client was told, in `out` before `said`. */
static void model_count(struct model *m)
{
	struct smtpcodes_reply r;

	if (!m->reply_begun && m->counted < m->said) {
		m->reply_begun = true;
		m->answerable = m->commands;
	}
	if (m->confused ||
	    smtpcodes_reply_parse(m->out + m->counted, m->said - m->counted, SMTPCODES_STRICT, &r) != SMTPCODES_OK)
		return;
	m->counted += r.octets;
	m->reply_begun = false;
	/* A reply that answers nothing ends the session; nothing after it means anything. The engine is more lenient
	 * where a run of RCPT or BDAT is on its way: the model stops counting there all the same. */
	if (m->replies >= m->answerable)
		m->confused = true;
	else
		m->command[m->replies++].code = r.code;
	if (r.code == 421)
		m->confused = true;
}

static struct model_command *model_find(struct model *m, enum model_kind kind, int job, int rcpt)
{
	for (size_t i = 0; i < m->commands; i++) {
		struct model_command *c = &m->command[i];
		if (c->kind == kind && c->job == job && (c->rcpt == rcpt || c->rcpt == -1))
			return c;
	}
	return NULL;
}

static unsigned model_code(struct model *m, enum model_kind kind, int job, int rcpt)
{
	struct model_command *c = model_find(m, kind, job, rcpt);

	return c ? c->code : 0;
}

static void model_expect(struct model *m, enum model_kind kind, int job, int rcpt)
{
	MODEL_CHECK(m, m->commands < MODEL_COMMANDS);
	m->command[m->commands++] = (struct model_command){.kind = kind, .job = job, .rcpt = rcpt};
}

/* ---- the peer reads -------------------------------------------------------------------------------------------- */

/* One end-of-data recogniser of attacks.md: counts the ends it finds in `p`, and says whether the last is at its end.
 */
static unsigned model_ends(const char *p, size_t n, unsigned kind, bool *at_end)
{
	static const char *const also[] = {"\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", NULL, NULL, "\n.\n", NULL};
	static char text[MODEL_OCTETS + 2];
	size_t size = 0;
	unsigned ends = 0;
	bool skip = false;

	memcpy(text, "\r\n", 2);
	size = kind == 6 ? 1 : 2;
	if (kind == 6)
		text[0] = '\n';
	for (size_t i = 0; i < n; i++) {
		char c = kind == 7 ? (char)(p[i] & 0x7f) : p[i];
		skip = kind == 5 && c != '\n' && c != '\r' && (skip || c == '\0');
		if (skip || (kind == 4 && c == '\0') || (kind == 6 && c == '\r'))
			continue;
		text[size++] = c;
	}
	*at_end = false;
	for (size_t i = 0; i < size; i++) {
		struct slice rest = slice_of(text + i, size - i);
		struct slice other = slice_from_cstr(also[kind]);
		bool strict = slice_starts(rest, SLICE("\r\n.\r\n"));
		/* An end is counted where its dot stands, so that no end is counted twice. */
		bool lenient = other.n && slice_starts(rest, other) && !(kind == 1 && i > 0 && text[i - 1] == '\r');
		if (kind == 1 && strict)
			lenient = false;
		if (!strict && !lenient)
			continue;
		ends++;
		*at_end = i + (strict ? 5 : other.n) == size;
	}
	return ends;
}

/* `wire`: the octets of DATA as they came, the final dot included. */
static void model_check_wire(struct model *m, const char *wire, size_t n)
{
	bool eight = false, at_end;

	for (size_t i = 0; i < n; i++)
		eight = eight || (unsigned char)wire[i] >= 0x80;
	MODEL_CHECK(m, !eight || m->eight_bit);
	/* A peer that offered 8BITMIME and drops the eighth bit is beyond help. */
	for (unsigned kind = 0; kind < (eight ? 7u : 8u); kind++) {
		unsigned ends = model_ends(wire, n, kind, &at_end);
		MODEL_CHECK(m, ends == 1 && at_end);
	}
}

static bool model_message_bare(const struct model_job *j)
{
	for (size_t i = 0; i < j->message_n; i++) {
		char c = j->message[i];
		if (c == '\0' || (c == '\n' && (i == 0 || j->message[i - 1] != '\r')) ||
		    (c == '\r' && (i + 1 == j->message_n || j->message[i + 1] != '\n')))
			return true;
	}
	return false;
}

static bool model_message_8bit(const struct model_job *j, bool header)
{
	size_t body = slice_search(slice_of(j->message, j->message_n), SLICE("\r\n\r\n"));

	for (size_t i = header ? 0 : body; i < (header ? body : j->message_n); i++)
		if ((unsigned char)j->message[i] >= 0x80)
			return true;
	return false;
}

static void model_check_message(struct model *m, bool by_data)
{
	struct model_job *j = &m->job[m->now];
	bool converted = (model_message_bare(j) && !j->lies && !m->binary) ||
			 ((model_message_8bit(j, false) || model_message_8bit(j, true)) && !m->eight_bit);
	size_t n = m->data_n;

	MODEL_CHECK(m, !j->end_seen);
	j->end_seen = true;
	if (by_data && n == j->message_n + 2 && !memcmp(m->data + n - 2, "\r\n", 2))
		n -= 2;
	if (!converted)
		MODEL_CHECK(m, n == j->message_n && !memcmp(m->data, j->message, n));
	MODEL_CHECK(m, !by_data || converted || !j->lies);
}

/* The end of the data of the open transaction came; by LMTP one reply is owed for each recipient that was accepted. */
static void model_end(struct model *m, bool by_data)
{
	int job = m->now, owed = 0;

	model_check_message(m, by_data);
	for (int r = 0; r < MODEL_RCPTS; r++) {
		if (model_code(m, M_RCPT, job, r) / 100 != 2)
			continue;
		owed++;
		if (m->config.lmtp)
			model_expect(m, M_END, job, r);
	}
	MODEL_CHECK(m, owed > 0);
	if (!m->config.lmtp)
		model_expect(m, M_END, job, -1);
	for (int i = 0; i < (m->config.lmtp ? owed : 1); i++)
		model_reply(m, M_END);
	m->now = -1;
}

/* Octets of DATA: true when the final dot was among them. */
static bool model_take_data(struct model *m, size_t *at)
{
	struct slice rest = slice_of(m->in + *at, m->in_n - *at);
	bool lone = slice_starts(rest, SLICE(".\r\n"));
	size_t end = lone ? 0 : slice_search(rest, SLICE("\r\n.\r\n"));

	if (!lone && end == rest.n)
		return false;
	size_t wire = lone ? 3 : end + 5;
	m->in_data = false;
	m->data_n = 0;
	for (size_t i = 0; i + 3 < wire; i++) {
		bool start = i == 0 || (i >= 2 && rest.p[i - 2] == '\r' && rest.p[i - 1] == '\n');
		if (!(start && rest.p[i] == '.'))
			m->data[m->data_n++] = rest.p[i];
	}
	*at += wire;
	bool anyone = false;
	for (int r = 0; r < MODEL_RCPTS; r++)
		anyone = anyone || model_code(m, M_RCPT, m->now, r) / 100 == 2;
	if (!anyone) {
		/* RFC 2920 3.1: the lone dot. */
		MODEL_CHECK(m, wire == 3 && !m->config.lmtp);
		model_expect(m, M_EMPTY, m->now, -1);
		model_reply(m, M_EMPTY);
		m->now = -1;
		return true;
	}
	model_check_wire(m, rest.p, wire);
	model_end(m, true);
	return true;
}

static void model_bdat(struct model *m, struct slice line)
{
	struct slice rest = slice_skip(line, 5);
	struct slice number = slice_split(&rest, ' ');
	uint64_t n = 0;

	MODEL_CHECK(m, m->chunking && m->now >= 0 && slice_u64(number, MODEL_OCTETS, &n));
	m->chunk_last = slice_eq(rest, SLICE("LAST"));
	m->chunk_left = (size_t)n;
	/* The first comes when all of the envelope was answered. */
	MODEL_CHECK(m, m->data_n > 0 || m->said >= m->out_n || !m->sane);
}

static bool model_take_chunk(struct model *m, size_t *at)
{
	size_t n = m->in_n - *at < m->chunk_left ? m->in_n - *at : m->chunk_left;

	memcpy(m->data + m->data_n, m->in + *at, n);
	m->data_n += n;
	m->chunk_left -= n;
	*at += n;
	if (m->chunk_left > 0)
		return false;
	m->chunk_left = SIZE_MAX;
	if (m->chunk_last) {
		model_end(m, false);
	} else {
		model_expect(m, M_BDAT, m->now, -1);
		model_reply(m, M_BDAT);
	}
	return true;
}

/* "jN" at the start of a path's local part, or "rR.jN". */
static void model_path(struct model *m, struct slice line, int *job, int *rcpt)
{
	struct slice path = slice_skip(line, slice_find(line, '<') + 1);

	*rcpt = -1;
	if (path.n > 3 && path.p[0] == 'r') {
		*rcpt = path.p[1] - '0';
		path = slice_skip(path, 3);
	}
	MODEL_CHECK(m, path.n > 2 && path.p[0] == 'j');
	*job = path.p[1] - '0';
	MODEL_CHECK(m, *job >= 0 && *job < m->jobs && *rcpt < MODEL_RCPTS);
}

static void model_mail(struct model *m, struct slice line)
{
	int rcpt;

	MODEL_CHECK(m, m->now < 0);
	model_path(m, line, &m->now, &rcpt);
	MODEL_CHECK(m, rcpt == -1 && !model_find(m, M_MAIL, m->now, -1));
	MODEL_CHECK(m, m->utf8 || slice_is_ascii(line));
	/* RFC 8689 2 and 4.2.1: as it was demanded, or not at all. */
	bool strict = slice_search(line, SLICE(" REQUIRETLS")) < line.n;
	MODEL_CHECK(m, strict == m->job[m->now].requiretls);
	MODEL_CHECK(m, !strict || (m->secured && m->verified && (m->requiretls || m->confused)));
	m->data_n = 0;
	model_expect(m, M_MAIL, m->now, -1);
	model_reply(m, M_MAIL);
}

static void model_rcpt(struct model *m, struct slice line)
{
	int job, rcpt;

	model_path(m, line, &job, &rcpt);
	MODEL_CHECK(m, job == m->now && rcpt >= 0 && !model_find(m, M_RCPT, job, rcpt));
	MODEL_CHECK(m, m->utf8 || slice_is_ascii(line));
	model_expect(m, M_RCPT, job, rcpt);
	model_reply(m, M_RCPT);
}

static void model_data(struct model *m)
{
	MODEL_CHECK(m, m->now >= 0);
	model_expect(m, M_DATA, m->now, -1);
	size_t before = m->out_n;
	model_reply(m, M_DATA);
	m->in_data = slice_starts(slice_of(m->out + before, m->out_n - before), SLICE("3"));
	if (!m->in_data)
		m->now = -1;
}

static void model_line(struct model *m, struct slice line)
{
	if (slice_starts(line, SLICE("EHLO ")) || slice_starts(line, SLICE("LHLO ")) ||
	    slice_starts(line, SLICE("HELO "))) {
		MODEL_CHECK(m, m->config.lmtp == slice_starts(line, SLICE("LHLO ")));
		model_expect(m, M_HELLO, -1, -1);
		if (slice_starts(line, SLICE("HELO ")))
			model_reply(m, M_MAIL);
		else
			model_hello(m);
		m->barrier = m->out_n;
	} else if (slice_eq(line, SLICE("STARTTLS"))) {
		MODEL_CHECK(m, m->config.tls && m->starttls && !m->secured && m->now < 0 && m->next_job == 0);
		model_expect(m, M_STARTTLS, -1, -1);
		model_reply(m, M_STARTTLS);
	} else if (slice_starts(line, SLICE("MAIL FROM:<"))) {
		model_mail(m, line);
	} else if (slice_starts(line, SLICE("RCPT TO:<"))) {
		model_rcpt(m, line);
	} else if (slice_eq(line, SLICE("DATA"))) {
		model_data(m);
	} else if (slice_starts(line, SLICE("BDAT "))) {
		model_bdat(m, line);
	} else if (slice_eq(line, SLICE("RSET"))) {
		m->now = -1;
		model_expect(m, M_RSET, -1, -1);
		model_reply(m, M_RSET);
	} else {
		MODEL_CHECK(m, slice_eq(line, SLICE("QUIT")));
		model_expect(m, M_QUIT, -1, -1);
		model_reply(m, M_QUIT);
	}
}

/*
 * Reads what the client sent. A transaction whose MAIL or DATA was refused is over here (`now` < 0) once the next
 * command shows it; pipelined RCPT and DATA behind a refused MAIL are answered all the same.
 */
static void model_read(struct model *m, size_t *at)
{
	for (;;) {
		if (m->chunk_left != SIZE_MAX) {
			if (!model_take_chunk(m, at))
				return;
			continue;
		}
		if (m->in_data) {
			if (!model_take_data(m, at))
				return;
			continue;
		}
		struct slice rest = slice_of(m->in + *at, m->in_n - *at);
		size_t end = slice_search(rest, SLICE("\r\n"));
		if (end == rest.n)
			return;
		MODEL_CHECK(m, end <= SMTP_COMMAND_LINE_MAX);
		*at += end + 2;
		struct slice line = slice_head(rest, end);
		/* A new MAIL or RSET: what was open is not any more. */
		if (slice_starts(line, SLICE("MAIL")) && m->now >= 0 && model_code(m, M_MAIL, m->now, -1) / 100 != 2)
			m->now = -1;
		model_line(m, line);
	}
}

/* ---- the owner ------------------------------------------------------------------------------------------------- */

static void model_make_message(struct model *m, struct model_job *j, bool bare, bool eight)
{
	static const char *const pieces[] = {"a",
					     ".",
					     "\r\n",
					     "..",
					     "\r\n.\r\n",
					     ".\r\n",
					     "text ",
					     "\r\nMAIL FROM:<j0@x>\r\n",
					     "\xae",
					     "\r\n\xae\r\n",
					     "\x8d\x8a.\x8d\x8a",
					     "\xc3\xa9",
					     "\r",
					     "\n",
					     "\n.\n",
					     "\r.\r"};
	unsigned kinds = bare ? 16 : eight ? 12 : 8;
	unsigned count = model_pick(m, 24);

	j->message_n = 0;
	if (model_pick(m, 4) > 0) {
		memcpy(j->message, "Subject: x\r\n\r\n", 14);
		j->message_n = 14;
	}
	for (unsigned i = 0; i < count; i++) {
		const char *piece = pieces[model_pick(m, kinds)];
		size_t n = strlen(piece);
		memcpy(j->message + j->message_n, piece, n);
		j->message_n += n;
	}
	if (bare && model_pick(m, 4) == 0)
		j->message[j->message_n++] = '\0';
}

static void model_make_job(struct model *m, int i)
{
	static const char *const domains[] = {"x.example", "x.example", "caf\xc3\xa9.example", "[192.0.2.1]"};
	struct model_job *j = &m->job[i];

	snprintf(j->sender, sizeof j->sender, "j%d@%s", i, domains[model_pick(m, 4)]);
	j->envelope = (struct mail_envelope){.sender = slice_from_cstr(j->sender),
					     .envid = SLICE("env"),
					     .ret = MAIL_RET_HDRS,
					     .rcpt = j->rcpt,
					     .rcpt_count = 1 + model_pick(m, MODEL_RCPTS)};
	for (size_t r = 0; r < j->envelope.rcpt_count; r++) {
		unsigned dice = model_pick(m, 16);
		snprintf(j->address[r], sizeof j->address[r], "r%zu.j%d%s@%s", r, i, dice == 0 ? "\xce\xb1" : "",
			 dice == 1 ? ">\r\nDATA" : domains[dice % 4]);
		j->rcpt[r] = (struct mail_rcpt){.address = slice_from_cstr(j->address[r]),
						.orcpt = SLICE("rfc822;o@x"),
						.notify = (uint8_t)(dice & 2 ? MAIL_NOTIFY_SUCCESS : 0)};
	}
	unsigned dice = model_pick(m, 8);
	model_make_message(m, j, dice == 0 || dice == 1, dice == 2);
	j->lies = dice == 0 && model_message_bare(j);
	j->requiretls = dice >= 6;
}

static bool model_was_told_220(struct model *m)
{
	return model_code(m, M_STARTTLS, -1, -1) == 220;
}

static void model_greet(struct model *m)
{
	model_expect(m, M_GREETING, -1, -1);
	model_reply(m, M_GREETING);
}

/* What it said before the end of the handshake, it said in the clear. */
static void model_handshake(struct model *m)
{
	MODEL_CHECK(m, !m->secured && m->now < 0 && smtp_client_output(m->c).n == 0);
	MODEL_CHECK(m, m->config.tls_first ? m->in_n == 0 : model_was_told_220(m) || m->confused);
	if (!m->sane && model_pick(m, 16) == 0)
		model_say(m, "250 put in\r\n");
	m->shaking = m->said < m->out_n || model_pick(m, 16) == 0;
	if (m->shaking)
		return;
	m->secured = true;
	m->verified = model_pick(m, 4);
	m->pipelining = m->chunking = m->eight_bit = m->binary = m->utf8 = m->starttls = m->requiretls = false;
	smtp_client_secured(
		m->c, &(struct smtp_client_security){.verified = m->verified, .why = SLICE("it is another")}, m->time);
	if (m->config.tls_first)
		model_greet(m);
}

static void model_check_tls(struct model *m)
{
	MODEL_CHECK(m, !m->shaking);
	MODEL_CHECK(m, m->config.tls < SMTP_CLIENT_TLS_REQUIRED || m->secured);
	MODEL_CHECK(m, m->config.tls < SMTP_CLIENT_TLS_VERIFIED || m->verified);
	MODEL_CHECK(m, m->config.tls < SMTP_CLIENT_TLS_DEMANDED || m->requiretls || m->confused);
	MODEL_CHECK(m, !m->starttls || m->secured || !model_was_told_220(m));
}

static void model_ready(struct model *m)
{
	model_check_tls(m);
	if (m->next_job == m->jobs) {
		smtp_client_quit(m->c, m->time);
		m->quit = true;
		return;
	}
	struct model_job *j = &m->job[m->next_job];
	struct smtp_client_job job = {.tag = (uint64_t)m->next_job,
				      .envelope = &j->envelope,
				      .size = j->message_n,
				      .eight_bit = model_message_8bit(j, false),
				      .needs_utf8 = model_message_8bit(j, true),
				      .has_bare = !j->lies && model_message_bare(j),
				      .requiretls = j->requiretls};
	m->next_job++;
	j->sent = true;
	smtp_client_send(m->c, &job, m->time);
}

static void model_give_body(struct model *m)
{
	struct model_job *j = &m->job[m->body_owed];
	struct slice rest = slice_of(j->message + j->given, j->message_n - j->given);
	struct slice piece = slice_head(rest, model_pick(m, 3) ? rest.n : model_pick(m, 20));

	m->body_owed = -1;
	if (!m->sane && model_pick(m, 64) == 0) {
		smtp_client_body_failed(m->c, SLICE("disk"));
		return;
	}
	j->given += piece.n;
	smtp_client_body(m->c, piece, piece.n == rest.n && (rest.n == 0 || model_pick(m, 4)), m->time);
}

/* The one reply that gave this outcome, by count. */
static unsigned model_source_code(struct model *m, const struct smtp_outcome *o, int job, int rcpt)
{
	switch (o->stage) {
	case SMTP_STAGE_MAIL:
		return model_code(m, M_MAIL, job, -1);
	case SMTP_STAGE_RCPT:
		return model_code(m, M_RCPT, job, rcpt);
	case SMTP_STAGE_END:
		return model_code(m, M_END, job, rcpt);
	default:
		break;
	}
	for (size_t i = 0; i < m->commands; i++) {
		struct model_command *c = &m->command[i];
		if (c->job == job && (c->kind == M_DATA || c->kind == M_BDAT) && c->code == o->code)
			return c->code;
	}
	return 0;
}

/* Whether the end of the job's data is among the octets that the client sent, whatever the peer made of them. */
static bool model_end_left(struct model *m, int job)
{
	struct slice all = slice_of(m->in, m->in_n);
	char mail[32];

	snprintf(mail, sizeof mail, "MAIL FROM:<j%d@", job);
	all = slice_skip(all, slice_search(all, slice_from_cstr(mail)));
	return slice_search(all, SLICE("\r\n.\r\n")) < all.n || slice_search(all, SLICE(" LAST\r\n")) < all.n;
}

static void model_outcome(struct model *m, const struct smtp_client_event *ev)
{
	const struct smtp_outcome *o = &ev->outcome;
	int job = (int)ev->tag, rcpt = (int)ev->rcpt;
	struct model_job *j = &m->job[job];
	unsigned digit = o->code / 100;

	MODEL_CHECK(m, job < m->jobs && ev->rcpt < j->envelope.rcpt_count && j->sent && !j->done);
	MODEL_CHECK(m, j->outcomes[rcpt]++ == 0);
	MODEL_CHECK(m, o->text.n <= SMTP_OUTCOME_TEXT_MAX);
	MODEL_CHECK(m, o->status.klass == (o->verdict == SMTP_DELIVERED ? 2 : o->verdict == SMTP_DEFERRED ? 4 : 5));
	if (o->verdict == SMTP_DELIVERED)
		MODEL_CHECK(m, model_end_left(m, job));
	if (m->confused && o->code != 421)
		return;
	if (o->verdict == SMTP_DELIVERED) {
		MODEL_CHECK(m, o->stage == SMTP_STAGE_END && digit == 2 && j->end_seen);
		MODEL_CHECK(m,
			    model_code(m, M_RCPT, job, rcpt) / 100 == 2 && model_code(m, M_END, job, rcpt) / 100 == 2);
	}
	if (o->code != 0 && o->code != 421)
		MODEL_CHECK(m, model_source_code(m, o, job, rcpt) == o->code);
	if (digit == 4)
		MODEL_CHECK(m, o->verdict == SMTP_DEFERRED);
	if (digit == 5)
		MODEL_CHECK(m, o->verdict == SMTP_FAILED || (o->code == 552 && o->stage == SMTP_STAGE_RCPT));
	/* Failed by our own finding: only what cannot be sent to this peer. */
	if (o->code == 0 && o->verdict == SMTP_FAILED)
		MODEL_CHECK(m, !j->end_seen &&
				       (o->status.subject == 6 || o->status.subject == 1 || o->status.subject == 3 ||
					(o->status.subject == 7 && j->requiretls)));
	if (o->ambiguous)
		MODEL_CHECK(m, j->end_seen && o->verdict == SMTP_DEFERRED && (o->code == 0 || o->code == 421));
	if (o->code == 0 && o->verdict == SMTP_DEFERRED)
		MODEL_CHECK(m, o->ambiguous == j->end_seen);
	/* A 2yz to the end of the data is never forgotten. */
	if (m->sane && model_code(m, M_END, job, rcpt) / 100 == 2 && model_code(m, M_RCPT, job, rcpt) / 100 == 2)
		MODEL_CHECK(m, o->verdict == SMTP_DELIVERED || o->stage == SMTP_STAGE_DATA);
}

static void model_event(struct model *m, const struct smtp_client_event *ev)
{
	MODEL_CHECK(m, !m->closed);
	switch (ev->type) {
	case SMTP_CLIENT_HANDSHAKE:
		model_handshake(m);
		break;
	case SMTP_CLIENT_AUTH: /* the configuration has no mechanisms */
		MODEL_CHECK(m, false);
		break;
	case SMTP_CLIENT_READY:
		model_ready(m);
		break;
	case SMTP_CLIENT_BODY:
		MODEL_CHECK(m, m->body_owed < 0);
		m->body_owed = (int)ev->tag;
		if (model_pick(m, 4))
			model_give_body(m);
		break;
	case SMTP_CLIENT_OUTCOME:
		model_outcome(m, ev);
		break;
	case SMTP_CLIENT_DONE:
		MODEL_CHECK(m, ev->tag < (uint64_t)m->jobs && !m->job[ev->tag].done);
		m->job[ev->tag].done = true;
		if (m->body_owed == (int)ev->tag)
			m->body_owed = -1;
		for (size_t r = 0; r < m->job[ev->tag].envelope.rcpt_count; r++)
			MODEL_CHECK(m, m->job[ev->tag].outcomes[r] == 1);
		break;
	case SMTP_CLIENT_CLOSED:
		m->closed = true;
		break;
	}
}

/* ---- the run --------------------------------------------------------------------------------------------------- */

static void model_send(struct model *m, size_t *at)
{
	struct slice out = smtp_client_output(m->c);
	size_t n = model_pick(m, 2) ? out.n : model_pick(m, 40);

	if (n > out.n)
		n = out.n;
	/* After the end only QUIT may be left, or what no one reads. */
	if (n > 0 && !m->gone && !m->closed) {
		MODEL_CHECK(m, m->said >= m->barrier || !m->sane || m->confused);
		MODEL_CHECK(m, m->in_n + n <= sizeof m->in);
		memcpy(m->in + m->in_n, out.p, n);
		m->in_n += n;
	}
	smtp_client_sent(m->c, n);
	if (!m->closed && !m->confused)
		model_read(m, at);
}

/* Tells the client some of what the peer said; one octet at a time to the reference, so that it sees each reply begin.
 */
static void model_tell(struct model *m)
{
	size_t left = m->out_n - m->said;
	size_t n = model_pick(m, 2) ? left : model_pick(m, 12);

	n = n > left ? left : n;
	char *copy = malloc(n ? n : 1);
	memcpy(copy, m->out + m->said, n);
	struct slice rest = slice_of(copy, n);
	while (rest.n > 0) {
		struct smtp_client_event ev;
		size_t before = m->said;
		/* The reference must know of a reply before its outcome is pulled. */
		size_t taken = smtp_client_feed(m->c, rest, m->time);
		MODEL_CHECK(m, taken > 0 && taken <= rest.n);
		for (m->said = before; m->said < before + taken;) {
			m->said++;
			model_count(m);
		}
		rest = slice_skip(rest, taken);
		while (smtp_client_next(m->c, &ev))
			model_event(m, &ev);
	}
	free(copy);
}

static void model_break(struct model *m)
{
	smtp_client_lost(m->c, SLICE("gone"));
	m->gone = true;
}

static void model_step(struct model *m, size_t *at)
{
	struct smtp_client_event ev;
	bool quiet = smtp_client_output(m->c).n == 0 && m->said == m->out_n;

	while (smtp_client_next(m->c, &ev))
		model_event(m, &ev);
	if (m->closed)
		return;
	if (m->body_owed >= 0 && model_pick(m, 2)) {
		model_give_body(m);
		return;
	}
	if (!m->sane && model_pick(m, 200) == 0) {
		model_break(m);
		return;
	}
	if (!m->sane && model_pick(m, 200) == 0)
		model_say(m, "250 out of turn\r\n");
	if (quiet && m->body_owed < 0) {
		m->time = smtp_client_deadline(m->c);
		if (m->time == NEVER)
			model_break(m);
		else
			smtp_client_tick(m->c, m->time);
	} else if (model_pick(m, 2)) {
		model_send(m, at);
	} else {
		model_tell(m);
	}
}

static void model_run(struct model_source *source)
{
	struct model *m = calloc(1, sizeof *m);
	size_t at = 0, steps = 0;

	m->source = source;
	m->now = m->body_owed = -1;
	m->chunk_left = SIZE_MAX;
	m->sane = model_pick(m, 2);
	m->config = (struct smtp_client_config){.name = SLICE("me.example"),
						.lmtp = model_pick(m, 3) == 0,
						.pipelining = model_pick(m, 4) > 0,
						.chunking = model_pick(m, 2),
						.greeting_timeout = MINUTE,
						.command_timeout = MINUTE,
						.data_timeout = MINUTE,
						.block_timeout = MINUTE,
						.end_timeout = MINUTE,
						.tls_timeout = MINUTE,
						.output_max = 16384};
	m->config.tls = model_pick(m, 2) ? model_pick(m, 5) : SMTP_CLIENT_TLS_OFF;
	m->config.tls_first = m->config.tls && model_pick(m, 4) == 0;
	m->jobs = 1 + (int)model_pick(m, MODEL_JOBS);
	for (int i = 0; i < m->jobs; i++)
		model_make_job(m, i);
	m->c = smtp_client_new(&m->config);
	if (!m->c) {
		free(m);
		return;
	}
	smtp_client_start(m->c, m->time);
	if (!m->config.tls_first)
		model_greet(m);
	while (!m->closed) {
		MODEL_CHECK(m, steps++ < 100000);
		model_step(m, &at);
	}
	for (int i = 0; i < m->jobs; i++)
		MODEL_CHECK(m, !m->job[i].sent || m->job[i].done);
	smtp_client_free(m->c);
	free(m);
}

#endif
