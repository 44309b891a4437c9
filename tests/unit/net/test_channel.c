#include "test.h"

#include "base/buf.h"
#include "base/pack.h"
#include "net/channel.h"
#include "net/socket.h"

#include <fcntl.h>
#include <unistd.h>

/* One end is a channel in a loop, the other a plain socket that the test writes to and reads from. */
struct world {
	struct loop *loop;
	struct channel *channel;
	int other;
	struct buf seen; /* "type:payload;" of each frame, "+fd" when it came with a descriptor */
	size_t frames, wanted;
	bool closed;
	char why[64];
};

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct world *w = arg;

	buf_printf(&w->seen, "%u:", type);
	buf_add(&w->seen, slice_head(payload, 20));
	if (fd >= 0) {
		char c = 0;
		assert_int_equal(pread(fd, &c, 1, 0), 1);
		buf_printf(&w->seen, "+%c", c);
		close(fd);
	}
	buf_add_char(&w->seen, ';');
	if (++w->frames == w->wanted)
		loop_stop(w->loop);
	return type != 666;
}

static void on_closed(void *arg, const char *why)
{
	struct world *w = arg;

	w->closed = true;
	snprintf(w->why, sizeof w->why, "%s", why ? why : "end");
	loop_stop(w->loop);
}

static void begin(struct world *w)
{
	static const struct channel_handler handler = {on_frame, on_closed};
	int ends[2];

	*w = (struct world){.loop = loop_new()};
	buf_init(&w->seen, 10000);
	assert_true(socket_pair(ends));
	w->other = ends[1];
	w->channel = channel_new(w->loop, ends[0], &handler, w);
	assert_non_null(w->channel);
}

static void end(struct world *w)
{
	channel_free(w->channel);
	loop_free(w->loop);
	close(w->other);
	buf_free(&w->seen);
}

static void add_frame(struct buf *out, uint16_t type, struct slice payload, uint8_t version, uint8_t flags)
{
	pack_u32(out, (uint32_t)payload.n);
	pack_u16(out, type);
	pack_u8(out, version);
	pack_u8(out, flags);
	buf_add(out, payload);
}

static void frames_come_whole_however_they_are_cut(void **state)
{
	(void)state;
	struct buf stream;

	buf_init(&stream, 1000);
	add_frame(&stream, 1, SLICE("hello"), CHANNEL_VERSION, 0);
	add_frame(&stream, 2, SLICE(""), CHANNEL_VERSION, 0);
	add_frame(&stream, 3, SLICE("x"), CHANNEL_VERSION, 0);
	for (size_t cut = 0; cut <= buf_len(&stream); cut++) {
		struct world w;
		begin(&w);
		struct slice s = buf_slice(&stream);
		assert_int_equal(write(w.other, s.p, cut), (ssize_t)cut);
		/* What is there is read before the rest is written: a frame of the first part ends a turn. */
		w.wanted = cut >= 13 ? 1 : 0;
		if (w.wanted)
			loop_run(w.loop);
		assert_int_equal(write(w.other, s.p + cut, s.n - cut), (ssize_t)(s.n - cut));
		w.wanted = 3;
		if (w.frames < 3)
			loop_run(w.loop);
		assert_slice(buf_slice(&w.seen), "1:hello;2:;3:x;");
		end(&w);
	}
	buf_free(&stream);
}

static void a_malformed_frame_ends_the_channel_and_nothing_else(void **state)
{
	(void)state;
	static const struct {
		uint32_t length;
		uint8_t version, flags;
		uint16_t type;
		const char *why;
	} rows[] = {
		{0, CHANNEL_VERSION + 1, 0, 1, "malformed frame"},
		{0, CHANNEL_VERSION, 2, 1, "malformed frame"},
		{CHANNEL_FRAME_MAX + 1, CHANNEL_VERSION, 0, 1, "malformed frame"},
		{UINT32_MAX, CHANNEL_VERSION, 0, 1, "malformed frame"},
		{0, CHANNEL_VERSION, 1, 1, "frame without its descriptor"},
		{0, CHANNEL_VERSION, 0, 666, "unacceptable frame"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;
		struct buf head;
		begin(&w);
		buf_init(&head, 100);
		pack_u32(&head, rows[i].length);
		pack_u16(&head, rows[i].type);
		pack_u8(&head, rows[i].version);
		pack_u8(&head, rows[i].flags);
		assert_int_equal(write(w.other, buf_slice(&head).p, 8), 8);
		loop_run(w.loop);
		assert_true(w.closed);
		assert_string_equal(w.why, rows[i].why);
		buf_free(&head);
		end(&w);
	}
}

static void the_end_of_the_peer_is_told(void **state)
{
	(void)state;
	struct world w;

	begin(&w);
	shutdown(w.other, SHUT_RDWR);
	loop_run(w.loop);
	assert_string_equal(w.why, "end");
	end(&w);
}

/* A channel at each end of a pair, in one loop. */
struct pair {
	struct world a;
	struct channel *b;
};

static bool no_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	(void)arg;
	(void)type;
	(void)payload;
	(void)fd;
	return false;
}

static void no_close(void *arg, const char *why)
{
	(void)arg;
	(void)why;
}

static void descriptors_arrive_with_their_frames(void **state)
{
	(void)state;
	static const struct channel_handler quiet = {no_frame, no_close};
	struct pair p;
	char name[] = "/tmp/postrider-channel-XXXXXX";
	char big[3000];
	int file = mkstemp(name);

	begin(&p.a);
	p.b = channel_new(p.a.loop, dup(p.a.other), &quiet, NULL);
	memset(big, 'b', sizeof big);
	assert_int_equal(write(file, "F", 1), 1);
	assert_true(channel_send(p.b, 1, SLICE("one"), -1));
	assert_true(channel_send(p.b, 2, SLICE("two"), file));
	assert_true(channel_send(p.b, 3, slice_of(big, sizeof big), file));
	assert_true(channel_send(p.b, 4, SLICE("four"), -1));
	assert_true(channel_send(p.b, 5, SLICE(""), file));
	p.a.wanted = 5;
	loop_run(p.a.loop);
	assert_slice(buf_slice(&p.a.seen), "1:one;2:two+F;3:bbbbbbbbbbbbbbbbbbbb+F;4:four;5:+F;");
	close(file);
	unlink(name);
	channel_free(p.b);
	end(&p.a);
}

static void a_peer_that_does_not_read_is_refused_more_in_the_end(void **state)
{
	(void)state;
	struct world w;
	static char piece[1024 * 1024];
	size_t sent = 0;

	begin(&w);
	while (sent < 1000 && channel_send(w.channel, 1, slice_of(piece, sizeof piece), -1))
		sent++;
	assert_in_range(sent * sizeof piece, CHANNEL_OUTPUT_MAX / 2, CHANNEL_OUTPUT_MAX);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_whole_however_they_are_cut),
		cmocka_unit_test(a_malformed_frame_ends_the_channel_and_nothing_else),
		cmocka_unit_test(the_end_of_the_peer_is_told),
		cmocka_unit_test(descriptors_arrive_with_their_frames),
		cmocka_unit_test(a_peer_that_does_not_read_is_refused_more_in_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
