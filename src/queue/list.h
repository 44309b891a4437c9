/*
 * list: a ring of links inside the objects that it lists.
 *
 * Adding and removing cost nothing and cannot fail. An object that is in no list is linked to itself, so that removing
 * it again does no harm.
 */
#ifndef QUEUE_LIST_H
#define QUEUE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *prev, *next;
};

/* The object around a member. */
#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct link *l)
{
	l->prev = l->next = l;
}
static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}
/* Out of its list, if it is in one. */
static inline void list_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}
/* To the end of `list`, out of where it was. */
static inline void list_append(struct link *list, struct link *l)
{
	list_remove(l);
	l->prev = list->prev;
	l->next = list;
	list->prev->next = l;
	list->prev = l;
}
/* All of `from` to the end of `list`. */
static inline void list_splice(struct link *list, struct link *from)
{
	if (list_empty(from))
		return;
	from->next->prev = list->prev;
	from->prev->next = list;
	list->prev->next = from->next;
	list->prev = from->prev;
	list_init(from);
}

#endif
