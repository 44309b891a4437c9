/*
 * table: a hash table of nodes inside the objects that it holds.
 *
 * Keys are 64-bit hashes; who looks something up compares the rest. The place in the table depends on a secret of this
 * process, so that strangers who know the hash function cannot make one chain long. It grows with what it holds; when
 * memory for that is missing, chains grow longer instead, and nothing fails.
 */
#ifndef QUEUE_TABLE_H
#define QUEUE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_node {
	struct table_node *next;
	uint64_t hash;
};

struct table {
	struct table_node **buckets;
	unsigned bits; /* 2^bits buckets */
	size_t count;
	uint64_t secret; /* odd */
};

/* False without memory. */
bool table_init(struct table *t, uint64_t secret);
/* Frees the table, not what it held. */
void table_free(struct table *t);
void table_insert(struct table *t, struct table_node *node, uint64_t hash);
/* It must be in the table. */
void table_remove(struct table *t, struct table_node *node);
/* The first node with this hash, and the next one with the same; NULL at the end. */
struct table_node *table_find(const struct table *t, uint64_t hash);
struct table_node *table_again(const struct table_node *node);
/* Any node, then all others, one by one; NULL at the end. The table must not change meanwhile. */
struct table_node *table_each(const struct table *t, const struct table_node *last);

#endif
