#include "base/arena.h"

#include "base/heap.h"

#include <assert.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)2048)

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	_Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
	assert(max > 0);
	*a = (struct arena){.max = max};
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL;

	while (a->blocks) {
		struct arena_block *b = a->blocks;
		a->blocks = b->next;
		if (!keep && b->size == BLOCK_SIZE) {
			keep = b;
		} else {
			heap_free(b);
		}
	}
	if (keep) {
		memset(keep->data, 0, keep->used);
		keep->used = 0;
		keep->next = NULL;
	}
	a->blocks = keep;
	a->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	heap_free(a->blocks);
	a->blocks = NULL;
}

static struct arena_block *block_with_room(struct arena *a, size_t size)
{
	if (a->blocks && a->blocks->size - a->blocks->used >= size)
		return a->blocks;

	size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
	struct arena_block *b = heap_alloc(sizeof *b + room);
	if (!b)
		return NULL;
	b->size = room;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t align = _Alignof(max_align_t);

	if (size == 0)
		size = 1;
	if (size > a->max || (size + align - 1) / align * align > a->max - a->used)
		return NULL;
	size = (size + align - 1) / align * align;
	struct arena_block *b = block_with_room(a, size);
	if (!b)
		return NULL;
	void *p = b->data + b->used;
	b->used += size;
	a->used += size;
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(count, size, &total) ? NULL : arena_alloc(a, total);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n);

	if (!p)
		return SLICE_NONE;
	if (s.n)
		memcpy(p, s.p, s.n);
	return slice_of(p, s.n);
}
