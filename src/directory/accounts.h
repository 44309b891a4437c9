/*
 * accounts: who may log in, in the database DATA_DIR/accounts/directory.db (SQLite).
 *
 * An account has a login name, the secrets of its password, the addresses that it may send as, and limits. Domains
 * are in it as far as accounts are concerned: a domain can be switched off with all of its accounts, and has limits for
 * those that have none of their own. Which domains take mail is the configuration's matter.
 *
 * A change is in force when its function returns: other processes see it with their next accounts_find. Readers need no
 * right to write, neither to the file nor to its directory; nobody ever waits for a reader. A file that was put in the
 * place of the one that is open (a restored backup), or made after the opening, is noticed by the next accounts_find.
 *
 * A handle is for one thread. Times and random octets are arguments.
 */
#ifndef DIRECTORY_ACCOUNTS_H
#define DIRECTORY_ACCOUNTS_H

#include "base/clock.h"
#include "directory/secrets.h"
#include "mail/address.h"

/* Below the data directory, in a directory of its own: who may look at accounts may look at that, and at nothing else.
 */
#define ACCOUNTS_FILE         "accounts/directory.db"
#define ACCOUNTS_KEY          32
#define ACCOUNT_NAME_MAX      255 /* octets of a login name, in its canonical form */
#define ACCOUNT_ADDRESSES_MAX 64  /* besides its name */
#define ACCOUNT_TEXTS_MAX     (ACCOUNT_ADDRESSES_MAX * (MAIL_PATH_MAX + 1))
#define ACCOUNT_UNLIMITED     UINT32_MAX

enum accounts_result {
	ACCOUNTS_OK,
	ACCOUNTS_NOT_FOUND, /* no such account, or domain */
	ACCOUNTS_EXISTS,
	ACCOUNTS_INVALID, /* an argument is none: a name, an address, too many of them */
	ACCOUNTS_MISSING, /* there is no database: nobody has an account */
	ACCOUNTS_DENIED,  /* no permission to the file, or it is open to others than its owner */
	ACCOUNTS_BUSY,    /* somebody else wrote for longer than we wait */
	ACCOUNTS_DAMAGED,
	ACCOUNTS_VERSION, /* made by a newer version, or another program's */
	ACCOUNTS_FULL,    /* the disk, or a quota */
	ACCOUNTS_IO,
	ACCOUNTS_NO_MEMORY,
};
/* For people, without a period: "the disk is full". Static. */
const char *accounts_result_text(enum accounts_result result);

struct accounts;

/* An account as it is now. Its texts are in it: a struct account is not copied, and wiped after use. */
struct account {
	bool known;   /* false: there is no such account, and the secrets are decoys */
	bool enabled; /* it and its domain; verify the password all the same, and answer 525 5.7.13 only if it is right
		       */
	bool disabled_itself, disabled_by_domain; /* why it is not */
	struct slice name;                        /* canonical; as it was asked for when it is not known */
	struct secrets secrets;
	/* Patterns of policy/pattern.h: "a@example.com", "example.com", ".example.com". The first is its own name, if
	 * that is an address. */
	struct slice addresses[ACCOUNT_ADDRESSES_MAX + 1];
	size_t address_count;
	/* Its own, else its domain's; 0: as the configuration says; ACCOUNT_UNLIMITED. */
	uint32_t messages_per_hour, recipients_per_hour;
	uint32_t own_messages_per_hour, own_recipients_per_hour; /* without its domain's */
	wall_ms created, password_changed;
	/* Private. */
	int64_t id;
	size_t texts_used;
	char texts[2 * ACCOUNT_NAME_MAX + ACCOUNT_TEXTS_MAX];
};
void account_wipe(struct account *a);

/* ---- for those who ask --------------------------------------------------------------------------------------- */

/*
 * A handle that only reads. It is always had but for memory (NULL): whether the file is there, and sound, is found out
 * by each question, so that a server without accounts has them as soon as the first one is added. `path` is copied.
 * `key` is random and makes the decoys as long as there is no database, which has a key of its own.
 */
struct accounts *accounts_reader(const char *path, const uint8_t key[ACCOUNTS_KEY]);
void accounts_close(struct accounts *a); /* NULL is fine */

/*
 * Find an account by its login name, as the client sent it: it is prepared by SASLprep, and compared without regard to
 * ASCII case, its domain in the canonical form. Takes the same time whether there is one or not.
 *
 * ACCOUNTS_OK: *ret holds it, known or not. A name that can be nobody's is as unknown as any other. So verify the
 * password (secrets_verify), and then look at known and enabled; or ask account_scram for what SCRAM needs.
 * ACCOUNTS_MISSING: as OK with nobody known, so that callers may go on; *ret holds decoys.
 * Otherwise *ret is empty, `why` says more (file and cause, for the log), and the answer is 454 4.7.0.
 */
enum accounts_result accounts_find(struct accounts *a, struct slice login, struct account *ret, struct buf *why);

/* What the server's side of SCRAM needs: the account's verifier, or a decoy that looks like one when it is not known or
 * has none. With a decoy no proof is ever right. */
void account_scram(const struct accounts *a, const struct account *account, enum scram_hash hash,
		   struct scram_verifier *ret);

/* Whether it may send as the address, in the envelope or in From. `delimiter` of sub-addresses is stripped from the
 * local part, too, if it is not 0: who may send as alice@ may send as alice+list@. */
bool account_may_send_as(const struct account *account, const struct mail_address *address, char delimiter);
/* The same by the patterns of an account. */
bool account_patterns_allow(const struct slice *patterns, size_t count, const struct mail_address *address,
			    char delimiter);

/* ---- for those who change ------------------------------------------------------------------------------------ */

struct accounts_config {
	const char *path;
	bool create;               /* make the file if it is not there: mode 0600, of the directory's owner */
	uint8_t key[ACCOUNTS_KEY]; /* random: the key of a database that is made */
	span_ms busy_wait;         /* for other writers; 0: 10 s */
};
/* A handle that reads and writes. Otherwise NULL, and `why` says what is wrong with which file. */
enum accounts_result accounts_open(const struct accounts_config *config, struct accounts **ret, struct buf *why);

/* Append the canonical form of a login name. On failure (empty, too long, control characters, forbidden by SASLprep, a
 * domain that is none behind the last '@') *why is a static text. */
bool account_name_canonical(struct slice login, struct buf *out, const char **why);

/*
 * Several changes as one: all of them or none. Without begin, each function is a change of its own. After a failure
 * within, only accounts_roll_back is of use; closing the handle rolls back, too.
 */
enum accounts_result accounts_begin(struct accounts *a);
enum accounts_result accounts_commit(struct accounts *a);
void accounts_roll_back(struct accounts *a);
/* What the last failure of this handle was about, for people: "/var/lib/postrider/directory.db: disk I/O error". Lent.
 */
struct slice accounts_why(const struct accounts *a);

/* A new account, enabled, with its name as its only address if it is one. EXISTS, INVALID. */
enum accounts_result accounts_add(struct accounts *a, struct slice login, const struct secrets *secrets, wall_ms now);
enum accounts_result accounts_remove(struct accounts *a, struct slice login);
enum accounts_result accounts_set_password(struct accounts *a, struct slice login, const struct secrets *secrets,
					   wall_ms now);
/* After a login with the right password, when secrets_outdated: the new secrets take the place of `old`, if these are
 * still in force. NOT_FOUND when the password was changed meanwhile. */
enum accounts_result accounts_renew(struct accounts *a, const struct account *old, const struct secrets *secrets);
enum accounts_result accounts_set_enabled(struct accounts *a, struct slice login, bool enabled);
/* 0: as its domain, or the configuration, says. */
enum accounts_result accounts_set_limits(struct accounts *a, struct slice login, uint32_t messages_per_hour,
					 uint32_t recipients_per_hour);
/* A pattern more, or less, that the account may send as. EXISTS; NOT_FOUND; INVALID with *why. */
enum accounts_result accounts_add_address(struct accounts *a, struct slice login, struct slice pattern);
enum accounts_result accounts_remove_address(struct accounts *a, struct slice login, struct slice pattern);

/*
 * Every account in the order of names, those of one domain only if `domain` is not empty. Until `each` returns false,
 * which is OK. The account is lent, and wiped afterwards.
 */
enum accounts_result accounts_list(struct accounts *a, struct slice domain,
				   bool (*each)(void *arg, const struct account *account), void *arg);

/* ---- domains of accounts ------------------------------------------------------------------------------------- */

struct account_domain {
	char name[MAIL_DOMAIN_MAX + 1]; /* canonical, NUL-terminated */
	bool enabled;
	uint32_t messages_per_hour, recipients_per_hour; /* 0: as the configuration says; ACCOUNT_UNLIMITED */
	uint64_t accounts, disabled; /* how many accounts it has, and how many of them are switched off by themselves */
};
/* A domain without accounts and settings is there all the same, enabled and empty; and so it is when MISSING. INVALID
 * when it is no domain name. */
enum accounts_result accounts_find_domain(struct accounts *a, struct slice name, struct account_domain *ret);
enum accounts_result accounts_set_domain_enabled(struct accounts *a, struct slice name, bool enabled);
enum accounts_result accounts_set_domain_limits(struct accounts *a, struct slice name, uint32_t messages_per_hour,
						uint32_t recipients_per_hour);
/* Every domain that has accounts or settings, in the order of names. */
enum accounts_result accounts_list_domains(struct accounts *a,
					   bool (*each)(void *arg, const struct account_domain *domain), void *arg);

#endif
