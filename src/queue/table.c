#include "queue/table.h"

#include "base/heap.h"

#include <assert.h>

#define BITS_FIRST 6
#define BITS_MAX   28

static size_t place(const struct table *t, uint64_t hash)
{
	/* The upper bits of the product depend on all bits of hash and secret. */
	hash ^= hash >> 32;
	return (size_t)((hash * t->secret) >> (64 - t->bits));
}

bool table_init(struct table *t, uint64_t secret)
{
	*t = (struct table){.bits = BITS_FIRST, .secret = secret | 1};
	t->buckets = heap_array((size_t)1 << t->bits, sizeof *t->buckets);
	return t->buckets != NULL;
}

void table_free(struct table *t)
{
	heap_free(t->buckets);
	*t = (struct table){0};
}

static void put(struct table *t, struct table_node *node)
{
	struct table_node **bucket = &t->buckets[place(t, node->hash)];

	node->next = *bucket;
	*bucket = node;
}

static void grow(struct table *t)
{
	struct table bigger = *t;

	bigger.bits++;
	bigger.buckets = heap_array((size_t)1 << bigger.bits, sizeof *bigger.buckets);
	if (!bigger.buckets)
		return;
	for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
		while (t->buckets[i]) {
			struct table_node *node = t->buckets[i];
			t->buckets[i] = node->next;
			put(&bigger, node);
		}
	}
	heap_free(t->buckets);
	*t = bigger;
}

void table_insert(struct table *t, struct table_node *node, uint64_t hash)
{
	if (t->count >= (size_t)1 << t->bits && t->bits < BITS_MAX)
		grow(t);
	node->hash = hash;
	put(t, node);
	t->count++;
}

void table_remove(struct table *t, struct table_node *node)
{
	struct table_node **p = &t->buckets[place(t, node->hash)];

	while (*p != node) {
		assert(*p);
		p = &(*p)->next;
	}
	*p = node->next;
	node->next = NULL;
	t->count--;
}

static struct table_node *same(struct table_node *node, uint64_t hash)
{
	while (node && node->hash != hash)
		node = node->next;
	return node;
}

struct table_node *table_find(const struct table *t, uint64_t hash)
{
	return same(t->buckets[place(t, hash)], hash);
}

struct table_node *table_again(const struct table_node *node)
{
	return same(node->next, node->hash);
}

struct table_node *table_each(const struct table *t, const struct table_node *last)
{
	size_t i = 0;

	if (last && last->next)
		return last->next;
	if (last)
		i = place(t, last->hash) + 1;
	for (; i < (size_t)1 << t->bits; i++)
		if (t->buckets[i])
			return t->buckets[i];
	return NULL;
}
