/*
 * Looks at a write-ahead log before SQLite does.
 *
 * SQLite takes a log up to the first frame whose checksum is wrong, and everything behind it for something that was
 * never finished. That is right after a power cut: one transaction at most was not synced, the last one. A log in which
 * whole transactions stand behind such a frame was damaged, and what they held was promised.
 *
 *	header  32 octets: magic, version, page size, number, two salts, two checksums of what stands before them
 *	frame   24 octets: page, size of the database after a commit (else 0), the salts, two checksums that go on from
 *the frame before; then the page
 *
 * The frames of this log have the salts of its header; behind them may stand those of an earlier one.
 */
#include "queue/store_sqlite.h"

#include "base/heap.h"
#include "queue/store_spool.h"

#include <errno.h>
#include <string.h>

#define HEADER    32
#define FRAME     24
#define MAGIC     UINT32_C(0x377f0682) /* checksums of little-endian words; + 1: big-endian */
#define PAGE_MIN  512
#define PAGE_MAX  65536
#define PAGE      4096 /* what ours has, when the header cannot say */
#define PAGES_MAX (UINT32_C(1) << 28)

struct log {
	struct file *log, *database; /* the latter NULL: there is none */
	uint64_t size;
	uint32_t page;
	bool big_endian;
	unsigned char header[HEADER];
	unsigned char *frame; /* a whole one */
	unsigned char *other; /* a page of the database */
	uint32_t sum[2];
	int error; /* of the first call that failed: what could not be looked at may be sound */
};

static uint32_t big_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t word(const struct log *l, const unsigned char *p)
{
	if (l->big_endian)
		return big_u32(p);
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void add(const struct log *l, uint32_t sum[2], const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		sum[0] += word(l, p + i) + sum[1];
		sum[1] += word(l, p + i + 4) + sum[0];
	}
}

/* False also where the file ends before. */
static bool read_at(struct log *l, struct file *f, uint64_t at, unsigned char *into, size_t n)
{
	size_t got = 1;

	for (size_t have = 0; have < n && got > 0 && !l->error; have += got) {
		l->error = f->ops->read(f, at + have, (char *)into + have, n - have, &got);
		if (l->error)
			return false;
	}
	return !l->error && got > 0;
}

static uint64_t frame_count(const struct log *l)
{
	return (l->size - HEADER) / (FRAME + (uint64_t)l->page);
}

static bool read_frame(struct log *l, uint64_t i)
{
	return read_at(l, l->log, HEADER + i * (FRAME + (uint64_t)l->page), l->frame, FRAME + l->page);
}

static bool is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static bool header_is_right(struct log *l)
{
	uint32_t magic = big_u32(l->header), page = big_u32(l->header + 8);

	if ((magic & ~UINT32_C(1)) != MAGIC || page < PAGE_MIN || page > PAGE_MAX || (page & (page - 1)) != 0)
		return false;
	l->big_endian = magic & 1;
	l->page = page;
	l->sum[0] = l->sum[1] = 0;
	add(l, l->sum, l->header, 24);
	return l->sum[0] == big_u32(l->header + 24) && l->sum[1] == big_u32(l->header + 28);
}

/* Whether the frame that was read follows the one before; its checksums are those to go on from. */
static bool follows(struct log *l, uint32_t sum[2])
{
	uint32_t next[2] = {sum[0], sum[1]};

	add(l, next, l->frame, 8);
	add(l, next, l->frame + FRAME, l->page);
	if (next[0] != big_u32(l->frame + 16) || next[1] != big_u32(l->frame + 20))
		return false;
	sum[0] = next[0];
	sum[1] = next[1];
	return true;
}

static bool has_salts(const struct log *l, const unsigned char *salts)
{
	return memcmp(l->frame + 8, salts, 8) == 0;
}

/* Behind the last frame that is right: the transactions that are whole but for the damage. */
static struct sqlite_log_look look_behind(struct log *l, uint64_t from)
{
	struct sqlite_log_look found = {0};
	bool committed = false;

	for (uint64_t i = from; i < frame_count(l) && read_frame(l, i); i++) {
		if (!has_salts(l, l->header + 16))
			continue;
		/* Its commit was synced, or nothing would have been written behind it. */
		found.damaged |= committed;
		if (big_u32(l->frame + 4) != 0) {
			committed = true;
			found.transactions++;
		}
	}
	return found;
}

static struct sqlite_log_look look_at_frames(struct log *l)
{
	uint64_t i = 0;

	while (i < frame_count(l) && read_frame(l, i) && has_salts(l, l->header + 16) && big_u32(l->frame) != 0 &&
	       follows(l, l->sum))
		i++;
	return look_behind(l, i);
}

/* Whether the database has what the frame has: it was copied there. */
static bool is_in_database(struct log *l)
{
	uint32_t page = big_u32(l->frame);

	return page > 0 && l->database && read_at(l, l->database, (uint64_t)(page - 1) * l->page, l->other, l->page) &&
	       memcmp(l->other, l->frame + FRAME, l->page) == 0;
}

/* As far as frames have the salts of the first: the number up to the last commit, and the highest page in them. */
static uint64_t old_log(struct log *l, uint32_t *ret_page, uint64_t *ret_commits)
{
	unsigned char salts[8];
	uint64_t end = 0;

	for (uint64_t i = 0; i < frame_count(l) && read_frame(l, i); i++) {
		if (i == 0)
			memcpy(salts, l->frame + 8, sizeof salts);
		if (!has_salts(l, salts) || is_zero(l->frame, FRAME))
			break;
		if (big_u32(l->frame) > *ret_page)
			*ret_page = big_u32(l->frame);
		if (big_u32(l->frame + 4) == 0)
			continue;
		end = i + 1;
		++*ret_commits;
	}
	return end;
}

/*
 * A header that is wrong may be a new one that the power cut off: then the log behind it is an old one, and the
 * database has each page as the log has it last. If it has not, this log was promised.
 */
static struct sqlite_log_look look_without_header(struct log *l)
{
	struct sqlite_log_look found = {0};
	uint32_t pages = 0;
	unsigned char *seen = NULL;

	l->page = PAGE;
	uint64_t end = old_log(l, &pages, &found.transactions);
	if (pages <= PAGES_MAX)
		seen = heap_alloc(pages / 8 + 1);
	if (seen)
		memset(seen, 0, pages / 8 + 1);
	else if (pages <= PAGES_MAX)
		l->error = ENOMEM;
	for (uint64_t i = end; seen && i > 0 && !found.damaged && read_frame(l, i - 1); i--) {
		uint32_t page = big_u32(l->frame);
		bool later = seen[page / 8] & 1 << page % 8;
		seen[page / 8] |= (unsigned char)(1 << page % 8);
		found.damaged = !later && !is_in_database(l);
	}
	found.damaged |= pages > PAGES_MAX;
	if (!found.damaged)
		found.transactions = 0;
	heap_free(seen);
	return found;
}

static struct sqlite_log_look look(struct log *l)
{
	if (l->size < HEADER + FRAME || !read_at(l, l->log, 0, l->header, HEADER))
		return (struct sqlite_log_look){0};
	return header_is_right(l) ? look_at_frames(l) : look_without_header(l);
}

/* NULL: it is not there, or *ret_error. */
static struct file *open_beside(const struct store_sqlite_config *config, const char *suffix, uint64_t *ret_size,
				int *ret_error)
{
	const char *slash = strrchr(config->path, '/');
	struct file *f = NULL;
	struct buf name;

	*ret_size = 0;
	buf_init(&name, 300);
	buf_printf(&name, "%s%s", slash ? slash + 1 : config->path, suffix);
	const char *text = buf_cstr(&name);
	int error = text ? config->fs->ops->open(config->fs, text, FS_READ, &f) : ENOMEM;
	buf_free(&name);
	if (error)
		f = NULL;
	else
		error = f->ops->size(f, ret_size);
	if (error && error != ENOENT)
		*ret_error = error;
	return f;
}

static enum store_result result_of(int error)
{
	return error == 0 ? STORE_OK : error == ENOMEM ? STORE_NO_MEMORY : STORE_IO;
}

enum store_result sqlite_log_look(const struct store_sqlite_config *config, struct sqlite_log_look *ret)
{
	struct log l = {.frame = heap_alloc(FRAME + PAGE_MAX), .other = heap_alloc(PAGE_MAX)};
	uint64_t database = 0;

	*ret = (struct sqlite_log_look){0};
	if (!l.frame || !l.other)
		l.error = ENOMEM;
	l.log = open_beside(config, "-wal", &l.size, &l.error);
	l.database = open_beside(config, "", &database, &l.error);
	if (l.log && !l.error)
		*ret = look(&l);
	/* SQLite would throw a log away that has no database. */
	if (database == 0 && l.size > HEADER + FRAME)
		ret->damaged = true;
	if (l.error)
		*ret = (struct sqlite_log_look){0};
	if (l.log)
		l.log->ops->close(l.log);
	if (l.database)
		l.database->ops->close(l.database);
	heap_free(l.frame);
	heap_free(l.other);
	return result_of(l.error);
}

static bool any_file(void *arg, const char *path, msg_id id, bool named)
{
	(void)path;
	(void)named;
	*(bool *)arg = id != 0;
	return id == 0;
}

static enum store_result nobody_names(void *arg, msg_id id, bool *ret)
{
	(void)arg;
	(void)id;
	*ret = false;
	return STORE_OK;
}

enum store_result sqlite_database_is_lost(const struct store_sqlite_config *config, bool *ret)
{
	uint64_t size = 0;
	int error = 0;
	struct file *f = open_beside(config, "", &size, &error);

	*ret = false;
	if (f)
		f->ops->close(f);
	if (error || size > 0)
		return result_of(error);
	return store_spool_each(config->fs, &(struct store_spool_cleaner){nobody_names, NULL}, any_file, ret);
}
