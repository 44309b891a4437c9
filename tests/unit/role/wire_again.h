/*
 * wire_again: decode a frame and encode what came out, for tests and the fuzzer: a frame that is accepted says exactly
 * what its decoded value says.
 */
#ifndef WIRE_AGAIN_H
#define WIRE_AGAIN_H

#include "role/wire_auth.h"

/* The frames that carry more than a number. */
enum wire_kind {
	KIND_PEER,
	KIND_NUMBER,
	KIND_MESSAGE,
	KIND_ANSWER,
	KIND_JOB,
	KIND_OUTCOME,
	KIND_LIST,
	KIND_OPERATE,
	KIND_ROW,
	KIND_TRACE,
	KIND_HISTORY,
	KIND_SITE,
	KIND_END,
	KIND_BACKUP,
	KIND_CERTIFICATES,
	KIND_TICKETS,
	KIND_SECRETS,
	KIND_SIGN,
	KIND_SIGNED,
	KIND_TRUST,
	KIND_AUTH_TAG,
	KIND_AUTH_BEGIN,
	KIND_AUTH_STEP,
	KIND_AUTH_DONE,
	KIND_AUTH_SPEND,
	KIND_AUTH_SPENT,
	KIND_AUTH_USED,
	KIND_SYSTEM,
	KIND_FILE,
	KIND_PROCESSES,
	KIND_COUNT,
};

#define AGAIN(type, get, put)         \
	do {                          \
		type value;           \
		if (!get(in, &value)) \
			return false; \
		put(out, &value);     \
		return true;          \
	} while (0)

static inline bool secrets_again(struct slice in, struct buf *out)
{
	struct wire_secrets list;
	struct wire_secret secret;

	if (!wire_get_secrets(in, &list))
		return false;
	wire_put_secrets(out, list.count);
	while (wire_next_secret(&list, &secret))
		wire_put_secret(out, &secret);
	return true;
}

static inline bool wire_again(enum wire_kind kind, struct slice in, struct arena *arena, struct buf *out)
{
	struct queue_put put;
	struct queue_job job;
	uint64_t number;

	switch (kind) {
	case KIND_PEER:
		AGAIN(struct wire_peer, wire_get_peer, wire_put_peer);
	case KIND_NUMBER:
		if (!wire_get_number(in, &number))
			return false;
		wire_put_number(out, number);
		return true;
	case KIND_MESSAGE:
		if (!wire_get_message(in, arena, &number, &put))
			return false;
		wire_put_message(out, number, &put);
		return true;
	case KIND_ANSWER:
		AGAIN(struct wire_answer, wire_get_answer, wire_put_answer);
	case KIND_JOB:
		if (!wire_get_job(in, arena, &job))
			return false;
		wire_put_job(out, &job);
		return true;
	case KIND_OUTCOME:
		AGAIN(struct queue_outcome, wire_get_outcome, wire_put_outcome);
	case KIND_LIST:
		AGAIN(struct wire_list, wire_get_list, wire_put_list);
	case KIND_OPERATE:
		AGAIN(struct wire_operate, wire_get_operate, wire_put_operate);
	case KIND_ROW:
		AGAIN(struct wire_row, wire_get_row, wire_put_row);
	case KIND_TRACE:
		AGAIN(struct wire_trace, wire_get_trace, wire_put_trace);
	case KIND_HISTORY:
		AGAIN(struct store_history, wire_get_history, wire_put_history);
	case KIND_SITE:
		AGAIN(struct queue_site_view, wire_get_site, wire_put_site);
	case KIND_END:
		AGAIN(struct wire_end, wire_get_end, wire_put_end);
	case KIND_BACKUP:
		AGAIN(struct wire_backup, wire_get_backup, wire_put_backup);
	case KIND_CERTIFICATES:
		AGAIN(struct wire_certificates, wire_get_certificates, wire_put_certificates);
	case KIND_TICKETS:
		AGAIN(struct tls_tickets, wire_get_tickets, wire_put_tickets);
	case KIND_SECRETS:
		return secrets_again(in, out);
	case KIND_SIGN:
		AGAIN(struct wire_sign, wire_get_sign, wire_put_sign);
	case KIND_SIGNED:
		AGAIN(struct wire_signed, wire_get_signed, wire_put_signed);
	case KIND_TRUST:
		AGAIN(struct tls_trust_text, wire_get_trust, wire_put_trust);
	case KIND_AUTH_TAG:
		AGAIN(struct wire_auth_tag, wire_get_auth_tag, wire_put_auth_tag);
	case KIND_AUTH_BEGIN:
		AGAIN(struct wire_auth_begin, wire_get_auth_begin, wire_put_auth_begin);
	case KIND_AUTH_STEP:
		AGAIN(struct wire_auth_step, wire_get_auth_step, wire_put_auth_step);
	case KIND_AUTH_DONE:
		AGAIN(struct wire_auth_done, wire_get_auth_done, wire_put_auth_done);
	case KIND_AUTH_SPEND:
		AGAIN(struct wire_auth_spend, wire_get_auth_spend, wire_put_auth_spend);
	case KIND_AUTH_SPENT:
		AGAIN(struct wire_auth_spent, wire_get_auth_spent, wire_put_auth_spent);
	case KIND_AUTH_USED:
		AGAIN(struct wire_auth_used, wire_get_auth_used, wire_put_auth_used);
	case KIND_SYSTEM:
		AGAIN(struct wire_system, wire_get_system, wire_put_system);
	case KIND_FILE:
		AGAIN(struct wire_file, wire_get_file, wire_put_file);
	case KIND_PROCESSES:
		AGAIN(struct wire_processes, wire_get_processes, wire_put_processes);
	case KIND_COUNT:
		break;
	}
	return false;
}

#endif
