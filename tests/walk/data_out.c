/*
 * SM-out and SM-echo (attacks 1.A): the octets in which the client engine sends any message that the server engine
 *took, the corpus and random ones, to peers with all kinds of offers. See out.h for what must hold.
 *
 *	data-out [COUNT [SEED]]     random messages, with the corpus at some offers; with SEED without it
 *	data-out --long             the corpus at all offers, and a million random messages
 *
 * A fault prints the row, or the seed of its message: data-out 1 SEED.
 */
#include "corpus.h"
#include "out.h"

#include <signal.h>
#include <unistd.h>

static struct out_counts counts;
static unsigned long long messages, refused_in;
static const char *row_now = "";
static uint64_t seed_now;
static bool lengthy;

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((next_random(state) >> 32) * n >> 32);
}

/* Says which message it was, before the process ends. */
static void on_abort(int signal_number)
{
	(void)signal_number;
	fprintf(stderr, "row %s, replay: data-out 1 %llu\n", row_now, (unsigned long long)seed_now);
	_exit(1);
}

static void try_message(struct slice message, bool binary, bool utf8, bool by_data, unsigned way)
{
	struct owner from;

	messages++;
	if (out_take(&from, message, binary, utf8, by_data))
		out_check(&from, out_way_of(way), &counts);
	else
		refused_in++;
	owner_free(&from);
}

/* ---- the corpus -------------------------------------------------------------------------------------------------- */

/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
static const struct slice before[] = {
	S(""), S("Subject: x"), S("A: b\r\nC: d\r\n"), S("A: b\r\n\r\n"), S("A: b\r\n\r\nbody"), S("A: b\r\n\r\nbody\r\n"),
	S("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\npart"),
	S("MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"),
	S("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9"),
};
static const struct slice behind[] = {
	S(""), S("\r\n"), S("MAIL FROM:<evil@a.example>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nevil\r\n.\r\n"), S("\r\n--x--\r\n"), S("\r\n."),
	S("\r"), S("\xff\r\n"),
};
/* clang-format on */

static void try_row(struct slice sequence)
{
	struct buf message;

	buf_init(&message, OUT_MESSAGE_MAX);
	for (size_t b = 0; b < sizeof before / sizeof *before; b++)
		for (size_t e = 0; e < sizeof behind / sizeof *behind; e++) {
			buf_reset(&message);
			buf_add(&message, before[b]);
			buf_add(&message, sequence);
			buf_add(&message, behind[e]);
			for (unsigned way = 0; way < OUT_WAYS; way++) {
				/* Every offer, with one manner of pieces for each, drawn by the place. */
				if ((way >> 7 & 3) != (b + e + way) % 4 || (!lengthy && (way / 3 + b + 5 * e) % 16))
					continue;
				try_message(buf_slice(&message), true, way & 1, false, way);
			}
			for (unsigned way = 0; way < 8; way++) {
				try_message(buf_slice(&message), false, false, false, way);
				try_message(buf_slice(&message), false, false, true, way);
			}
		}
	buf_free(&message);
}

/* ---- random messages --------------------------------------------------------------------------------------------- */

static void add_header(uint64_t *random, struct buf *m)
{
	static const struct slice fields[] = {S("Subject: hi\r\n"),
					      S("MIME-Version: 1.0\r\n"),
					      S("Content-Type: text/plain\r\n"),
					      S("Content-Type: multipart/mixed; boundary=x\r\n"),
					      S("Content-Transfer-Encoding: 8bit\r\n"),
					      S("Content-Transfer-Encoding: binary\r\n"),
					      S("Content-Transfer-Encoding: base64\r\n"),
					      S("Content-Type: message/rfc822\r\n"),
					      S("Subject: \xc3\xa9\r\n"),
					      S(".: x\r\n"),
					      S("A: b\r\n .\r\n"),
					      S("A: b\r\n .")};

	for (uint32_t n = below(random, 5); n > 0; n--)
		buf_add(m, fields[below(random, sizeof fields / sizeof *fields)]);
	if (below(random, 8))
		buf_add_lit(m, "\r\n");
}

static void add_piece(uint64_t *random, struct buf *m)
{
	static const char octets[] = "\r\n.\0\r\n.\r\n.x\x8d\x8a\xae \t-=Q";
	uint32_t kind = below(random, 10);

	if (kind == 0)
		buf_add(m, corpus[below(random, CORPUS_ROWS)].octets);
	else if (kind < 5)
		buf_add(m, below(random, 2) ? SLICE("\r\n") : below(random, 2) ? SLICE("\r\n.") : SLICE("--x\r\n"));
	else if (kind < 7)
		buf_add_lit(m, "some text");
	else
		for (uint32_t n = below(random, 6); n > 0; n--)
			buf_add_char(m, below(random, 8) ? octets[below(random, sizeof octets - 1)]
							 : (char)below(random, 256));
}

static void try_random(uint64_t seed)
{
	uint64_t random = seed * 0xd1342543de82ef95u + 1;
	uint32_t faults = below(&random, 4);
	struct buf message;

	seed_now = seed;
	buf_init(&message, OUT_MESSAGE_MAX);
	add_header(&random, &message);
	for (uint32_t n = below(&random, 30); n > 0; n--)
		add_piece(&random, &message);
	for (int i = 0; i < 4; i++)
		try_message(buf_slice(&message), faults > 0, below(&random, 2), faults == 0, below(&random, OUT_WAYS));
	buf_free(&message);
}

static void say(const char *what)
{
	printf("%s: %llu messages, %llu not taken at all; sent %llu, %llu of them as they were, %llu converted; %llu "
	       "could "
	       "not go to that peer\n",
	       what, messages, refused_in, counts.sent, counts.echoed, counts.converted, counts.refused);
	messages = refused_in = 0;
	counts = (struct out_counts){0};
}

int main(int argc, char **argv)
{
	lengthy = argc == 2 && strcmp(argv[1], "--long") == 0;
	uint64_t count = lengthy ? 250000 : argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	signal(SIGABRT, on_abort);
	for (size_t r = 0; r < CORPUS_ROWS && argc < 3; r++) {
		row_now = corpus[r].name;
		try_row(corpus[r].octets);
	}
	if (argc < 3)
		say("corpus");
	row_now = "none";
	for (uint64_t seed = first; seed < first + count; seed++)
		try_random(seed);
	say("random");
	printf("eight lenient receivers saw each message once\n");
	return 0;
}
