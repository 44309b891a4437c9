/*
 * heap: the one door to dynamic memory.
 *
 * Every allocation of the program goes through here, so that a test can make any of them fail: it links its own
 * heap_alloc and heap_resize in place of these. Memory comes zeroed. NULL means that there is none: protocol code
 * answers 451 or 452, nobody exits.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stddef.h>

/* Zeroed memory for `size` octets (> 0), or NULL. The caller frees it with heap_free. */
void *heap_alloc(size_t size) __attribute__((malloc, warn_unused_result));
/* Zeroed memory for `count` objects of `size`; NULL also when the product overflows. */
void *heap_array(size_t count, size_t size) __attribute__((malloc, warn_unused_result));
/* As realloc: on NULL the old block stays. New octets are not zeroed. */
void *heap_resize(void *block, size_t size) __attribute__((warn_unused_result));
/* NULL is fine. */
void heap_free(void *block);

#define heap_new(type) ((type *)heap_alloc(sizeof(type)))

#endif
