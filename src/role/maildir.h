/*
 * maildir: messages into Maildirs, a batch at a time.
 *
 * Each message is written to tmp/, synced, renamed into new/, and the directory synced; only then is it delivered. A
 * batch shares the syncs of directories, and a large one that of its files too, but for mailboxes with a limit. The
 * file's name comes from the message's id, the recipient's number and the time of arrival, so that a second delivery
 * after a crash replaces the first instead of adding to it while nobody has opened it yet. In a mailbox with a limit
 * the name also says how large the file is (",S=1234", Maildir++).
 *
 * What becomes of a message that cannot be delivered, and when it is tried again:
 *
 *	the mailbox is full                       4.2.2, and 5.2.2 once the message is older than `full_wait`
 *	it is larger than the mailbox may become  5.2.3
 *	the mailbox cannot be written for a reason of its own (a file where a directory should be, no permission ...)
 *	                                          4.2.0
 *	the disk is full, or does not work        4.3.1, 4.3.0
 *	the message cannot be read any more       4.6.6
 */
#ifndef ROLE_MAILDIR_H
#define ROLE_MAILDIR_H

#include "base/crc32c.h"
#include "base/id.h"
#include "queue/store.h"
#include "role/maildir_quota.h"
#include "smtp/outcome.h"

/* So many files or more are made durable with their whole file system, see sync_all of fs_ops. */
#define MAILDIR_SHARED_SYNC 4

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
	struct store_digest digest; /* of the file */
	const struct crc32c *crc;
	bool lf;             /* write LF for CRLF */
	/* With a limit, all of these count. It is for files, whose size is taken to be that of the message as it came
	 * and of the two fields: at least what it will be. */
	struct maildir_limit limit;
	struct maildir_counts *counts;
	mono_ms now;
	span_ms age;       /* of the message */
	span_ms full_wait; /* as long a message waits for a full mailbox */
	/* Out. */
	struct smtp_outcome outcome; /* its text is static or in `why` */
	char path[MAILDIR_PATH_MAX]; /* of the file in new/ */
	char why[160];
	bool written;    /* between the two halves of a batch */
	struct file *made; /* in tmp/, while it is open */
	bool unreadable; /* what failed was reading `file` */
	bool damaged;    /* its octets do not fit `digest` */
	uint64_t octets; /* written to the file */
};

/* `mail` is the mail directory. Every delivery gets its outcome. */
void maildir_deliver(struct fs *mail, struct maildir_delivery *batch, size_t count);

#endif
