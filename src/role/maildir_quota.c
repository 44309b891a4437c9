#include "role/maildir_quota.h"

#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SIZE_FILE "maildirsize"
/* A folder and the name of a message, each of up to 255 octets, below a mailbox. */
#define SCAN_PATH (MAILDIR_PATH_MAX + 2 * 256 + 16)

bool maildir_fits(const struct maildir_limit *limit, const struct maildir_use *use, uint64_t size)
{
	if (limit->octets > 0 && (use->octets > limit->octets || size > limit->octets - use->octets))
		return false;
	return limit->messages == 0 || use->messages < limit->messages;
}

/* ---- maildirsize ---------------------------------------------------------------------------------------------- */

static struct slice skip_blanks(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_skip(s, 1);
	return s;
}

/* The digits at the start of *s; false when there are none or the number is beyond all reason. */
static bool take_digits(struct slice *s, int64_t *ret)
{
	uint64_t value;
	size_t n = 0;

	while (n < s->n && ascii_is_digit(s->p[n]))
		n++;
	if (!slice_u64(slice_head(*s, n), INT64_MAX, &value))
		return false;
	*s = slice_skip(*s, n);
	*ret = (int64_t)value;
	return true;
}

static bool take_number(struct slice *s, int64_t *ret)
{
	*s = skip_blanks(*s);
	bool negative = s->n && s->p[0] == '-';

	if (negative)
		*s = slice_skip(*s, 1);
	if (!take_digits(s, ret))
		return false;
	if (negative)
		*ret = -*ret;
	return true;
}

/* Whether the first line says what the configuration does: another limit makes the file another's, or an old one. */
static bool same_limit(struct slice line, const struct maildir_limit *limit)
{
	struct maildir_limit found = {0};

	for (struct slice rest = slice_trim(line); rest.p;) {
		struct slice item = slice_split(&rest, ',');
		int64_t value;

		if (!take_digits(&item, &value))
			return false;
		if (slice_eq(item, SLICE("S")))
			found.octets = (uint64_t)value;
		else if (slice_eq(item, SLICE("C")))
			found.messages = (uint64_t)value;
		else
			return false;
	}
	return found.octets == limit->octets && found.messages == limit->messages;
}

/* The sum of all lines; false when the file is not whole, not ours or not possible. */
static bool read_sum(struct slice text, const struct maildir_limit *limit, struct maildir_use *ret)
{
	int64_t octets = 0, messages = 0;

	if (!slice_ends(text, SLICE("\n")) || !same_limit(slice_split(&text, '\n'), limit))
		return false;
	while (text.n) {
		struct slice line = slice_split(&text, '\n');
		int64_t size, count;

		if (!take_number(&line, &size) || !take_number(&line, &count) || slice_trim(line).n > 0)
			return false;
		if (__builtin_add_overflow(octets, size, &octets) || __builtin_add_overflow(messages, count, &messages))
			return false;
	}
	if (octets < 0 || messages < 0)
		return false;
	*ret = (struct maildir_use){(uint64_t)octets, (uint64_t)messages};
	return true;
}

static bool make_path(struct slice mailbox, const char *name, char path[SCAN_PATH])
{
	int n = snprintf(path, SCAN_PATH, "%.*s/%s", SLICE_ARGS(mailbox), name);

	return n > 0 && n < SCAN_PATH;
}

static bool read_size_file(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
			   struct maildir_use *ret)
{
	char path[SCAN_PATH], text[MAILDIR_SIZE_FILE + 1];
	size_t n = 0, got = 1;
	struct file *f;

	if (!make_path(mailbox, SIZE_FILE, path) || mail->ops->open(mail, path, FS_READ, &f))
		return false;
	while (got > 0 && n < sizeof text) {
		if (f->ops->read(f, n, text + n, sizeof text - n, &got))
			break;
		n += got;
	}
	f->ops->close(f);
	return got == 0 && n <= MAILDIR_SIZE_FILE && read_sum(slice_of(text, n), limit, ret);
}

/* It is not synced: one that a crash leaves empty or torn cannot be read, and is counted anew. */
static void write_size_file(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
			    const struct maildir_use *use)
{
	char path[SCAN_PATH], tmp[SCAN_PATH], room[128];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct file *f;

	if (limit->octets)
		buf_printf(&text, "%lluS", (unsigned long long)limit->octets);
	if (limit->messages)
		buf_printf(&text, "%s%lluC", limit->octets ? "," : "", (unsigned long long)limit->messages);
	buf_printf(&text, "\n%llu %llu\n", (unsigned long long)use->octets, (unsigned long long)use->messages);
	assert(!text.failed);
	if (!make_path(mailbox, SIZE_FILE, path) || !make_path(mailbox, "tmp/postrider." SIZE_FILE, tmp))
		return;
	int error = mail->ops->open(mail, tmp, FS_WRITE | FS_CREATE, &f);
	if (error == EEXIST && !mail->ops->unlink(mail, tmp))
		error = mail->ops->open(mail, tmp, FS_WRITE | FS_CREATE, &f);
	if (error)
		return;
	error = f->ops->write(f, buf_slice(&text));
	f->ops->close(f);
	if (error || mail->ops->rename(mail, tmp, path))
		mail->ops->unlink(mail, tmp);
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

struct scan {
	struct fs *mail;
	struct slice mailbox;
	char path[SCAN_PATH];
	size_t path_n; /* of the directory that is being listed */
	struct maildir_use use;
	int error;
};

/* ",S=1234" in a message's name, which spares us the look at the file. */
static bool size_in_name(struct slice name, uint64_t *ret)
{
	struct slice rest = slice_skip(name, slice_search(name, SLICE(",S=")) + 3);
	int64_t value;

	if (!take_digits(&rest, &value) || (rest.n && rest.p[0] != ',' && rest.p[0] != ':'))
		return false;
	*ret = (uint64_t)value;
	return true;
}

static int size_of(struct scan *s, const char *name, uint64_t *ret)
{
	size_t room = sizeof s->path - s->path_n;
	int n = snprintf(s->path + s->path_n, room, "/%s", name);
	struct file *f;

	*ret = 0;
	if (size_in_name(slice_from_cstr(name), ret))
		return 0;
	if (n < 0 || (size_t)n >= room)
		return ENAMETOOLONG;
	int error = s->mail->ops->open(s->mail, s->path, FS_READ, &f);
	if (error)
		return error;
	error = f->ops->size(f, ret);
	f->ops->close(f);
	return error;
}

static void count_file(struct scan *s, const char *name)
{
	uint64_t size;

	/* One that has just been moved or deleted is not there; one that nobody can read is there all the same. */
	if (size_of(s, name, &size) == ENOENT)
		return;
	s->use.messages++;
	if (__builtin_add_overflow(s->use.octets, size, &s->use.octets))
		s->use.octets = UINT64_MAX;
}

static bool count_name(void *arg, const char *name)
{
	struct scan *s = arg;

	if (name[0] == '.')
		return true;
	count_file(s, name);
	if (s->use.messages > MAILDIR_MESSAGES_MAX)
		s->error = EOVERFLOW;
	return s->error == 0;
}

static void count_directory(struct scan *s, const char *folder, const char *sub)
{
	int n = snprintf(s->path, sizeof s->path, "%.*s/%s%s%s", SLICE_ARGS(s->mailbox), folder, folder[0] ? "/" : "",
			 sub);

	if (s->error || n < 0 || (size_t)n >= sizeof s->path)
		return;
	s->path_n = (size_t)n;
	int error = s->mail->ops->list(s->mail, s->path, count_name, s);
	bool absent = error == ENOENT || error == ENOTDIR || error == ELOOP;
	if (error && !absent && !s->error)
		s->error = error;
}

/* new first: a message that a reader moves to cur meanwhile is rather counted twice than not at all. */
static bool count_folder(void *arg, const char *name)
{
	struct scan *s = arg;

	if (name[0] && name[0] != '.')
		return true;
	count_directory(s, name, "new");
	count_directory(s, name, "cur");
	return s->error == 0;
}

static int count_mailbox(struct fs *mail, struct slice mailbox, struct maildir_use *ret)
{
	struct scan s = {.mail = mail, .mailbox = mailbox};
	char path[SCAN_PATH];

	if (!make_path(mailbox, "", path))
		return ENAMETOOLONG;
	path[mailbox.n] = '\0';
	count_folder(&s, "");
	int error = s.error ? 0 : mail->ops->list(mail, path, count_folder, &s);
	*ret = s.use;
	/* As full as one can be, whatever the limit. */
	if (s.error == EOVERFLOW)
		*ret = (struct maildir_use){UINT64_MAX, UINT64_MAX};
	if (s.error && s.error != EOVERFLOW)
		return s.error;
	return error == ENOENT ? 0 : error;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static struct maildir_count *count_of(struct maildir_counts *counts, struct slice mailbox, uint64_t *ret_hash)
{
	*ret_hash = hash_slice(counts->key, mailbox);
	return &counts->list[*ret_hash % MAILDIR_COUNTS_MAX];
}

/* It is this mailbox's, and not too old to be used. */
static bool is_fresh(const struct maildir_count *count, uint64_t hash, mono_ms now)
{
	return count->set && count->mailbox == hash && now - count->at < MAILDIR_RECOUNT;
}

int maildir_use_of(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
		   struct maildir_counts *counts, mono_ms now, uint64_t size, struct maildir_use *ret)
{
	uint64_t hash;
	struct maildir_count *count = count_of(counts, mailbox, &hash);
	bool counted = is_fresh(count, hash, now);

	assert(maildir_is_limited(limit));
	bool known = read_size_file(mail, mailbox, limit, ret);
	if (!known && counted)
		*ret = count->use;
	if (counted || (known && maildir_fits(limit, ret, size)))
		return 0;
	int error = count_mailbox(mail, mailbox, ret);
	if (error)
		return error;
	*count = (struct maildir_count){.mailbox = hash, .at = now, .use = *ret, .set = true};
	if (ret->messages <= MAILDIR_MESSAGES_MAX)
		write_size_file(mail, mailbox, limit, ret);
	return 0;
}

void maildir_use_add(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
		     struct maildir_counts *counts, mono_ms now, uint64_t size)
{
	char path[SCAN_PATH], line[32];
	uint64_t hash;
	struct maildir_count *count = count_of(counts, mailbox, &hash);
	bool counted = is_fresh(count, hash, now);
	struct file *f;

	if (counted && count->use.messages < UINT64_MAX) {
		count->use.messages++;
		if (__builtin_add_overflow(count->use.octets, size, &count->use.octets))
			count->use.octets = UINT64_MAX;
	}
	if (!make_path(mailbox, SIZE_FILE, path))
		return;
	int error = mail->ops->open(mail, path, FS_WRITE, &f);
	/* The mailbox was not there, or not whole, when it was counted. */
	if (error == ENOENT && counted)
		write_size_file(mail, mailbox, limit, &count->use);
	if (error)
		return;
	int n = snprintf(line, sizeof line, "%llu 1\n", (unsigned long long)size);
	/* One write at the end of the file: others do the same. */
	(void)f->ops->write(f, slice_of(line, (size_t)n));
	f->ops->close(f);
}
