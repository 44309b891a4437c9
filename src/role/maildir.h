/*
 * maildir: messages into Maildirs, a batch at a time.
 *
 * Each message is written to tmp/, synced, renamed into new/, and the directory synced; only then is it delivered. A
 * batch shares the syncs of directories. The file's name comes from the message's id, the recipient's number and the
 * time of arrival, so that a second delivery after a crash replaces the first instead of adding to it while nobody has
 * opened it yet.
 */
#ifndef ROLE_MAILDIR_H
#define ROLE_MAILDIR_H

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "smtp/outcome.h"

#define MAILDIR_PATH_MAX 512

/* One message for one mailbox. */
struct maildir_delivery {
	/* In. All is lent until maildir_deliver returns. */
	struct slice mailbox; /* path below the mail directory, "example.com/alice", safe as a path */
	struct slice host;    /* our host name, for the file's name */
	msg_id id;
	uint32_t n;
	wall_ms arrived;
	struct slice sender; /* Return-Path */
	struct slice rcpt;   /* Delivered-To */
	struct slice body;   /* or ... */
	struct file *file;   /* ... read from here */
	uint64_t size;       /* octets of the message */
	bool lf;             /* write LF for CRLF */
	/* Out. */
	struct smtp_outcome outcome; /* its text is static or in `why` */
	char path[MAILDIR_PATH_MAX]; /* of the file in new/ */
	char why[160];
	bool written; /* between the two halves of a batch */
};

/* `mail` is the mail directory. Every delivery gets its outcome. */
void maildir_deliver(struct fs *mail, struct maildir_delivery *batch, size_t count);

#endif
