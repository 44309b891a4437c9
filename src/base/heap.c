#include "base/heap.h"

#include <stdlib.h>

void *heap_alloc(size_t size)
{
	return calloc(1, size);
}

void *heap_array(size_t count, size_t size)
{
	return calloc(count, size);
}

void *heap_resize(void *block, size_t size)
{
	return realloc(block, size);
}

void heap_free(void *block)
{
	free(block);
}
