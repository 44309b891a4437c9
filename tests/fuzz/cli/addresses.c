/*
 * Address lists of header fields. What comes out is clean, and is found again where it is written in other forms: in
 * angle brackets, behind a name with every special character, in a group, with comments and folding between.
 */
#include "cli/compose.h"
#include "mail/address.h"

#include <assert.h>
#include <string.h>

struct found {
	struct buf text; /* each address with a NUL behind it */
	size_t count;
};

static const char *note(void *arg, struct slice address)
{
	struct found *f = arg;

	assert(address.n > 0 && address.n <= COMPOSE_ADDRESS_MAX);
	for (size_t i = 0; i < address.n; i++)
		assert(address.p[i] != '\0' && address.p[i] != '\r' && address.p[i] != '\n');
	buf_add(&f->text, address);
	buf_add_char(&f->text, '\0');
	f->count++;
	return NULL;
}

static const char *note_valid(void *arg, struct slice address)
{
	struct mail_address parsed;
	const char *why;

	return mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK ? note(arg, address) : NULL;
}

static void found_init(struct found *f, size_t max)
{
	*f = (struct found){0};
	buf_init(&f->text, max);
}

/* Writes what was found in another form, and finds it again. */
static void check_form(struct found *f, size_t max, const char *open, const char *before, const char *after,
		       const char *close)
{
	struct found again;
	struct buf list;
	size_t octets = 0;

	buf_init(&list, max);
	found_init(&again, max);
	buf_add(&list, slice_from_cstr(open));
	for (struct slice rest = buf_slice(&f->text); rest.n; octets++) {
		buf_add(&list, slice_from_cstr(before));
		buf_add(&list, slice_split(&rest, '\0'));
		buf_add(&list, slice_from_cstr(after));
	}
	buf_add(&list, slice_from_cstr(close));
	assert(!list.failed && octets == f->count);
	assert(!mail_address_list(buf_slice(&list), note, &again));
	assert(again.count == f->count);
	assert(slice_eq(buf_slice(&again.text), buf_slice(&f->text)));
	buf_free(&list);
	buf_free(&again.text);
}

static void check_rcpts(struct slice in)
{
	struct compose_rcpts r;
	struct mail_address parsed;
	const char *why;

	compose_rcpts_init(&r, SLICE("host.example"), (struct hash_key){1, 2});
	compose_rcpts_add_list(&r, in);
	size_t count = r.count;
	for (size_t i = 0; i < count; i++) {
		struct slice a = r.list[i].address;
		assert(mail_address_parse(a, &parsed, &why) == MAIL_ADDRESS_OK || slice_ieq(a, SLICE("postmaster")));
		/* Each stands there once. */
		assert(!compose_rcpts_add(&r, a) && r.count == count);
	}
	compose_rcpts_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct found all, valid;
	size_t max = 64 + 80 * (size + 1);

	found_init(&all, max);
	found_init(&valid, max);
	const char *why = mail_address_list(in, note, &all);
	const char *same = mail_address_list(in, note_valid, &valid);
	assert(why == same && valid.count <= all.count && buf_len(&all.text) <= size + all.count);
	check_form(&valid, max, "", "<", ">,", "");
	check_form(&valid, max, "", "\"N, <o@p>; \\\" (x\" <@r.example,@s.example:", ">\r\n ,", "");
	check_form(&valid, max, "group (of (all)) name:", "(c\\))", "\t(d),\r\n\t", ";");
	check_rcpts(in);
	buf_free(&all.text);
	buf_free(&valid.text);
	return 0;
}
