/*
 * maildir_quota: how much a mailbox holds, and how much it may (Maildir++, the convention that Courier began and
 * Dovecot keeps).
 *
 * The file `maildirsize` in the mailbox says in its first line what may be there ("1000000S,1000C": octets and
 * messages), and in each further one what came or went ("1234 1", "-1234 -1"). Who delivers or deletes adds a line. The
 * sum is what counts until it cannot be right, or says that the mailbox is full: then the files in new and cur of the
 * mailbox and of its folders are counted, and the file is written anew. So a program that deletes messages and knows
 * nothing of the file, two that write it at once, and damage of any kind do no lasting harm.
 *
 * Everything counts, in whatever folder and with whatever flag: what lies on the disk. A mailbox is counted once in
 * MAILDIR_RECOUNT at most, however much mail comes for it, and no further than MAILDIR_MESSAGES_MAX messages: with a
 * limit it can hold no more than that.
 */
#ifndef ROLE_MAILDIR_QUOTA_H
#define ROLE_MAILDIR_QUOTA_H

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"

#define MAILDIR_PATH_MAX     512
#define MAILDIR_RECOUNT      MINUTE
#define MAILDIR_MESSAGES_MAX 1000000
#define MAILDIR_SIZE_FILE    5120 /* octets of maildirsize; a longer one is written anew */
#define MAILDIR_COUNTS_MAX   1024

/* 0: no limit. */
struct maildir_limit {
	uint64_t octets, messages;
};

struct maildir_use {
	uint64_t octets, messages;
};

/* What was counted of late: a table of fixed size, in which mailboxes may push each other out. */
struct maildir_counts {
	struct hash_key key;
	struct maildir_count {
		uint64_t mailbox;
		mono_ms at;
		struct maildir_use use; /* then, and what was delivered since */
		bool set;
	} list[MAILDIR_COUNTS_MAX];
};

static inline bool maildir_is_limited(const struct maildir_limit *limit)
{
	return limit->octets > 0 || limit->messages > 0;
}

/* Whether a mailbox that holds `use` takes one message of that size. */
bool maildir_fits(const struct maildir_limit *limit, const struct maildir_use *use, uint64_t size);

/*
 * What a mailbox holds, exact whenever a message of `size` octets does not seem to fit. `mailbox` is a path below
 * `mail`; a mailbox that is not there holds nothing, one with more than MAILDIR_MESSAGES_MAX messages has room for
 * none. 0, or the errno value of why it cannot be counted.
 */
int maildir_use_of(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
		   struct maildir_counts *counts, mono_ms now, uint64_t size, struct maildir_use *ret);

/* A message of that size was delivered, after maildir_use_of at the same time. What cannot be written down is found by
 * the next count. */
void maildir_use_add(struct fs *mail, struct slice mailbox, const struct maildir_limit *limit,
		     struct maildir_counts *counts, mono_ms now, uint64_t size);

#endif
