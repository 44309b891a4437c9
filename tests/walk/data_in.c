/*
 * SM-in (attacks 1.A): what looks like an end of data, at every position of a message and cut at every point around it,
 * through the server engine. Exactly one message or one error comes of it, and no command.
 *
 *	data-in [--long]      --long: every two cuts as well; an own body of 10 MB for each row and every cut
 *
 * What has to come is worked out line by line from the octets (RFC 5321 4.5.2): lines end in CRLF, the line "." ends
 *the message, one dot at the start of any other line goes. Prints each count; the first fault ends it with status 1.
 */
#include "corpus.h"
#include "owner.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define AROUND   32 /* octets before the sequence and behind its start that are cut at: 64 points */
#define KEPT     ((size_t)1 << 17)
#define BIG      ((size_t)10 << 20)

#define EVIL     "MAIL FROM:<evil@a.example>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nevil\r\n"
#define EVIL2    "RSET\nMAIL FROM:<evil@a.example>\nRCPT TO:<evil@example.com>\nDATA\nevil\n"

/* Between two cuts behind 10 MB, where each makes a process; under AddressSanitizer that takes long. */
#define FEW_CUTS 4
#if defined(__SANITIZE_ADDRESS__)
#undef FEW_CUTS
#define FEW_CUTS 32
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef FEW_CUTS
#define FEW_CUTS 32
#endif
#endif

static bool lengthy;
static unsigned long long trials;

/* ---- what has to come -------------------------------------------------------------------------------------------- */

struct expected {
	struct buf content;
	size_t used; /* octets of the wire up to and with the end of the data; 0: there is none */
	bool faulty; /* bare CR, bare LF or NUL */
};

static bool is_faulty(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool before = i > 0 && s.p[i - 1] == '\r', behind = i + 1 < s.n && s.p[i + 1] == '\n';
		if (s.p[i] == '\0' || (s.p[i] == '\n' && !before) || (s.p[i] == '\r' && !behind))
			return true;
	}
	return false;
}

static void work_out(struct slice wire, struct expected *ret)
{
	buf_reset(&ret->content);
	ret->used = 0;
	for (struct slice in = wire; in.n && ret->used == 0;) {
		size_t n = slice_search(in, SLICE("\r\n"));
		struct slice line = slice_head(in, n);
		in = slice_skip(in, n + 2);
		if (slice_eq(line, SLICE("."))) {
			ret->used = wire.n - in.n;
		} else {
			buf_add(&ret->content, slice_skip(line, slice_starts(line, SLICE("."))));
			buf_add_lit(&ret->content, "\r\n");
		}
	}
	ret->faulty = is_faulty(buf_slice(&ret->content));
	assert(!ret->content.failed);
}

/* ---- trials ------------------------------------------------------------------------------------------------------ */

struct place {
	const char *name;
	struct slice before, behind; /* the octets in front of the sequence; what follows the smuggled commands */
	bool last;                   /* no commands behind the sequence: the true end follows */
};

/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
static const struct place places[] = {
	{"first line", S(""), S("rest\r\n"), false},
	{"header", S("Subject: x\r\nX-One: 1"), S("X-Two: 2\r\n\r\nbody\r\n"), false},
	{"header, folded", S("Subject: x\r\n y"), S("\r\n z\r\n\r\nbody\r\n"), false},
	{"edge, before", S("A: b\r\nC: d\r\n"), S("\r\nbody\r\n"), false},
	{"edge, behind", S("A: b\r\nC: d\r\n\r\n"), S("body\r\n"), false},
	{"MIME part", S("A: b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\npart"),
	 S("\r\n--x--\r\n"), false},
	{"last line", S("A: b\r\n\r\nbody"), S(""), true},
	{"last octets", S("A: b\r\n\r\nbody\r\n"), S(""), true},
};
/* clang-format on */
#define PLACES (sizeof places / sizeof *places)

static void __attribute__((noreturn))
fault(const char *row, const char *where, const struct owner *o, const char *what, size_t first, size_t second)
{
	printf("%s, %s, cut at %zu and %zu: %s\n%zu MAIL, %zu messages, %zu dropped; the server says:\n%.*s", row,
	       where, first, second, what, o->mails, o->ends, o->resets, SLICE_ARGS(buf_slice(&o->out)));
	exit(1);
}

static void begin(struct owner *o, const char *mail, bool data)
{
	owner_init(o, KEPT);
	owner_start(o);
	owner_say(o, "EHLO a.example\r\n");
	owner_say(o, mail);
	owner_say(o, "RCPT TO:<r@example.com>\r\n");
	if (data)
		owner_say(o, "DATA\r\n");
}

static size_t count_replies(struct slice out, const char *code)
{
	size_t n = 0;

	for (; out.n; out = slice_skip(out, slice_find(out, '\n') + 1))
		n += slice_starts(out, slice_from_cstr(code));
	return n;
}

/* One message or one error, and the NOOP that the client sent behind it: nothing else. */
static const char *judge(const struct owner *o, const struct expected *x, uint64_t octets, size_t before, bool binary)
{
	struct slice out = buf_slice(&o->out), content = buf_slice(&x->content), is = buf_slice(&o->message);
	bool faulty = x->faulty && !binary;
	size_t replies = count_replies(out, "");

	if (o->mails != 1 || o->rcpts != 1 || o->datas != 1 || o->helos != 1 || o->others != 0)
		return "a smuggled command was taken";
	if (o->ends + o->resets != 1 || o->ends != !faulty)
		return "not one message, or one error";
	if (replies != 2 + before || count_replies(out, faulty ? "554 5.6.0 " : "250 2.6.0 ") != 1 ||
	    count_replies(out, "250 2.0.0 OK") != 1)
		return "not one reply to the message and one to the command behind it";
	if (!faulty && o->octets != octets)
		return "the message is longer or shorter than it was";
	content = slice_skip(content, content.n > is.n ? content.n - is.n : 0);
	is = slice_skip(is, is.n - content.n);
	return faulty || slice_eq(is, content) ? NULL : "the message is not what was sent";
}

/* The octets go in cut at two points; 0 = no cut, `bytewise` each alone. */
static void feed_cut(struct owner *o, struct slice wire, size_t first, size_t second, bool bytewise)
{
	for (size_t i = 0; bytewise && i < wire.n; i++)
		owner_feed(o, slice_head(slice_skip(wire, i), 1));
	if (bytewise)
		return;
	owner_feed(o, slice_head(wire, first));
	owner_feed(o, slice_skip(slice_head(wire, second), first));
	owner_feed(o, slice_skip(wire, second > first ? second : first));
}

struct trial {
	const char *row, *where;
	struct slice wire;
	const struct expected *x;
	const char *mail;
	bool data, binary;
	size_t chunks; /* replies to chunks that are not the last */
};

static void try_cut(const struct trial *t, size_t first, size_t second, bool bytewise)
{
	struct owner o;

	begin(&o, t->mail, t->data);
	feed_cut(&o, t->wire, first, second, bytewise);
	owner_fetch(&o);
	const char *what = judge(&o, t->x, buf_len(&t->x->content), t->chunks, t->binary);
	trials++;
	if (what)
		fault(t->row, t->where, &o, what, first, second);
	owner_free(&o);
}

/* Whole, octet by octet, at every point around `at`, and at every two of them. */
static void try_cuts(const struct trial *t, size_t at)
{
	size_t from = at > AROUND ? at - AROUND : 1;
	size_t to = at + AROUND < t->wire.n ? at + AROUND : t->wire.n;

	try_cut(t, 0, 0, false);
	try_cut(t, 0, 0, true);
	for (size_t first = from; first < to; first++) {
		try_cut(t, first, 0, false);
		for (size_t second = first + 1; lengthy && second < to; second++)
			try_cut(t, first, second, false);
	}
}

/* ---- by DATA ----------------------------------------------------------------------------------------------------- */

/* The wire behind 354, and a NOOP behind its end. What a row ends truly has nothing behind it but that. */
static size_t make_wire(struct buf *wire, const struct corpus_row *row, const struct place *place, const char *evil,
			struct expected *x)
{
	buf_reset(wire);
	buf_add(wire, place->before);
	size_t at = buf_len(wire);
	buf_add(wire, row->octets);
	if (!place->last)
		buf_add(wire, slice_from_cstr(evil));
	buf_add(wire, place->behind);
	buf_add(wire, place->last ? SLICE("\r\n.\r\n") : SLICE("x\r\n.\r\n"));
	work_out(buf_slice(wire), x);
	assert(x->used > 0);
	buf_cut(wire, x->used);
	buf_add_lit(wire, "NOOP\r\n");
	assert(!wire->failed);
	return at;
}

static void by_data(const struct corpus_row *row, struct buf *wire, struct expected *x)
{
	static const char *const evils[3] = {EVIL, EVIL2, ""};

	for (size_t p = 0; p < PLACES; p++) {
		for (size_t e = 0; e < (lengthy ? 3 : 2); e++) {
			size_t at = make_wire(wire, row, &places[p], evils[e], x);
			struct trial t = {.row = row->name,
					  .where = places[p].name,
					  .wire = buf_slice(wire),
					  .x = x,
					  .mail = "MAIL FROM:<s@a.example>\r\n",
					  .data = true};
			try_cuts(&t, at);
		}
	}
}

/* ---- behind 10 MB: the session is played once up to there, and goes on in a process for each trial --------------- */

static void add_big(struct buf *out)
{
	buf_add_lit(out, "A: b\r\n\r\n");
	while (buf_len(out) < BIG)
		buf_add_lit(out,
			    "..A line that goes on for a while, and then some more, up to the end of the line.\r\n");
	buf_add_lit(out, "body");
}

static void wait_for(pid_t pid)
{
	int status;

	assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status != 0)
		exit(1);
}

static void go_on(const struct owner *base, const struct trial *t, uint64_t octets, size_t first, size_t second,
		  bool bytewise)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct owner o = *base;
		feed_cut(&o, t->wire, first, second, bytewise);
		owner_fetch(&o);
		const char *what = judge(&o, t->x, octets, t->chunks, t->binary);
		if (what)
			fault(t->row, t->where, &o, what, first, second);
		_exit(0);
	}
	wait_for(pid);
	trials++;
}

/* `base` stands behind the long body; `octets` of it are the message's. */
static void behind_big(const struct owner *base, uint64_t octets, const struct corpus_row *row, struct buf *wire,
		       struct expected *x)
{
	/* What stands before the sequence cannot be cut any more but at once. */
	static const struct place big = {"behind 10 MB", S("a line of it, and\r\nthe last line but one\r\nthe last"),
					 S("body\r\n"), false};
	size_t at = make_wire(wire, row, &big, EVIL, x);
	struct trial t = {.row = row->name, .where = big.name, .wire = buf_slice(wire), .x = x};
	size_t step = lengthy ? 1 : FEW_CUTS;

	octets += buf_len(&x->content);
	go_on(base, &t, octets, 0, 0, false);
	go_on(base, &t, octets, 0, 0, true);
	for (size_t cut = at > AROUND ? at - AROUND : 1; cut < at + AROUND && cut < t.wire.n; cut += step)
		go_on(base, &t, octets, cut, 0, false);
}

static void big_by_data(struct buf *wire, struct expected *x)
{
	struct owner base;
	struct buf big;

	buf_init(&big, 2 * BIG);
	add_big(&big);
	begin(&base, "MAIL FROM:<s@a.example>\r\n", true);
	owner_feed(&base, buf_slice(&big));
	uint64_t octets = base.octets;
	assert(octets > BIG - BIG / 50 && octets < buf_len(&big));
	buf_free(&big);
	for (size_t r = 0; r < CORPUS_ROWS; r++)
		behind_big(&base, octets, &corpus[r], wire, x);
	owner_free(&base);
}

/* ---- S23, S24: in chunks ----------------------------------------------------------------------------------------- */

static void add_chunk(struct buf *wire, struct slice octets, bool last)
{
	buf_printf(wire, last ? "BDAT %zu LAST\r\n" : "BDAT %zu\r\n", octets.n);
	buf_add(wire, octets);
}

/* `content` in chunks that end at the two edges; the sequence stands at `at` of the wire that is made. */
static void in_chunks(const struct corpus_row *row, struct slice content, size_t first, size_t second, struct buf *wire,
		      struct expected *x, bool binary, bool all_cuts)
{
	size_t chunks = 0;

	buf_reset(wire);
	if (first > 0 && ++chunks)
		add_chunk(wire, slice_head(content, first), false);
	size_t at = buf_len(wire);
	if (second > first && ++chunks)
		add_chunk(wire, slice_skip(slice_head(content, second), first), false);
	add_chunk(wire, slice_skip(content, second > first ? second : first), true);
	buf_add_lit(wire, "NOOP\r\n");
	struct trial t = {.row = row->name,
			  .where = binary ? "in chunks, BINARYMIME" : "in chunks",
			  .wire = buf_slice(wire),
			  .x = x,
			  .mail = binary ? "MAIL FROM:<s@a.example> BODY=BINARYMIME\r\n"
					 : "MAIL FROM:<s@a.example>\r\n",
			  .binary = binary,
			  .chunks = chunks};
	if (all_cuts) {
		try_cuts(&t, at);
	} else {
		try_cut(&t, 0, 0, false);
		try_cut(&t, 0, 0, true);
	}
}

static void by_bdat(const struct corpus_row *row, struct buf *wire, struct expected *x)
{
	struct buf content;

	buf_init(&content, KEPT);
	for (size_t p = 0; p < PLACES; p++) {
		buf_reset(&content);
		buf_add(&content, places[p].before);
		size_t at = buf_len(&content), n = row->octets.n;
		buf_add(&content, row->octets);
		buf_add(&content, places[p].last ? SLICE_NONE : SLICE(EVIL ".\r\n" EVIL2));
		buf_add(&content, places[p].behind);
		buf_reset(&x->content);
		buf_add(&x->content, buf_slice(&content));
		x->faulty = is_faulty(buf_slice(&content));
		for (int binary = 0; binary < 2; binary++) {
			/* No NUL in a header, whatever the body may hold. */
			if (binary && slice_find(row->octets, '\0') < n && p < 4)
				continue;
			in_chunks(row, buf_slice(&content), 0, 0, wire, x, binary, true);
			for (size_t first = at > 2 ? at - 2 : 1; first <= at + n + 2 && first <= buf_len(&content);
			     first++) {
				in_chunks(row, buf_slice(&content), first, 0, wire, x, binary, lengthy);
				for (size_t second = first + 1; second <= at + n + 2 && second <= buf_len(&content);
				     second += lengthy ? 1 : 3)
					in_chunks(row, buf_slice(&content), first, second, wire, x, binary, false);
			}
		}
	}
	buf_free(&content);
}

static void big_by_bdat(struct buf *wire, struct expected *x)
{
	struct owner base;
	struct buf big;
	char line[40];

	buf_init(&big, 2 * BIG);
	add_big(&big);
	begin(&base, "MAIL FROM:<s@a.example>\r\n", false);
	snprintf(line, sizeof line, "BDAT %zu\r\n", buf_len(&big));
	owner_feed(&base, slice_from_cstr(line));
	owner_feed(&base, buf_slice(&big));
	owner_fetch(&base);
	buf_reset(&base.out);
	buf_free(&big);
	for (size_t r = 0; r < CORPUS_ROWS; r++) {
		struct buf content;
		buf_init(&content, KEPT);
		buf_add(&content, corpus[r].octets);
		buf_add_lit(&content, EVIL ".\r\n" EVIL2);
		buf_reset(&x->content);
		buf_add(&x->content, buf_slice(&content));
		x->faulty = is_faulty(buf_slice(&content));
		buf_reset(wire);
		add_chunk(wire, buf_slice(&content), true);
		buf_add_lit(wire, "NOOP\r\n");
		struct trial t = {
			.row = corpus[r].name, .where = "in a chunk behind 10 MB", .wire = buf_slice(wire), .x = x};
		uint64_t octets = base.octets + buf_len(&content);
		for (size_t cut = 0; cut < 2 * AROUND; cut += lengthy ? 1 : FEW_CUTS)
			go_on(&base, &t, octets, cut, 0, cut == 0);
		buf_free(&content);
	}
	owner_free(&base);
}

/* S24: a chunk that is a dot alone, one octet in each chunk. */
static void lonely_octets(struct buf *wire, struct expected *x)
{
	static const struct corpus_row row = {"S24", {"x\r\n.\r\n.\r\n", 9}};

	buf_reset(wire);
	for (size_t i = 0; i < row.octets.n; i++)
		add_chunk(wire, slice_head(slice_skip(row.octets, i), 1), i + 1 == row.octets.n);
	buf_add_lit(wire, "NOOP\r\n");
	buf_reset(&x->content);
	buf_add(&x->content, row.octets);
	x->faulty = false;
	struct trial t = {.row = row.name,
			  .where = "an octet in each chunk",
			  .wire = buf_slice(wire),
			  .x = x,
			  .mail = "MAIL FROM:<s@a.example>\r\n",
			  .chunks = row.octets.n - 1};
	for (size_t at = AROUND; at < t.wire.n; at += AROUND)
		try_cuts(&t, at);
}

/* ---- S21: long lines --------------------------------------------------------------------------------------------- */

static void long_lines(struct buf *wire, struct expected *x)
{
	static const struct corpus_row row = {"S21", {".\r\n", 3}};
	static const size_t lengths[] = {510,  511,  512,  998,  999,  1000, 1022,  1024,  2046,  2047,
					 2048, 4094, 4096, 8190, 8192, 9999, 16384, 65534, 65536, 70000};

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		char *line = malloc(lengths[i]);
		assert(line);
		memset(line, 'a', lengths[i]);
		const struct place place = {"a long line", slice_of(line, lengths[i]), S("rest\r\n"), false};
		size_t at = make_wire(wire, &row, &place, EVIL, x);
		struct trial t = {.row = row.name,
				  .where = place.name,
				  .wire = buf_slice(wire),
				  .x = x,
				  .mail = "MAIL FROM:<s@a.example>\r\n",
				  .data = true};
		try_cuts(&t, at);
		free(line);
	}
}

/* ---- S26, S27: in commands --------------------------------------------------------------------------------------- */

/* clang-format off */
static const struct slice commands[] = {
	S("EHLO a\rMAIL FROM:<x@a.example>\r\n"), S("EHLO a\nMAIL FROM:<x@a.example>\r\n"), S("NOOP\nRSET\r\n"), S("NOOP\rRSET\r\n"),
	S("RCPT TO:<a@b.example>\nRCPT TO:<c@d.example>\r\n"), S("RCPT TO:<a@b.example>\rRCPT TO:<c@d.example>\r\n"),
	S("MAIL FROM:<x@a.example>\nDATA\r\n"), S("RCPT TO:<a@b.example\n.example>\r\n"), S("RCPT TO:<\"a\rb\"@b.example>\r\n"),
	S("RCPT TO:<a\0@b.example>\r\n"), S("RCPT TO:<a@b.example>\0\r\n"), S("DATA\0\r\n"), S("\0DATA\r\n"), S("DATA\n\r\n"), S("DATA\r\r\n"),
	S("RCPT TO:<a@b.example> ORCPT=rfc822;a+0D+0Ab\r\n"), S("RCPT TO:<a@b.example> ORCPT=rfc822;a+00b\r\n"),
	S("RCPT TO:<a@b.example> ORCPT=rfc822;a+0Ab\r\n"), S("RCPT TO:<a@b.example> ORCPT=rfc822;a\0b\r\n"),
	S("RCPT TO:<a@b.example> NOTIFY=NEVER\rX\r\n"), S("RCPT TO:<a@b.example> NOTIFY=NEVER\n\r\n"),
	S("RCPT TO:<a+0D+0A@b.example\r>\r\n"), S("RCPT TO:<a@[1.2.3.4]\n>\r\n"), S("RCPT TO:<a@[x:\n]>\r\n"),
};
static const struct slice mails[] = {
	S("MAIL FROM:<s@a.example> ENVID=a+0D+0Ab\r\n"), S("MAIL FROM:<s@a.example> ENVID=a+0A\r\n"), S("MAIL FROM:<s@a.example> ENVID=+00\r\n"),
	S("MAIL FROM:<s@a.example> ENVID=a\nb\r\n"), S("MAIL FROM:<s@a.example> ENVID=a\rb\r\n"), S("MAIL FROM:<s@a.example> ENVID=a\0b\r\n"),
	S("MAIL FROM:<s@a.example> AUTH=a+0D+0Ab\r\n"), S("MAIL FROM:<s@a.example> AUTH=<>\r\n"), S("MAIL FROM:<s\n@a.example>\r\n"),
	S("MAIL FROM:<s@a.example>\nRCPT TO:<a@b.example>\r\n"), S("MAIL FROM:<s@a.example> RET=FULL\n\r\n"), S("MAIL FROM:<s@a\0.example>\r\n"),
	S("MAIL FROM:<\"a\nb\"@a.example>\r\n"), S("MAIL FROM:<\"a\\\rb\"@a.example>\r\n"), S("MAIL FROM:<@x\r\n.example:a@b.example>\r\n"),
};
/* clang-format on */

/* One error, and the NOOP behind it; the last of `mails` holds a true line end, and draws two. */
static void one_error(struct slice line, bool in_transaction, size_t first)
{
	struct owner o;
	size_t two = slice_search(line, SLICE("\r\n")) + 2 < line.n;

	owner_init(&o, KEPT);
	owner_start(&o);
	owner_say(&o, "EHLO a.example\r\n");
	if (in_transaction)
		owner_say(&o, "MAIL FROM:<s@a.example>\r\n");
	owner_feed(&o, slice_head(line, first));
	owner_feed(&o, slice_skip(line, first));
	owner_fetch(&o);
	owner_feed(&o, SLICE("NOOP\r\n"));
	owner_fetch(&o);
	struct slice out = buf_slice(&o.out);
	trials++;
	if (count_replies(out, "5") != 1 + two || count_replies(out, "250 2.0.0 OK") != 1 || o.closed ||
	    count_replies(out, "") != 2 + two || o.helos != 1 || o.mails != in_transaction ||
	    o.rcpts + o.datas + o.others > 0)
		fault("S26, S27", line.p, &o, "not one error", first, 0);
	owner_free(&o);
}

static void in_commands(void)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		for (size_t first = 0; first < commands[i].n; first++)
			one_error(commands[i], true, first);
	for (size_t i = 0; i < sizeof mails / sizeof *mails; i++)
		for (size_t first = 0; first < mails[i].n; first++)
			one_error(mails[i], false, first);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void say_count(const char *what)
{
	static unsigned long long before;

	printf("%-32s %10llu\n", what, trials - before);
	before = trials;
}

int main(int argc, char **argv)
{
	struct buf wire;
	struct expected x = {0};

	lengthy = argc > 1 && strcmp(argv[1], "--long") == 0;
	buf_init(&wire, KEPT);
	buf_init(&x.content, KEPT);
	/* First, while the processes that they make are small. */
	big_by_data(&wire, &x);
	big_by_bdat(&wire, &x);
	say_count("behind 10 MB");
	for (size_t r = 0; r < CORPUS_ROWS; r++)
		by_data(&corpus[r], &wire, &x);
	say_count("by DATA");
	for (size_t r = 0; r < CORPUS_ROWS; r++)
		by_bdat(&corpus[r], &wire, &x);
	lonely_octets(&wire, &x);
	say_count("by BDAT (S23, S24)");
	long_lines(&wire, &x);
	say_count("long lines (S21)");
	in_commands();
	say_count("in commands (S26, S27)");
	/* A smuggled command would have ended the run. */
	printf("%llu trials of %zu sequences in %zu places: 0 smuggled commands\n", trials, CORPUS_ROWS, PLACES + 2);
	buf_free(&wire);
	buf_free(&x.content);
	return 0;
}
