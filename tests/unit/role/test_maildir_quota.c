#include "test.h"

#include "net/fs_posix.h"
#include "role/maildir.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOX         "example.com/alice"
#define ROWS(table) (sizeof(table) / sizeof *(table))

static char root[64];
static struct maildir_counts counts;
static const struct maildir_limit limit = {1000, 10};

/* ---- a mailbox on a real disk --------------------------------------------------------------------------------- */

static const char *in_root(const char *path)
{
	static char text[700];

	snprintf(text, sizeof text, "%s/%s", root, path);
	return text;
}

static void put_file(const char *path, struct slice content)
{
	FILE *f = fopen(in_root(path), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(content.n ? content.p : "", 1, content.n, f), content.n);
	fclose(f);
}

static void put_octets(const char *path, size_t n)
{
	static const char many[1000];

	put_file(path, slice_of(many, n));
}

static struct slice get_file(const char *path)
{
	static char text[8000];
	FILE *f = fopen(in_root(path), "r");
	size_t n = f ? fread(text, 1, sizeof text, f) : 0;

	if (f)
		fclose(f);
	return slice_of(text, n);
}

/* 115 octets in 3 messages. */
static int set_up(void **state)
{
	static const char *const folders[] = {"example.com", BOX,          BOX "/tmp",       BOX "/new",
					      BOX "/cur",    BOX "/.Sent", BOX "/.Sent/cur", BOX "/not-a-folder"};
	struct fs *fs = NULL;

	snprintf(root, sizeof root, "/tmp/postrider-quota-XXXXXX");
	if (!mkdtemp(root) || fs_posix_open(root, &fs) != 0)
		return -1;
	for (size_t i = 0; i < ROWS(folders); i++)
		mkdir(in_root(folders[i]), 0700);
	put_octets(BOX "/new/1.a.host", 10);
	put_octets(BOX "/cur/2.a.host,S=100:2,S", 1); /* the name is believed */
	put_octets(BOX "/.Sent/cur/3.a.host:2,ST", 5);
	put_octets(BOX "/tmp/4.a.host", 500);
	put_octets(BOX "/new/.hidden", 500);
	put_octets(BOX "/not-a-folder/cur", 500);
	counts = (struct maildir_counts){.key = {1, 2}};
	*state = fs;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

static int tear_down(void **state)
{
	struct fs *fs = *state;

	fs->ops->close(fs);
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct maildir_use use_of(struct fs *fs, mono_ms now, uint64_t size)
{
	struct maildir_use use = {77, 77};

	assert_int_equal(maildir_use_of(fs, SLICE(BOX), &limit, &counts, now, size, &use), 0);
	return use;
}

#define assert_use(value, want_octets, want_messages)                 \
	do {                                                          \
		struct maildir_use test_use = (value);                \
		assert_int_equal(test_use.octets, (want_octets));     \
		assert_int_equal(test_use.messages, (want_messages)); \
	} while (0)

/* ---- counting ------------------------------------------------------------------------------------------------- */

static void a_message_fits_up_to_the_last_octet_and_place(void **state)
{
	(void)state;
	static const struct {
		struct maildir_limit limit;
		struct maildir_use use;
		uint64_t size;
		bool fits;
	} rows[] = {
		{{1000, 0}, {0, 0}, 1000, true},
		{{1000, 0}, {0, 0}, 1001, false},
		{{1000, 0}, {600, 99}, 400, true},
		{{1000, 0}, {601, 1}, 400, false},
		{{1000, 0}, {2000, 1}, 0, false},
		{{1000, 0}, {UINT64_MAX, 0}, UINT64_MAX, false},
		{{0, 2}, {UINT64_MAX, 1}, UINT64_MAX, true},
		{{0, 2}, {0, 2}, 1, false},
		{{1000, 2}, {0, 2}, 1, false},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(maildir_fits(&rows[i].limit, &rows[i].use, rows[i].size), rows[i].fits);
}

static void without_the_file_all_messages_are_counted_and_it_is_written(void **state)
{
	struct fs *fs = *state;

	assert_use(use_of(fs, 0, 1), 115, 3);
	assert_slice(get_file(BOX "/maildirsize"), "1000S,10C\n115 3\n");
	assert_int_equal(get_file(BOX "/tmp/postrider.maildirsize").n, 0);
}

static void the_lines_of_the_file_are_added_up(void **state)
{
	struct fs *fs = *state;
	static const struct {
		const char *text;
		unsigned octets, messages;
	} rows[] = {
		{"1000S,10C\n500 2\n", 500, 2},
		{"10C,1000S\n500 2\n", 500, 2},
		{"1000S,10C\n   500    2\n-100 -1\n  +\n", 115, 3}, /* damaged: counted */
		{"1000S,10C\n   500    2\n-100 -1\n 50 1 \n", 450, 2},
		{"1000S,10C\n", 0, 0},
		/* Whatever is not whole, not ours or not possible is counted anew. */
		{"", 115, 3},
		{"1000S,10C", 115, 3},
		{"1000S,10C\n500 2", 115, 3},
		{"1000S,10C\n500\n", 115, 3},
		{"1000S,10C\n500 2 2\n", 115, 3},
		{"1000S,10C\n500 two\n", 115, 3},
		{"1000S,10C\n\n", 115, 3},
		{"1000S\n500 2\n", 115, 3},
		{"2000S,10C\n500 2\n", 115, 3},
		{"1000S,10C,5X\n500 2\n", 115, 3},
		{"1000S,10C\n500 2\n-600 -1\n", 115, 3},
		{"1000S,10C\n500 2\n-100 -3\n", 115, 3},
		{"1000S,10C\n9223372036854775807 1\n1 1\n", 115, 3},
		{"1000S,10C\n99999999999999999999 1\n", 115, 3},
		{"\1\2\3\n", 115, 3},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		put_file(BOX "/maildirsize", slice_from_cstr(rows[i].text));
		counts = (struct maildir_counts){.key = {1, 2}};
		assert_use(use_of(fs, 0, 1), rows[i].octets, rows[i].messages);
		if (rows[i].octets == 115)
			assert_slice(get_file(BOX "/maildirsize"), "1000S,10C\n115 3\n");
		else
			assert_slice(get_file(BOX "/maildirsize"), rows[i].text);
	}
}

static void a_file_that_has_grown_long_is_written_anew(void **state)
{
	struct fs *fs = *state;
	char text[MAILDIR_SIZE_FILE + 20] = "1000S,10C\n";
	size_t n = strlen(text);

	while (n + 4 <= MAILDIR_SIZE_FILE) {
		memcpy(text + n, "0 0\n", 4);
		n += 4;
	}
	put_file(BOX "/maildirsize", slice_of(text, n));
	assert_use(use_of(fs, 0, 1), 0, 0);
	memcpy(text + n, "0 0\n", 4);
	put_file(BOX "/maildirsize", slice_of(text, n + 4));
	assert_use(use_of(fs, 0, 1), 115, 3);
	assert_slice(get_file(BOX "/maildirsize"), "1000S,10C\n115 3\n");
}

/* A reader that knows nothing of the file has deleted messages. */
static void a_mailbox_that_seems_full_is_counted_once_a_minute(void **state)
{
	struct fs *fs = *state;

	put_file(BOX "/maildirsize", SLICE("1000S,10C\n950 9\n"));
	assert_use(use_of(fs, 0, 50), 950, 9);
	assert_use(use_of(fs, 0, 51), 115, 3);
	put_octets(BOX "/cur/5.a.host", 880);
	put_file(BOX "/maildirsize", SLICE("1000S,10C\n995 4\n"));
	assert_use(use_of(fs, 1, 51), 995, 4);
	unlink(in_root(BOX "/cur/5.a.host"));
	assert_use(use_of(fs, MAILDIR_RECOUNT - 1, 51), 995, 4);
	assert_use(use_of(fs, MAILDIR_RECOUNT, 51), 115, 3);
}

static void where_no_file_can_be_written_the_last_count_holds_for_a_minute(void **state)
{
	struct fs *fs = *state;

	mkdir(in_root(BOX "/maildirsize"), 0700);
	assert_use(use_of(fs, 0, 1), 115, 3);
	maildir_use_add(fs, SLICE(BOX), &limit, &counts, 0, 20);
	assert_use(use_of(fs, 1, 1), 135, 4);
	assert_use(use_of(fs, MAILDIR_RECOUNT, 1), 115, 3);
}

static void a_mailbox_that_is_not_there_holds_nothing(void **state)
{
	struct fs *fs = *state;
	struct maildir_use use;

	assert_int_equal(maildir_use_of(fs, SLICE("example.com/nobody"), &limit, &counts, 0, 1, &use), 0);
	assert_use(use, 0, 0);
	/* What cannot be a mailbox cannot be counted. */
	put_octets("example.com/file", 1);
	assert_int_equal(maildir_use_of(fs, SLICE("example.com/file"), &limit, &counts, 0, 1, &use), ENOTDIR);
}

/* ---- delivering ----------------------------------------------------------------------------------------------- */

#define MESSAGE "Subject: x\r\n\r\nbody\r\n"
#define FIELDS  "Return-Path: <s@example.net>\r\nDelivered-To: alice@example.com\r\n"
#define SIZE    (sizeof MESSAGE FIELDS - 1)

static struct maildir_delivery delivery(uint32_t n, uint64_t octets, uint64_t messages)
{
	return (struct maildir_delivery){.mailbox = SLICE(BOX),
					 .host = SLICE("mx"),
					 .id = 5,
					 .n = n,
					 .arrived = 1000 * SECOND,
					 .sender = SLICE("s@example.net"),
					 .rcpt = SLICE("alice@example.com"),
					 .body = SLICE(MESSAGE),
					 .size = sizeof MESSAGE - 1,
					 .limit = {octets, messages},
					 .counts = &counts,
					 .full_wait = 100};
}

static void assert_status(const struct maildir_delivery *d, const char *expected)
{
	char status[10];

	smtpcodes_status_format(d->outcome.status, status);
	assert_string_equal(status, expected);
	assert_int_equal(d->outcome.verdict, expected[0] == '2'   ? SMTP_DELIVERED
					     : expected[0] == '4' ? SMTP_DEFERRED
								  : SMTP_FAILED);
}

static void what_is_delivered_is_written_down(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery batch[] = {delivery(0, 1000, 0), delivery(1, 1000, 0)};
	struct stat st;
	char text[100];

	batch[1].lf = true;
	maildir_deliver(fs, batch, 2);
	assert_status(&batch[0], "2.0.0");
	assert_status(&batch[1], "2.0.0");
	snprintf(text, sizeof text, "1000S\n115 3\n%zu 1\n%zu 1\n", SIZE, SIZE - 5);
	assert_slice(get_file(BOX "/maildirsize"), text);
	/* The name tells the size, which spares others the look. */
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(stat(in_root(batch[i].path), &st), 0);
		snprintf(text, sizeof text, ",S=%lld", (long long)st.st_size);
		assert_true(slice_ends(slice_from_cstr(batch[i].path), slice_from_cstr(text)));
	}
	counts = (struct maildir_counts){.key = {1, 2}};
	unlink(in_root(BOX "/maildirsize"));
	assert_use(use_of(fs, 0, 1), 115 + SIZE + SIZE - 5, 5);
}

static void the_last_message_that_fits_is_taken_and_the_next_waits(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery batch[] = {delivery(0, 115 + 2 * SIZE, 0), delivery(1, 115 + 2 * SIZE, 0),
					   delivery(2, 115 + 2 * SIZE, 0)};

	maildir_deliver(fs, batch, 3);
	assert_status(&batch[0], "2.0.0");
	assert_status(&batch[1], "2.0.0");
	assert_status(&batch[2], "4.2.2");
	assert_slice(batch[2].outcome.text, "the mailbox is full");
	/* Room is made, and found a minute later. */
	unlink(in_root(batch[0].path));
	maildir_deliver(fs, &batch[2], 1);
	assert_status(&batch[2], "4.2.2");
	batch[2].now = MAILDIR_RECOUNT;
	maildir_deliver(fs, &batch[2], 1);
	assert_status(&batch[2], "2.0.0");
}

static void a_message_waits_for_a_full_mailbox_as_long_as_it_is_told(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery one = delivery(0, 0, 3);

	one.age = 99;
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "4.2.2");
	one.age = 100;
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "5.2.2");
	one.age = one.full_wait = 0;
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "5.2.2");
}

static void what_can_never_fit_does_not_wait(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery one = delivery(0, SIZE - 1, 0);

	maildir_deliver(fs, &one, 1);
	assert_status(&one, "5.2.3");
	one.limit.octets = SIZE;
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "4.2.2");
}

static void a_mailbox_that_cannot_be_counted_is_not_written(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery one = delivery(0, 1000, 0);

	put_octets("example.com/file", 1);
	one.mailbox = SLICE("example.com/file");
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "4.2.0");
	one.limit = (struct maildir_limit){0};
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "4.2.0");
}

static void a_first_message_makes_a_mailbox_with_a_limit(void **state)
{
	struct fs *fs = *state;
	struct maildir_delivery one = delivery(0, 0, 1);

	one.mailbox = SLICE("example.com/bob");
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "2.0.0");
	char text[40];
	snprintf(text, sizeof text, "1C\n%zu 1\n", SIZE);
	assert_slice(get_file("example.com/bob/maildirsize"), text);
	one.n = 1;
	maildir_deliver(fs, &one, 1);
	assert_status(&one, "4.2.2");
}

#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_fits_up_to_the_last_octet_and_place),
		ON_DISK(without_the_file_all_messages_are_counted_and_it_is_written),
		ON_DISK(the_lines_of_the_file_are_added_up),
		ON_DISK(a_file_that_has_grown_long_is_written_anew),
		ON_DISK(a_mailbox_that_seems_full_is_counted_once_a_minute),
		ON_DISK(where_no_file_can_be_written_the_last_count_holds_for_a_minute),
		ON_DISK(a_mailbox_that_is_not_there_holds_nothing),
		ON_DISK(what_is_delivered_is_written_down),
		ON_DISK(the_last_message_that_fits_is_taken_and_the_next_waits),
		ON_DISK(a_message_waits_for_a_full_mailbox_as_long_as_it_is_told),
		ON_DISK(what_can_never_fit_does_not_wait),
		ON_DISK(a_mailbox_that_cannot_be_counted_is_not_written),
		ON_DISK(a_first_message_makes_a_mailbox_with_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
