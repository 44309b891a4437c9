#include "role/maildir.h"

#include "base/buf.h"
#include "mail/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE      ((size_t)64 * 1024)
#define HEADER_MAX ((size_t)8 * 1024)

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

/* X.2.0 is for what is wrong with this mailbox, X.3.0 for what is wrong here at all. */
static struct smtpcodes_status status_of(int error)
{
	static const struct {
		int error;
		uint16_t subject, detail;
	} rows[] = {
		{EDQUOT, 2, 2}, /* mailbox full */
		{ENOSPC, 3, 1}, /* system full */
		{EACCES, 2, 0}, {EPERM, 2, 0}, {ENOTDIR, 2, 0}, {EISDIR, 2, 0},       {ENOTEMPTY, 2, 0},
		{EEXIST, 2, 0}, {ELOOP, 2, 0}, {EXDEV, 2, 0},   {ENAMETOOLONG, 2, 0}, {ENOENT, 2, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].error == error)
			return (struct smtpcodes_status){4, rows[i].subject, rows[i].detail};
	return (struct smtpcodes_status){4, 3, 0};
}

static void conclude(struct maildir_delivery *d, struct smtpcodes_status status, struct slice text)
{
	d->outcome = (struct smtp_outcome){
		.verdict = status.klass == 2   ? SMTP_DELIVERED
			   : status.klass == 4 ? SMTP_DEFERRED
					       : SMTP_FAILED,
		.stage = SMTP_STAGE_MAILBOX,
		.status = status,
		.text = text,
	};
}

static void fail(struct maildir_delivery *d, const char *what, int error)
{
	int n = snprintf(d->why, sizeof d->why, "%s: %s", what, strerror(error));

	conclude(d, status_of(error), slice_head(slice_from_cstr(d->why), n > 0 ? (size_t)n : 0));
}

static void succeed(struct maildir_delivery *d)
{
	conclude(d, (struct smtpcodes_status){2, 0, 0}, SLICE("delivered into the mailbox"));
}

/* ---- paths ---------------------------------------------------------------------------------------------------- */

/* MAILBOX/SUB/NAME, or MAILBOX/SUB without a name. False when it is too long. */
static bool make_path(const struct maildir_delivery *d, const char *sub, bool with_name, char out[MAILDIR_PATH_MAX])
{
	struct msg_id_text id = msg_id_format(d->id);
	int n = snprintf(out, MAILDIR_PATH_MAX, "%.*s/%s", SLICE_ARGS(d->mailbox), sub);

	if (n > 0 && n < MAILDIR_PATH_MAX && with_name)
		n += snprintf(out + n, (size_t)(MAILDIR_PATH_MAX - n), "/%lld.%s-%u.%.*s",
			      (long long)(d->arrived / SECOND), id.text, d->n, SLICE_ARGS(slice_head(d->host, 200)));
	return n > 0 && n < MAILDIR_PATH_MAX;
}

/* The name in new/, once the size of the file is known. */
static bool make_final_path(struct maildir_delivery *d)
{
	if (!make_path(d, "new", true, d->path))
		return false;
	size_t n = strlen(d->path);
	if (!maildir_is_limited(&d->limit))
		return true;
	int more = snprintf(d->path + n, sizeof d->path - n, ",S=%llu", (unsigned long long)d->octets);
	return more > 0 && (size_t)more < sizeof d->path - n;
}

static int make_directory(struct fs *mail, const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[MAILDIR_PATH_MAX] = "";
	int error = mail->ops->mkdir(mail, path);

	if (error)
		return error;
	if (slash)
		memcpy(parent, path, (size_t)(slash - path));
	return mail->ops->sync_dir(mail, parent);
}

/* The mailbox with all that stands above and in it, each durable before the next: tmp/ comes last, so that where it is
 * found nothing of the rest is missing, now or after a power cut. */
static int make_mailbox(struct fs *mail, const struct maildir_delivery *d)
{
	static const char *const subs[] = {"new", "cur", "tmp"};
	char path[MAILDIR_PATH_MAX];
	int error = 0;

	for (size_t i = 0; i <= d->mailbox.n && !error; i++) {
		if (i < d->mailbox.n && d->mailbox.p[i] != '/')
			continue;
		snprintf(path, sizeof path, "%.*s", SLICE_ARGS(slice_head(d->mailbox, i)));
		error = make_directory(mail, path);
	}
	for (size_t i = 0; i < 3 && !error; i++)
		error = make_path(d, subs[i], false, path) ? make_directory(mail, path) : ENAMETOOLONG;
	return error;
}

static int open_new(struct fs *mail, const struct maildir_delivery *d, const char *path, struct file **ret)
{
	unsigned flags = FS_WRITE | FS_CREATE;
	int error = mail->ops->open(mail, path, flags, ret);

	if (error == ENOENT) {
		error = make_mailbox(mail, d);
		return error ? error : mail->ops->open(mail, path, flags, ret);
	}
	if (error == EEXIST) {
		/* From an attempt that was cut off. */
		error = mail->ops->unlink(mail, path);
		return error ? error : mail->ops->open(mail, path, flags, ret);
	}
	return error;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Octets on their way into the file: in large pieces, for a line each would be a call for each. */
struct writer {
	struct maildir_delivery *d;
	struct buf *out; /* what is not written yet */
	bool cr;         /* the last piece ended in a CR that was held back */
};

static int flush(struct writer *w)
{
	int error = buf_len(w->out) > 0 ? w->d->made->ops->write(w->d->made, buf_slice(w->out)) : 0;

	buf_reset(w->out);
	return error;
}

static int write_plain(struct writer *w, struct slice octets)
{
	int error = buf_len(w->out) + octets.n > PIECE ? flush(w) : 0;

	w->d->octets += octets.n;
	if (error)
		return error;
	if (octets.n >= PIECE)
		return w->d->made->ops->write(w->d->made, octets);
	return buf_add(w->out, octets) ? 0 : ENOMEM;
}

/* Octets as they came, or each CRLF as LF. */
static int write_octets(struct writer *w, struct slice octets)
{
	int error = 0;

	if (!w->d->lf)
		return write_plain(w, octets);
	while (octets.n && !error) {
		if (w->cr && octets.p[0] != '\n')
			error = write_plain(w, SLICE("\r"));
		w->cr = false;
		size_t at = slice_find(octets, '\r');
		if (!error)
			error = write_plain(w, slice_head(octets, at));
		w->cr = at < octets.n;
		octets = slice_skip(octets, at + 1);
	}
	return error;
}

static void make_header(const struct maildir_delivery *d, struct buf *header)
{
	buf_init(header, HEADER_MAX);
	mail_return_path_write(d->sender, header);
	mail_delivered_to_write(d->rcpt, header);
}

static int write_header(struct writer *w)
{
	struct buf header;

	make_header(w->d, &header);
	int error = header.failed ? ENOMEM : write_octets(w, buf_slice(&header));
	buf_free(&header);
	return error;
}

static int write_from_file(struct writer *w)
{
	struct maildir_delivery *d = w->d;
	char piece[PIECE];
	uint64_t offset = 0;
	uint32_t digest = store_digest_begin(d->crc, d->id);
	int error = 0;

	while (offset < d->size && !error) {
		size_t n = 0, want = d->size - offset < sizeof piece ? (size_t)(d->size - offset) : sizeof piece;
		error = d->file->ops->read(d->file, offset, piece, want, &n);
		if (!error && n == 0)
			error = EIO; /* shorter than it was: never half a message */
		d->unreadable = error != 0;
		offset += n;
		if (error)
			break;
		digest = crc32c_add(d->crc, digest, slice_of(piece, n));
		error = write_octets(w, slice_of(piece, n));
	}
	d->damaged = !error && !store_digest_fits(d->digest, digest);
	return d->damaged ? EIO : error;
}

static int write_message(struct maildir_delivery *d, struct buf *out)
{
	struct writer w = {.d = d, .out = out};

	d->octets = 0;
	d->unreadable = d->damaged = false;
	buf_reset(out);
	int error = write_header(&w);
	if (!error)
		error = d->file ? write_from_file(&w) : write_octets(&w, d->body);
	if (!error && w.cr)
		error = write_plain(&w, SLICE("\r"));
	return error ? error : flush(&w);
}

/* ---- limits --------------------------------------------------------------------------------------------------- */

/* False, with an outcome, when the mailbox has no room for the message. */
static bool has_room(struct fs *mail, struct maildir_delivery *d)
{
	struct maildir_use use;
	struct buf header;
	uint64_t size;

	make_header(d, &header);
	bool huge = __builtin_add_overflow(d->size, buf_len(&header), &size);
	buf_free(&header);
	if (d->limit.octets > 0 && (huge || size > d->limit.octets)) {
		conclude(d, (struct smtpcodes_status){5, 2, 3},
			 SLICE("the message is larger than all that the mailbox may hold"));
		return false;
	}
	int error = maildir_use_of(mail, d->mailbox, &d->limit, d->counts, d->now, size, &use);
	if (error) {
		fail(d, "cannot count what is in the mailbox", error);
		return false;
	}
	if (maildir_fits(&d->limit, &use, size))
		return true;
	conclude(d, (struct smtpcodes_status){d->age < d->full_wait ? 4 : 5, 2, 2}, SLICE("the mailbox is full"));
	return false;
}

/* What tmp/ has of it is of no use. */
static void give_up(struct fs *mail, struct maildir_delivery *d, int error)
{
	char tmp[MAILDIR_PATH_MAX];

	if (make_path(d, "tmp", true, tmp))
		mail->ops->unlink(mail, tmp);
	if (d->unreadable || d->damaged)
		conclude(d, (struct smtpcodes_status){4, 6, 6},
			 SLICE("the content of the message cannot be read from our disk"));
	else
		fail(d, "cannot write into the mailbox", error);
}

/* tmp/NAME, written and still open (d->made); or an outcome. */
static void write_one(struct fs *mail, struct maildir_delivery *d, struct buf *out)
{
	char tmp[MAILDIR_PATH_MAX];

	d->octets = d->size;
	if (!make_path(d, "tmp", true, tmp) || !make_final_path(d)) {
		fail(d, "cannot name the file", ENAMETOOLONG);
		return;
	}
	if (maildir_is_limited(&d->limit) && !has_room(mail, d))
		return;
	int error = open_new(mail, d, tmp, &d->made);
	if (error) {
		d->made = NULL;
		fail(d, "cannot create a file in the mailbox", error);
		return;
	}
	error = write_message(d, out);
	if (!error)
		return;
	d->made->ops->close(d->made);
	d->made = NULL;
	give_up(mail, d, error);
}

/* From tmp/ into new/, once it is synced (`error` is 0). */
static void move_one(struct fs *mail, struct maildir_delivery *d, int error)
{
	char tmp[MAILDIR_PATH_MAX];

	d->made->ops->close(d->made);
	d->made = NULL;
	if (error) {
		give_up(mail, d, error);
		return;
	}
	error = make_path(d, "tmp", true, tmp) && make_final_path(d) ? mail->ops->rename(mail, tmp, d->path)
								       : ENAMETOOLONG;
	if (error == ENOENT) { /* a Maildir that somebody else made, and not whole */
		error = make_mailbox(mail, d);
		if (!error)
			error = mail->ops->rename(mail, tmp, d->path);
	}
	if (error) {
		mail->ops->unlink(mail, tmp);
		fail(d, "cannot move the file into the mailbox", error);
		return;
	}
	d->written = true;
	if (maildir_is_limited(&d->limit))
		maildir_use_add(mail, d->mailbox, &d->limit, d->counts, d->now, d->octets);
}

/* A file system is synced as a whole for many files: it may have others' octets to write, which few are not worth. */
static void sync_and_move(struct fs *mail, struct maildir_delivery *batch, size_t count)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++)
		made += batch[i].made != NULL;
	int error = made >= MAILDIR_SHARED_SYNC ? mail->ops->sync_all(mail) : ENOSYS;
	for (size_t i = 0; i < count; i++) {
		struct maildir_delivery *d = &batch[i];
		if (d->made)
			move_one(mail, d, error == ENOSYS ? d->made->ops->sync(d->made) : error);
	}
}

static void write_batch(struct fs *mail, struct maildir_delivery *batch, size_t count)
{
	struct buf out;

	buf_init(&out, PIECE);
	for (size_t i = 0; i < count; i++) {
		batch[i].made = NULL;
		batch[i].written = false;
		write_one(mail, &batch[i], &out);
		/* What it adds counts for the next one. */
		if (maildir_is_limited(&batch[i].limit))
			sync_and_move(mail, &batch[i], 1);
	}
	sync_and_move(mail, batch, count);
	buf_free(&out);
}

/* Whether an earlier one of the batch is for the same mailbox; its directory is synced by then. */
static const struct maildir_delivery *same_mailbox(const struct maildir_delivery *batch, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (batch[j].written && slice_eq(batch[j].mailbox, batch[i].mailbox))
			return &batch[j];
	return NULL;
}

void maildir_deliver(struct fs *mail, struct maildir_delivery *batch, size_t count)
{
	char path[MAILDIR_PATH_MAX];

	write_batch(mail, batch, count);
	for (size_t i = 0; i < count; i++) {
		struct maildir_delivery *d = &batch[i];
		if (!d->written)
			continue;
		const struct maildir_delivery *before = same_mailbox(batch, i);
		if (before) {
			d->outcome = before->outcome;
			if (before->outcome.verdict != SMTP_DELIVERED)
				fail(d, "cannot sync the mailbox", EIO);
			continue;
		}
		int error = make_path(d, "new", false, path) ? mail->ops->sync_dir(mail, path) : ENAMETOOLONG;
		/* The name may not be durable: it counts as not delivered, and the next attempt replaces it. */
		if (error)
			fail(d, "cannot sync the mailbox", error);
		else
			succeed(d);
	}
}
