#include "role/maildir.h"

#include "base/buf.h"
#include "mail/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE      ((size_t)64 * 1024)
#define HEADER_MAX ((size_t)8 * 1024)

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

static struct smtpcodes_status status_of(int error)
{
	switch (error) {
	case EDQUOT:
		return (struct smtpcodes_status){4, 2, 2}; /* mailbox full */
	case ENOSPC:
		return (struct smtpcodes_status){4, 3, 1}; /* system full */
	default:
		return (struct smtpcodes_status){4, 3, 0};
	}
}

static void fail(struct maildir_delivery *d, const char *what, int error)
{
	int n = snprintf(d->why, sizeof d->why, "%s: %s", what, strerror(error));

	d->outcome = (struct smtp_outcome){
		.verdict = SMTP_DEFERRED,
		.stage = SMTP_STAGE_MAILBOX,
		.status = status_of(error),
		.text = slice_head(slice_from_cstr(d->why), n > 0 ? (size_t)n : 0),
	};
}

static void succeed(struct maildir_delivery *d)
{
	d->outcome = (struct smtp_outcome){
		.verdict = SMTP_DELIVERED,
		.stage = SMTP_STAGE_MAILBOX,
		.status = {2, 0, 0},
		.text = SLICE("delivered into the mailbox"),
	};
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

/* The mailbox with all that stands above and in it. */
static int make_mailbox(struct fs *mail, const struct maildir_delivery *d)
{
	static const char *const subs[] = {"tmp", "cur", "new"};
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

/* Octets as they came, or each CRLF as LF. *cr: the last piece ended in a CR that was held back. */
static int write_octets(struct file *f, struct slice octets, bool lf, bool *cr)
{
	int error = 0;

	if (!lf)
		return f->ops->write(f, octets);
	while (octets.n && !error) {
		if (*cr && octets.p[0] != '\n')
			error = f->ops->write(f, SLICE("\r"));
		*cr = false;
		size_t at = slice_find(octets, '\r');
		if (!error)
			error = f->ops->write(f, slice_head(octets, at));
		*cr = at < octets.n;
		octets = slice_skip(octets, at + 1);
	}
	return error;
}

static int write_header(struct file *f, const struct maildir_delivery *d, bool *cr)
{
	struct buf header;

	buf_init(&header, HEADER_MAX);
	mail_return_path_write(d->sender, &header);
	mail_delivered_to_write(d->rcpt, &header);
	int error = header.failed ? ENOMEM : write_octets(f, buf_slice(&header), d->lf, cr);
	buf_free(&header);
	return error;
}

static int write_from_file(struct file *f, const struct maildir_delivery *d, bool *cr)
{
	char piece[PIECE];
	uint64_t offset = 0;
	int error = 0;

	while (offset < d->size && !error) {
		size_t n = 0;
		error = d->file->ops->read(d->file, offset, piece, sizeof piece, &n);
		if (!error && n == 0)
			error = EIO; /* shorter than it was: never half a message */
		offset += n;
		if (!error)
			error = write_octets(f, slice_of(piece, n), d->lf, cr);
	}
	return error;
}

static int write_message(struct file *f, const struct maildir_delivery *d)
{
	bool cr = false;
	int error = write_header(f, d, &cr);

	if (!error)
		error = d->file ? write_from_file(f, d, &cr) : write_octets(f, d->body, d->lf, &cr);
	if (!error && cr)
		error = f->ops->write(f, SLICE("\r"));
	return error;
}

/* tmp/NAME, written and synced. */
static void write_one(struct fs *mail, struct maildir_delivery *d)
{
	char tmp[MAILDIR_PATH_MAX];
	struct file *f = NULL;

	d->written = false;
	if (!make_path(d, "tmp", true, tmp) || !make_path(d, "new", true, d->path)) {
		fail(d, "cannot name the file", ENAMETOOLONG);
		return;
	}
	int error = open_new(mail, d, tmp, &f);
	if (error) {
		fail(d, "cannot create a file in the mailbox", error);
		return;
	}
	error = write_message(f, d);
	if (!error)
		error = f->ops->sync(f);
	f->ops->close(f);
	if (error) {
		mail->ops->unlink(mail, tmp);
		fail(d, "cannot write into the mailbox", error);
		return;
	}
	error = mail->ops->rename(mail, tmp, d->path);
	if (error) {
		mail->ops->unlink(mail, tmp);
		fail(d, "cannot move the file into the mailbox", error);
		return;
	}
	d->written = true;
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

	for (size_t i = 0; i < count; i++)
		write_one(mail, &batch[i]);
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
