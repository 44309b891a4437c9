#include "base/buf.h"

#include "base/heap.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 256

void buf_init(struct buf *b, size_t max)
{
	assert(max > 0);
	assert(max <= SIZE_MAX / 4);
	*b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
	buf_init(b, max);
	b->secret = true;
}

/* Octets outside of those in use are never secret: who moves the bounds wipes what he leaves behind. */
static void leave(struct buf *b, size_t from, size_t to)
{
	if (b->secret && from < to)
		explicit_bzero(b->p + from, to - from);
}

void buf_free(struct buf *b)
{
	if (!b)
		return;
	leave(b, b->start, b->end);
	heap_free(b->p);
	*b = (struct buf){.max = b->max, .secret = b->secret};
}

void buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_free(b);
}

void buf_reset(struct buf *b)
{
	leave(b, b->start, b->end);
	b->start = b->end = 0;
	b->failed = false;
}

/* As realloc, which may leave a copy behind. */
static char *resize(struct buf *b, size_t cap)
{
	if (!b->secret)
		return heap_resize(b->p, cap);
	char *p = heap_alloc(cap);
	if (!p || !b->p)
		return p;
	memcpy(p, b->p, b->end);
	leave(b, b->start, b->end);
	heap_free(b->p);
	return p;
}

/* Makes room for n octets behind `end`, by moving what is in use to the front or by growing. */
static bool make_room(struct buf *b, size_t n)
{
	size_t used = buf_len(b), cap = b->cap ? b->cap : FIRST_CAPACITY;

	if (b->failed || n > b->max - used) {
		b->failed = true;
		return false;
	}
	if (n <= b->cap - b->end)
		return true;
	if (b->start > 0) {
		memmove(b->p, b->p + b->start, used);
		leave(b, used, b->end);
		b->start = 0;
		b->end = used;
		/* Moving alone is enough only if it frees a fair part; otherwise small steps would move again and
		 * again. */
		if (n <= b->cap - b->end && used <= b->cap / 2)
			return true;
		cap *= 2;
	}

	while (cap - used < n)
		cap *= 2;
	char *p = resize(b, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

bool buf_add(struct buf *b, struct slice s)
{
	if (s.n == 0)
		return !b->failed;
	if (!make_room(b, s.n))
		return false;
	memcpy(b->p + b->end, s.p, s.n);
	b->end += s.n;
	return true;
}

bool buf_add_char(struct buf *b, char c)
{
	return buf_add(b, slice_of(&c, 1));
}

bool buf_add_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return buf_add(b, slice_of(digits + n, sizeof digits - n));
}

bool buf_printf(struct buf *b, const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);

	bool ok = n >= 0 && make_room(b, (size_t)n + 1);
	if (ok) {
		vsnprintf(b->p + b->end, (size_t)n + 1, format, again);
		b->end += (size_t)n;
	}
	va_end(again);
	if (n < 0)
		b->failed = true;
	return ok;
}

char *buf_reserve(struct buf *b, size_t n)
{
	return make_room(b, n) ? b->p + b->end : NULL;
}

void buf_wrote(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->end);
	b->end += n;
	assert(buf_len(b) <= b->max);
}

void buf_take(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	leave(b, b->start, b->start + n);
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buf_cut(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	leave(b, b->start + n, b->end);
	b->end = b->start + n;
}

const char *buf_cstr(struct buf *b)
{
	if (!make_room(b, 1))
		return NULL;
	b->p[b->end] = '\0';
	return b->p + b->start;
}
