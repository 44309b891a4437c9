/*
 * Digests of what is put and never changes: bodies, and the envelope in the rows of a message and its recipients.
 *
 * Each begins with the message's id, so that nothing passes for what belongs to another message. What changes with time
 * (states, times, counts) has none, nor has a recipient's number, which the salvage may change.
 */
#include "queue/store_sqlite.h"

#include <string.h>

#define NUMBERS_MAX 32

/* Numbers and lengths first, then the texts. */
struct row_digest {
	char octets[8 * NUMBERS_MAX];
	size_t n;
};

static void add(struct row_digest *d, uint64_t number)
{
	for (size_t i = 0; i < 8; i++)
		d->octets[d->n++] = (char)(number >> (8 * i) & 0xff);
}

static uint32_t end(struct row_digest *d, const struct crc32c *crc, const struct slice *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add(d, texts[i].n);
	uint32_t value = crc32c_add(crc, 0, slice_of(d->octets, d->n));
	for (size_t i = 0; i < count; i++)
		value = crc32c_add(crc, value, texts[i]);
	return value;
}

uint32_t sqlite_body_digest(const struct sqlite_store *s, msg_id id, struct slice body)
{
	return crc32c_add(&s->crc, store_digest_begin(&s->crc, id), body);
}

uint32_t sqlite_message_digest(const struct sqlite_store *s, const struct store_message *m)
{
	struct row_digest d;
	const uint64_t numbers[] = {
		m->id,    m->body_in_file,  m->digest.known,    m->digest.value,  m->size,
		m->about, (uint64_t)m->arrived, (uint64_t)m->arrived_queue, m->flow, m->content,
		m->body,  m->ret,           m->utf8,
	};
	const struct slice texts[] = {m->sender,      m->envid,           m->origin.client,
				      m->origin.helo, m->origin.protocol, m->origin.user};

	d.n = 0;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		add(&d, numbers[i]);
	return end(&d, &s->crc, texts, sizeof texts / sizeof *texts);
}

uint32_t sqlite_rcpt_digest(const struct sqlite_store *s, msg_id id, uint64_t flow, const struct mail_rcpt *rcpt)
{
	struct row_digest d;
	const struct slice texts[] = {rcpt->address, rcpt->orcpt};

	d.n = 0;
	add(&d, id);
	add(&d, flow);
	add(&d, rcpt->notify);
	return end(&d, &s->crc, texts, sizeof texts / sizeof *texts);
}
