/*
 * Memory: base/heap.h with an owner for every block, so that a role that is killed gives all of it back without running
 * any of its code, one that ends in order is found to leave none, and any allocation can fail.
 */
#include "base/heap.h"
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/sim.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* No role of these small worlds needs as much; what grows beyond it grows without bound. */
#define HEAP_MAX ((size_t)192 << 20)

/* With AddressSanitizer each block is one of its own, behind what it must not touch; octets after it are guarded by the
 * sanitizer. */
#if defined(__SANITIZE_ADDRESS__)
#define GUARDED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARDED 1
#endif
#endif
#ifdef GUARDED
#include <sanitizer/asan_interface.h>
#define GUARD 32
#endif

struct block {
	struct block *next, *previous;
	struct sim_heap *heap; /* NULL: the world's */
	size_t size;
#ifdef GUARDED
	char guard[GUARD];
#endif
};

_Static_assert(sizeof(struct block) % 16 == 0, "what follows is aligned for any object");

static void guard(struct block *b)
{
#ifdef GUARDED
	ASAN_POISON_MEMORY_REGION(b->guard, GUARD);
#else
	(void)b;
#endif
}

struct sim_heap {
	struct block *blocks;
	size_t count, octets, peak;
};

static struct sim_heap *current;

/* ---- the world's ------------------------------------------------------------------------------------------------- */

void *sim_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		abort();
	return p;
}

void *sim_realloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		abort();
	return p;
}

void sim_free(void *p)
{
	free(p);
}

/* ---- a role's ---------------------------------------------------------------------------------------------------- */

struct sim_heap *sim_heap_new(void)
{
	return sim_alloc(sizeof(struct sim_heap));
}

static bool holds(const struct sim_heap *h, const void *p)
{
	for (const struct block *b = h->blocks; b; b = b->next)
		if ((uintptr_t)p >= (uintptr_t)(b + 1) && (uintptr_t)p < (uintptr_t)(b + 1) + b->size)
			return true;
	return false;
}

/* SQLite's list of VFSes belongs to the process: what a role that died had entered would go with the process. */
static void forget_vfs(const struct sim_heap *h)
{
	for (sqlite3_vfs *v = sqlite3_vfs_find(NULL), *next; v; v = next) {
		next = v->pNext;
		if (holds(h, v))
			sqlite3_vfs_unregister(v);
	}
}

void sim_heap_drop(struct sim_heap *h)
{
	forget_vfs(h);
	for (struct block *b = h->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(h);
}

struct sim_heap *sim_heap_use(struct sim_heap *h)
{
	struct sim_heap *old = current;

	current = h;
	return old;
}

size_t sim_heap_blocks(const struct sim_heap *h)
{
	return h->count;
}

size_t sim_heap_octets(const struct sim_heap *h)
{
	return h->octets;
}

size_t sim_heap_peak(const struct sim_heap *h)
{
	return h->peak;
}

static void link_block(struct block *b)
{
	struct sim_heap *h = b->heap;

	if (!h)
		return;
	b->previous = NULL;
	b->next = h->blocks;
	if (h->blocks)
		h->blocks->previous = b;
	h->blocks = b;
	h->count++;
	h->octets += b->size;
	if (h->octets > h->peak)
		h->peak = h->octets;
}

static void unlink_block(struct block *b)
{
	struct sim_heap *h = b->heap;

	if (!h)
		return;
	if (b->previous)
		b->previous->next = b->next;
	else
		h->blocks = b->next;
	if (b->next)
		b->next->previous = b->previous;
	h->count--;
	h->octets -= b->size;
}

bool sim_memory_fails(size_t more)
{
	if (!current)
		return false;
	if (current->octets + more > HEAP_MAX) {
		sim_fail("%s has taken more than %zu MiB of memory", machine_running(), HEAP_MAX >> 20);
		return true;
	}
	if (!machine_may_lack_memory())
		return false;
	enum role_kind kind = machine_current()->kind;
	uint32_t its_own = kind == ROLE_SENDER ? sim_plan.sender_no_memory
			   : kind == ROLE_AUTH ? sim_plan.auth_no_memory
					       : 0;
	if (!sim_chance(sim_plan.no_memory) && !sim_chance(its_own))
		return false;
	sim_count(COUNT_FAULT_MEMORY);
	ledger_memory_out(machine_current());
	sim_trace(machine_running(), "an allocation of %zu octets fails", more);
	return true;
}

void *heap_alloc(size_t size)
{
	if (sim_memory_fails(size) || size > SIZE_MAX / 2)
		return NULL;
	struct block *b = calloc(1, sizeof *b + size);
	if (!b)
		abort();
	guard(b);
	b->heap = current;
	b->size = size;
	link_block(b);
	return b + 1;
}

void *heap_array(size_t count, size_t size)
{
	size_t n;

	return __builtin_mul_overflow(count, size, &n) ? NULL : heap_alloc(n);
}

void *heap_resize(void *block, size_t size)
{
	if (!block)
		return heap_alloc(size);
	struct block *b = (struct block *)block - 1;
	if (size > b->size && (sim_memory_fails(size - b->size) || size > SIZE_MAX / 2))
		return NULL;
	unlink_block(b);
	b = realloc(b, sizeof *b + size);
	if (!b)
		abort();
	guard(b);
	b->size = size;
	link_block(b);
	return b + 1;
}

void heap_free(void *block)
{
	if (!block)
		return;
	struct block *b = (struct block *)block - 1;
	unlink_block(b);
	free(b);
}

/* ---- SQLite's ---------------------------------------------------------------------------------------------------- */

static void *sqlite_malloc(int size)
{
	return heap_alloc((size_t)size);
}

static void *sqlite_realloc(void *p, int size)
{
	return heap_resize(p, (size_t)size);
}

static int sqlite_size(void *p)
{
	return p ? (int)((struct block *)p - 1)->size : 0;
}

static int sqlite_roundup(int size)
{
	return (size + 7) & ~7;
}

static int sqlite_init(void *arg)
{
	(void)arg;
	return SQLITE_OK;
}

static void sqlite_shutdown(void *arg)
{
	(void)arg;
}

static void on_sqlite_word(void *arg, int code, const char *text)
{
	(void)arg;
	/* Setting it up once more is what the product does, and is refused. */
	if (code != SQLITE_MISUSE)
		sim_trace(machine_running(), "SQLite: %s (%d)", text, code);
}

void sim_heap_sqlite(void)
{
	static const sqlite3_mem_methods methods = {sqlite_malloc,  heap_free,   sqlite_realloc,  sqlite_size,
						    sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};

	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
	sqlite3_config(SQLITE_CONFIG_LOG, on_sqlite_word, NULL);
	if (sqlite3_initialize() != SQLITE_OK)
		abort();
}
