#include "test.h"

#include "role/maildir.h"

#include <errno.h>

/* A disk in memory that counts what is done and fails when told. */
struct disk {
	struct fs fs;
	char log[4000]; /* "open a/tmp/x;sync;rename a/tmp/x>a/new/x;..." with the file's name as x */
	char content[4000];
	size_t content_n;
	int fail_after, error; /* the call that fails; -1: none */
	int sync_all_error;
	bool mailbox_there, tmp_there;
};

static int step(struct disk *d, const char *what)
{
	strncat(d->log, what, sizeof d->log - strlen(d->log) - 1);
	strncat(d->log, ";", sizeof d->log - strlen(d->log) - 1);
	return d->fail_after >= 0 && d->fail_after-- == 0 ? d->error : 0;
}

struct memory_file {
	struct file file;
	struct disk *disk;
};

static int memory_write(struct file *f, struct slice data)
{
	struct disk *d = ((struct memory_file *)f)->disk;

	memcpy(d->content + d->content_n, data.n ? data.p : "", data.n);
	d->content_n += data.n;
	return data.n ? step(d, "write") : 0;
}

static int memory_sync(struct file *f)
{
	return step(((struct memory_file *)f)->disk, "sync");
}

static void memory_close(struct file *f)
{
	free(f);
}

static const struct file_ops file_ops = {.write = memory_write, .sync = memory_sync, .close = memory_close};

/* The part of a path before the file's name. */
static const char *place(const char *path)
{
	static char text[100];
	const char *slash = strrchr(path, '/');

	snprintf(text, sizeof text, "%.*s", (int)(slash ? slash - path : (long)strlen(path)), path);
	return text;
}

static int disk_open(struct fs *fs, const char *path, unsigned flags, struct file **ret)
{
	struct disk *d = (struct disk *)fs;
	char what[200];

	assert_int_equal(flags, FS_WRITE | FS_CREATE);
	snprintf(what, sizeof what, "open %s", place(path));
	int error = step(d, what);
	if (!error && !d->mailbox_there)
		error = ENOENT;
	if (!error && d->tmp_there)
		error = EEXIST;
	if (error)
		return error;
	struct memory_file *f = calloc(1, sizeof *f);
	*f = (struct memory_file){{&file_ops}, d};
	*ret = &f->file;
	return 0;
}

static int disk_rename(struct fs *fs, const char *from, const char *to)
{
	char what[200];

	assert_string_equal(strrchr(from, '/'), strrchr(to, '/'));
	snprintf(what, sizeof what, "rename %s", place(to));
	return step((struct disk *)fs, what);
}

static int disk_unlink(struct fs *fs, const char *path)
{
	(void)path;
	((struct disk *)fs)->tmp_there = false;
	return step((struct disk *)fs, "unlink");
}

static int disk_mkdir(struct fs *fs, const char *path)
{
	char what[200];

	snprintf(what, sizeof what, "mkdir %s", path);
	((struct disk *)fs)->mailbox_there = true;
	return step((struct disk *)fs, what);
}

static int disk_sync_dir(struct fs *fs, const char *path)
{
	char what[200];

	snprintf(what, sizeof what, "syncdir %s", path);
	return step((struct disk *)fs, what);
}

static int disk_sync_all(struct fs *fs)
{
	struct disk *d = (struct disk *)fs;
	int error = step(d, "syncall");

	return error ? error : d->sync_all_error;
}

static const struct fs_ops fs_ops = {.open = disk_open,
				     .rename = disk_rename,
				     .unlink = disk_unlink,
				     .mkdir = disk_mkdir,
				     .sync_dir = disk_sync_dir,
				     .sync_all = disk_sync_all};

static struct disk new_disk(void)
{
	return (struct disk){.fs = {&fs_ops}, .fail_after = -1, .mailbox_there = true};
}

static struct maildir_delivery delivery(uint32_t n)
{
	return (struct maildir_delivery){.mailbox = SLICE("example.com/alice"),
					 .host = SLICE("mx"),
					 .id = 5,
					 .n = n,
					 .arrived = 1000 * SECOND,
					 .sender = SLICE("s@example.net"),
					 .rcpt = SLICE("alice@example.com"),
					 .body = SLICE("A: b\r\n\r\nx\r\n"),
					 .size = 11};
}

static void a_message_is_synced_before_it_shows_and_its_name_after(void **state)
{
	(void)state;
	struct disk d = new_disk();
	struct maildir_delivery one = delivery(0);

	maildir_deliver(&d.fs, &one, 1);
	assert_int_equal(one.outcome.verdict, SMTP_DELIVERED);
	assert_string_equal(d.log, "open example.com/alice/tmp;write;sync;rename example.com/alice/new;"
				   "syncdir example.com/alice/new;");
	assert_slice(slice_of(d.content, d.content_n),
		     "Return-Path: <s@example.net>\r\nDelivered-To: alice@example.com\r\nA: b\r\n\r\nx\r\n");
	assert_true(slice_starts(slice_from_cstr(one.path), SLICE("example.com/alice/new/1000.")));
}

static void a_batch_shares_the_sync_of_a_directory(void **state)
{
	(void)state;
	struct disk d = new_disk();
	struct maildir_delivery batch[] = {delivery(0), delivery(1), delivery(2)};
	size_t syncs = 0;

	maildir_deliver(&d.fs, batch, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(batch[i].outcome.verdict, SMTP_DELIVERED);
	for (const char *p = d.log; (p = strstr(p, "syncdir")); p++)
		syncs++;
	assert_int_equal(syncs, 1);
	assert_string_not_equal(batch[0].path, batch[1].path);
}

static size_t times(const struct disk *d, const char *what)
{
	size_t n = 0;

	for (const char *p = d->log; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* attacks D: nothing shows in new/ before its octets are durable, and what is not durable is not there. */
static void a_large_batch_shares_the_sync_of_its_files(void **state)
{
	(void)state;
	static const struct {
		int error;
		size_t alone, shown, removed;
		enum smtp_verdict verdict;
	} rows[] = {
		{0, 0, MAILDIR_SHARED_SYNC, 0, SMTP_DELIVERED},
		{ENOSYS, MAILDIR_SHARED_SYNC, MAILDIR_SHARED_SYNC, 0, SMTP_DELIVERED},
		{EIO, 0, 0, MAILDIR_SHARED_SYNC, SMTP_DEFERRED},
	};

	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		struct disk d = new_disk();
		struct maildir_delivery batch[MAILDIR_SHARED_SYNC];

		d.sync_all_error = rows[r].error;
		for (uint32_t i = 0; i < MAILDIR_SHARED_SYNC; i++)
			batch[i] = delivery(i);
		maildir_deliver(&d.fs, batch, MAILDIR_SHARED_SYNC);
		assert_int_equal(times(&d, "syncall;"), 1);
		assert_int_equal(times(&d, ";sync;"), rows[r].alone);
		assert_int_equal(times(&d, "rename"), rows[r].shown);
		assert_int_equal(times(&d, "unlink"), rows[r].removed);
		if (rows[r].shown)
			assert_true(strstr(d.log, "syncall;") < strstr(d.log, "rename"));
		for (size_t i = 0; i < MAILDIR_SHARED_SYNC; i++)
			assert_int_equal(batch[i].outcome.verdict, rows[r].verdict);
	}
}

static void a_missing_mailbox_is_made_with_all_that_is_in_it(void **state)
{
	(void)state;
	struct disk d = new_disk();
	struct maildir_delivery one = delivery(0);

	d.mailbox_there = false;
	maildir_deliver(&d.fs, &one, 1);
	assert_int_equal(one.outcome.verdict, SMTP_DELIVERED);
	assert_non_null(strstr(d.log, "mkdir example.com;syncdir ;mkdir example.com/alice;syncdir example.com;"
				      "mkdir example.com/alice/new;syncdir example.com/alice;"
				      "mkdir example.com/alice/cur;syncdir example.com/alice;"
				      "mkdir example.com/alice/tmp;syncdir example.com/alice;"));
}

static void what_an_attempt_left_behind_is_replaced(void **state)
{
	(void)state;
	struct disk d = new_disk();
	struct maildir_delivery one = delivery(0);

	d.tmp_there = true;
	maildir_deliver(&d.fs, &one, 1);
	assert_int_equal(one.outcome.verdict, SMTP_DELIVERED);
	assert_non_null(strstr(d.log, "unlink;"));
}

/* attacks D3, D4: whatever fails, the message is deferred, with a status that says what. */
static void D4_any_failing_call_defers_the_message(void **state)
{
	(void)state;
	for (int at = 0; at < 5; at++) { /* open, write, sync, rename, sync of the directory */
		struct disk d = new_disk();
		struct maildir_delivery one = delivery(0);
		d.fail_after = at;
		d.error = ENOSPC;
		maildir_deliver(&d.fs, &one, 1);
		assert_int_equal(one.outcome.verdict, SMTP_DEFERRED);
		assert_int_equal(one.outcome.status.klass, 4);
		assert_int_equal(one.outcome.status.subject, 3);
		assert_int_equal(one.outcome.status.detail, 1);
		assert_true(one.outcome.text.n > 0);
	}
}

/* RFC 3463 3.3: what is wrong with one mailbox is told from what is wrong with the system. */
static void the_status_says_whose_trouble_it_is(void **state)
{
	(void)state;
	static const struct {
		int error;
		unsigned subject, detail;
	} rows[] = {
		{EACCES, 2, 0}, {ENOTDIR, 2, 0}, {ELOOP, 2, 0}, {EDQUOT, 2, 2},
		{ENOSPC, 3, 1}, {EIO, 3, 0},     {EROFS, 3, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct disk d = new_disk();
		struct maildir_delivery one = delivery(0);

		d.fail_after = 0;
		d.error = rows[i].error;
		maildir_deliver(&d.fs, &one, 1);
		assert_int_equal(one.outcome.verdict, SMTP_DEFERRED);
		assert_int_equal(one.outcome.status.subject, rows[i].subject);
		assert_int_equal(one.outcome.status.detail, rows[i].detail);
		assert_true(slice_ends(one.outcome.text, slice_from_cstr(strerror(rows[i].error))));
	}
}

static int short_read(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret)
{
	(void)f;
	*ret = offset == 0 && n >= 5 ? 5 : 0;
	memcpy(into, "A: b\n", *ret);
	return 0;
}

/* A body that was cut short on the disk is not delivered as another message. */
static void a_body_that_ends_early_is_not_delivered(void **state)
{
	(void)state;
	static const struct file_ops ops = {.read = short_read};
	struct file cut = {&ops};
	struct disk d = new_disk();
	struct maildir_delivery one = delivery(0);
	struct crc32c crc;

	crc32c_init(&crc);
	one.crc = &crc;
	one.file = &cut;
	maildir_deliver(&d.fs, &one, 1);
	assert_int_equal(one.outcome.verdict, SMTP_DEFERRED);
	assert_int_equal(one.outcome.status.subject, 6);
	assert_int_equal(one.outcome.status.detail, 6);
	assert_null(strstr(d.log, "rename"));
	assert_non_null(strstr(d.log, "unlink"));
}

static const char whole_text[] = "A: b\r\n\r\nText.\r\n";
static const struct slice whole = {whole_text, sizeof whole_text - 1};

static int whole_read(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret)
{
	(void)f;
	*ret = offset < whole.n ? 1 : 0;
	if (*ret && n)
		*into = whole.p[offset];
	return 0;
}

static void a_body_that_is_not_as_it_was_is_not_delivered(void **state)
{
	(void)state;
	static const struct file_ops ops = {.read = whole_read};
	struct file file = {&ops};
	struct crc32c crc;

	crc32c_init(&crc);
	for (int flipped = 0; flipped < 2; flipped++) {
		struct disk d = new_disk();
		struct maildir_delivery one = delivery(0);

		one.file = &file;
		one.size = whole.n;
		one.crc = &crc;
		one.digest = (struct store_digest){true, crc32c_add(&crc, store_digest_begin(&crc, one.id), whole)};
		one.digest.value ^= flipped ? 0x10 : 0;
		maildir_deliver(&d.fs, &one, 1);
		assert_int_equal(one.damaged, flipped);
		assert_int_equal(one.outcome.verdict, flipped ? SMTP_DEFERRED : SMTP_DELIVERED);
		assert_int_equal(strstr(d.log, "rename") != NULL, !flipped);
		assert_int_equal(strstr(d.log, "unlink") != NULL, flipped);
	}
}

static void lines_can_end_in_lf_alone_and_lose_nothing_else(void **state)
{
	(void)state;
	struct disk d = new_disk();
	struct maildir_delivery one = delivery(0);

	one.lf = true;
	one.body = SLICE("A: b\r\n\r\nbare\rcr\r\r\nend\r");
	one.size = one.body.n;
	maildir_deliver(&d.fs, &one, 1);
	assert_int_equal(one.outcome.verdict, SMTP_DELIVERED);
	assert_slice(slice_of(d.content, d.content_n),
		     "Return-Path: <s@example.net>\nDelivered-To: alice@example.com\nA: b\n\nbare\rcr\r\nend\r");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_synced_before_it_shows_and_its_name_after),
		cmocka_unit_test(a_batch_shares_the_sync_of_a_directory),
		cmocka_unit_test(a_large_batch_shares_the_sync_of_its_files),
		cmocka_unit_test(a_missing_mailbox_is_made_with_all_that_is_in_it),
		cmocka_unit_test(what_an_attempt_left_behind_is_replaced),
		cmocka_unit_test(D4_any_failing_call_defers_the_message),
		cmocka_unit_test(the_status_says_whose_trouble_it_is),
		cmocka_unit_test(a_body_that_ends_early_is_not_delivered),
		cmocka_unit_test(a_body_that_is_not_as_it_was_is_not_delivered),
		cmocka_unit_test(lines_can_end_in_lf_alone_and_lose_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
