/* Bodies in files: the paths, and what the callers of the store need of them. */
#include "queue/store_spool.h"

#include "base/crc32c.h"
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SPOOL "spool"
#define PIECE ((size_t)64 * 1024)

struct spool_path {
	char text[sizeof SPOOL + 3 + MSG_ID_TEXT + 1]; /* "spool/XX/ID" */
};

static struct spool_path directory_path(unsigned number)
{
	struct spool_path path;

	assert(number < STORE_SPOOL_DIRECTORIES);
	snprintf(path.text, sizeof path.text, SPOOL "/%02X", number);
	return path;
}

/* The low bits of neighbouring ids differ: files spread evenly. */
static unsigned directory_of(msg_id id)
{
	return (unsigned)(id % STORE_SPOOL_DIRECTORIES);
}

static struct spool_path file_path(msg_id id)
{
	struct spool_path path;

	snprintf(path.text, sizeof path.text, SPOOL "/%02X/%s", directory_of(id), msg_id_format(id).text);
	return path;
}

static enum store_result result_of(int error)
{
	switch (error) {
	case 0:
		return STORE_OK;
	case ENOENT:
		return STORE_NOT_FOUND;
	case EEXIST:
		return STORE_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return STORE_FULL;
	case ENOMEM:
		return STORE_NO_MEMORY;
	default:
		return STORE_IO;
	}
}

enum store_result store_spool_create(struct fs *fs, msg_id id, struct file **ret)
{
	struct spool_path path = file_path(id);
	int error = fs->ops->open(fs, path.text, FS_WRITE | FS_CREATE, ret);

	if (error == ENOENT) { /* the first in its directory */
		error = fs->ops->mkdir(fs, directory_path(directory_of(id)).text);
		if (!error)
			error = fs->ops->open(fs, path.text, FS_WRITE | FS_CREATE, ret);
	}
	return result_of(error);
}

enum store_result store_spool_open(struct fs *fs, msg_id id, struct file **ret)
{
	return result_of(fs->ops->open(fs, file_path(id).text, FS_READ, ret));
}

void store_spool_discard(struct fs *fs, msg_id id)
{
	/* What stays behind is found when the store is opened next. */
	(void)fs->ops->unlink(fs, file_path(id).text);
}

enum store_result store_spool_init(struct fs *fs)
{
	int error = fs->ops->mkdir(fs, SPOOL);

	return result_of(error ? error : fs->ops->sync_dir(fs, ""));
}

enum store_result store_spool_sync(struct fs *fs, msg_id id, uint64_t size)
{
	struct file *f;
	uint64_t found = 0;
	enum store_result result = store_spool_open(fs, id, &f);

	if (result)
		return result;
	int error = f->ops->size(f, &found);
	if (!error)
		error = f->ops->sync(f);
	f->ops->close(f);
	if (!error && found != size)
		return STORE_CORRUPT; /* whoever wrote it said that it wrote more, or less */
	if (!error)
		error = fs->ops->sync_dir(fs, directory_path(directory_of(id)).text);
	if (!error)
		error = fs->ops->sync_dir(fs, SPOOL); /* the directory itself may be new */
	return result_of(error);
}

enum store_result store_spool_verify(struct fs *fs, const struct crc32c *crc, msg_id id, uint64_t size,
				     struct store_digest digest, uint64_t *ret_size)
{
	char *piece = heap_alloc(PIECE);
	uint32_t found = store_digest_begin(crc, id);
	struct file *f;
	size_t n = 1;
	int error = 0;
	enum store_result result = piece ? store_spool_open(fs, id, &f) : STORE_NO_MEMORY;

	*ret_size = 0;
	if (result) {
		heap_free(piece);
		return result;
	}
	while (!error && n > 0) {
		error = f->ops->read(f, *ret_size, piece, PIECE, &n);
		found = crc32c_add(crc, found, slice_of(piece, error ? 0 : n));
		*ret_size += error ? 0 : n;
	}
	f->ops->close(f);
	heap_free(piece);
	if (error)
		return result_of(error);
	return *ret_size == size && store_digest_fits(digest, found) ? STORE_OK : STORE_CORRUPT;
}

struct clean {
	unsigned directory;
	const struct store_spool_cleaner *cleaner;
	enum store_result result;
	size_t count;
	msg_id ids[256];
};

/* The id of a file in this directory; 0 when we would not have given it that name there. */
static msg_id id_of_name(unsigned directory, const char *name)
{
	msg_id id;

	if (!msg_id_parse(slice_from_cstr(name), &id) || strcmp(msg_id_format(id).text, name) != 0)
		return 0;
	return directory_of(id) == directory ? id : 0;
}

/* Only names that we would give are ours to remove. */
static bool clean_name(void *arg, const char *name)
{
	struct clean *c = arg;
	msg_id id = id_of_name(c->directory, name);

	if (id == 0)
		return true;
	bool named;
	c->result = c->cleaner->named(c->cleaner->arg, id, &named);
	if (c->result)
		return false;
	if (!named)
		c->ids[c->count++] = id;
	return c->count < sizeof c->ids / sizeof *c->ids;
}

static enum store_result clean_directory(struct fs *fs, unsigned number, const struct store_spool_cleaner *cleaner)
{
	struct clean c;

	/* In portions, since a directory that is being listed should not change. */
	do {
		c = (struct clean){.directory = number, .cleaner = cleaner};
		int error = fs->ops->list(fs, directory_path(number).text, clean_name, &c);
		if (error)
			return error == ENOENT ? STORE_OK : result_of(error);
		for (size_t i = 0; i < c.count && !c.result; i++) {
			error = fs->ops->unlink(fs, file_path(c.ids[i]).text);
			if (error && error != ENOENT)
				return result_of(error);
		}
	} while (!c.result && c.count == sizeof c.ids / sizeof *c.ids);
	return c.result;
}

enum store_result store_spool_clean(struct fs *fs, const struct store_spool_cleaner *cleaner)
{
	enum store_result result = STORE_OK;

	for (unsigned i = 0; i < STORE_SPOOL_DIRECTORIES && !result; i++)
		result = clean_directory(fs, i, cleaner);
	return result;
}

struct walk {
	struct fs *fs;
	const struct store_spool_cleaner *cleaner;
	bool (*each)(void *arg, const char *path, msg_id id, bool named);
	void *arg;
	unsigned directory;
	bool stopped;
	enum store_result result;
};

static bool walk_name(void *arg, const char *name)
{
	struct walk *w = arg;
	msg_id id = id_of_name(w->directory, name);
	bool named = false;
	char path[300];

	if (id)
		w->result = w->cleaner->named(w->cleaner->arg, id, &named);
	if (w->result)
		return false;
	snprintf(path, sizeof path, "%02X/%s", w->directory, name);
	w->stopped = !w->each(w->arg, path, id, named);
	return !w->stopped;
}

static bool walk_other(void *arg, const char *name)
{
	struct walk *w = arg;

	for (unsigned i = 0; i < STORE_SPOOL_DIRECTORIES; i++)
		if (strcmp(directory_path(i).text + sizeof SPOOL, name) == 0)
			return true;
	w->stopped = !w->each(w->arg, name, 0, false);
	return !w->stopped;
}

enum store_result store_spool_each(struct fs *fs, const struct store_spool_cleaner *cleaner,
				   bool (*each)(void *arg, const char *path, msg_id id, bool named), void *arg)
{
	struct walk w = {.fs = fs, .cleaner = cleaner, .each = each, .arg = arg};
	int error = fs->ops->list(fs, SPOOL, walk_other, &w);

	for (unsigned i = 0; i < STORE_SPOOL_DIRECTORIES && !error && !w.result && !w.stopped; i++) {
		w.directory = i;
		error = fs->ops->list(fs, directory_path(i).text, walk_name, &w);
		if (error == ENOENT)
			error = 0;
	}
	if (error == ENOENT) /* no spool/ at all: nothing was ever in a file */
		error = 0;
	return w.result ? w.result : result_of(error);
}
