/*
 * The steps of sendmail -bs: a program's octets against a server's. Nothing is lost, changed or passed before its turn,
 * and what passes between two replies does not depend on how either side's octets are cut.
 */
#include "base/buf.h"
#include "cli/proxy.h"

#include <assert.h>

/* Both sides in pieces; what passed, with a mark where the server spoke. */
static void run(struct slice program, struct slice server, size_t program_piece, size_t server_piece, struct buf *out)
{
	struct proxy_step s = {0};
	size_t passed = 0, there = 0, said = 0;

	for (;;) {
		size_t n = proxy_take(&s, slice_of(program.p + passed, there - passed), there == program.n);
		assert(n <= there - passed && !(n && s.state == PROXY_COMMAND && there < program.n));
		buf_add(out, slice_of(program.p + passed, n));
		passed += n;
		if (n)
			continue;
		if (s.state != PROXY_REPLY && there < program.n) {
			there += program_piece < program.n - there ? program_piece : program.n - there;
		} else if (s.state == PROXY_REPLY && said < server.n) {
			/* One line at a time: what comes unasked is another matter. */
			size_t line = slice_find(slice_skip(server, said), '\n') + 1;
			size_t end = said + line < server.n ? said + line : server.n;
			for (; said < end; said += server_piece)
				proxy_reply(&s, slice_head(slice_of(server.p + said, end - said), server_piece));
			said = end;
			if (s.state != PROXY_REPLY)
				buf_add_char(out, '|');
		} else {
			break;
		}
	}
	/* Only for want of a reply is anything left. */
	assert(passed == program.n || s.state == PROXY_REPLY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	size_t half = 3 + (size - 3) * data[0] / 255;
	struct slice program = slice_of(data + 3, half - 3), server = slice_of(data + half, size - half);
	struct buf whole, cut;

	buf_init(&whole, 4 * size + 16);
	buf_init(&cut, 4 * size + 16);
	run(program, server, program.n + 1, server.n + 1, &whole);
	run(program, server, 1 + data[1] % 8, 1 + data[2] % 8, &cut);
	assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
