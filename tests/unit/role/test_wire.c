#include "test.h"

#include "wire_again.h"

static const struct mail_rcpt rcpts[] = {
	{.address = {"alice@example.com", 17},
	 .orcpt = {"rfc822;a", 8},
	 .notify = MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_DELAY},
	{.address = {"bob@example.com", 15}},
};
static const struct mail_envelope envelope = {
	.sender = {"s@example.net", 13},
	.envid = {"e1", 2},
	.body = MAIL_BODY_8BITMIME,
	.ret = MAIL_RET_HDRS,
	.utf8 = true,
	.rcpt = rcpts,
	.rcpt_count = 2,
};
static const struct smtp_outcome outcome = {
	.verdict = SMTP_DEFERRED,
	.stage = SMTP_STAGE_RCPT,
	.code = 450,
	.status = {4, 2, 1},
	.text = {"busy\n\0x", 7},
	.ambiguous = true,
	.lossy = true,
	.secured = {"TLSv1.3, verified", 17},
};
static const struct store_message stored = {
	.id = 99,
	.arrived = 1,
	.sender = {"s@example.net", 13},
	.origin = {.client = {"192.0.2.1", 9}},
	.size = 5,
	.rcpt_count = 2,
	.open = 1,
};

static const struct wire_certificates certificates = {
	.list = {{.name = {"mx.example.com", 14}, .certificates = {{"leaf", 4}, {"root", 4}}, .count = 2,
		  .staple = {"good", 4}, .staple_until = 1795219200000},
		 {.name = {"*.example.org", 13}, .certificates = {{"leaf", 4}}, .count = 1}},
	.count = 2,
};

static void sample(enum wire_kind kind, struct buf *out)
{
	static const uint32_t numbers[] = {0, 7};
	static const struct slice mailboxes[] = {{"example.com/alice", 17}, {"example.com/bob", 15}};

	switch (kind) {
	case KIND_PEER:
		wire_put_peer(out, &(struct wire_peer){ROLE_SENDER, 3});
		break;
	case KIND_NUMBER:
		wire_put_number(out, 42);
		break;
	case KIND_MESSAGE:
		wire_put_message(out, 5,
				 &(struct queue_put){.id = 77,
						     .envelope = &envelope,
						     .size = 4,
						     .origin = {.client = SLICE("192.0.2.1")},
						     .body = SLICE("body")});
		break;
	case KIND_ANSWER:
		wire_put_answer(out, &(struct wire_answer){9, STORE_FULL});
		break;
	case KIND_JOB:
		wire_put_job(out, &(struct queue_job){.job = 1,
						      .id = 77,
						      .route = {ROUTE_MAILBOX, .site = SLICE("local/x")},
						      .connections = 4,
						      .envelope = envelope,
						      .n = numbers,
						      .mailboxes = mailboxes,
						      .size = 4,
						      .age = 3,
						      .body = SLICE("body")});
		break;
	case KIND_OUTCOME:
		wire_put_outcome(out, &(struct queue_outcome){.id = 77,
							      .n = 7,
							      .job = 1,
							      .outcome = outcome,
							      .remote = SLICE("mx"),
							      .took = 12,
							      .site_failed = true});
		break;
	case KIND_LIST:
		wire_put_list(out, &(struct wire_list){.filter = {.sender = SLICE("@x"), .state = -1}, .limit = 10});
		break;
	case KIND_OPERATE:
		wire_put_operate(out, &(struct wire_operate){QUEUE_HOLD, {.id = 3, .state = 1}});
		break;
	case KIND_ROW:
		wire_put_row(out,
			     &(struct wire_row){.message = stored,
						.rcpt = {.n = 1, .rcpt = rcpts[0], .last = outcome, .attempts = 2},
						.rests = 7,
						.site_last = outcome,
						.site_remote = SLICE("mx")});
		break;
	case KIND_TRACE:
		wire_put_trace(out, &(struct wire_trace){stored, 5000});
		break;
	case KIND_HISTORY:
		wire_put_history(out, &(struct store_history){STORE_EVENT_ATTEMPT, 5, 1, outcome, SLICE("mx"), 3, 0,
							      SLICE("text"), 9});
		break;
	case KIND_SITE:
		wire_put_site(out, &(struct queue_site_view){SLICE("example.net"), 5, 4, 3, 9, outcome, SLICE("mx")});
		break;
	case KIND_END:
		wire_put_end(out, &(struct wire_end){.count = 3, .busy = 1});
		break;
	case KIND_BACKUP:
		wire_put_backup(out, &(struct wire_backup){WIRE_BACKUP_RENEW, 77});
		break;
	case KIND_CERTIFICATES:
		wire_put_certificates(out, &certificates);
		break;
	case KIND_TICKETS:
		wire_put_tickets(out, &(struct tls_tickets){.count = 2, .lifetime = HOUR});
		break;
	case KIND_SECRETS:
		wire_put_secrets(out, 2);
		wire_put_secret(out, &(struct wire_secret){SLICE("*"), SLICE("secret")});
		wire_put_secret(out, &(struct wire_secret){SLICE("example.net"), SLICE("x")});
		break;
	case KIND_SIGN:
		wire_put_sign(out, &(struct wire_sign){
					   5, {.digest = TLS_SHA384, .padding = TLS_PADDING_PSS, .n = 100}});
		break;
	case KIND_SIGNED:
		wire_put_signed(out, &(struct wire_signed){5, SLICE("signature")});
		break;
	case KIND_TRUST:
		wire_put_trust(out, &(struct tls_trust_text){SLICE("authorities"), SLICE("revoked")});
		break;
	case KIND_AUTH_TAG:
		wire_put_auth_tag(out, &(struct wire_auth_tag){5, 6});
		break;
	case KIND_AUTH_BEGIN:
		wire_put_auth_begin(out, &(struct wire_auth_begin){.tag = {5, 6},
								   .mechanism = SASL_PLAIN,
								   .plus_offered = true,
								   .given = true,
								   .exporter = SLICE("exporter"),
								   .unique = SLICE("unique"),
								   .certificate = SLICE("email:a@example.com"),
								   .client = {.size = 4, .octets = {192, 0, 2, 1}},
								   .session = SLICE("0-1"),
								   .response = SLICE("\0a\0b")});
		break;
	case KIND_AUTH_STEP:
		wire_put_auth_step(out, &(struct wire_auth_step){{5, 6}, SLICE("a challenge")});
		break;
	case KIND_AUTH_DONE:
		wire_put_auth_done(out, &(struct wire_auth_done){.tag = {5, 6},
								 .result = SASL_GOOD,
								 .login = SLICE("alice@example.com"),
								 .addresses = {SLICE("alice@example.com"),
									       SLICE(".example.com")},
								 .address_count = 2});
		break;
	case KIND_AUTH_SPEND:
		wire_put_auth_spend(out, &(struct wire_auth_spend){{5, 6}, SLICE("alice")});
		break;
	case KIND_AUTH_SPENT:
		wire_put_auth_spent(out, &(struct wire_auth_spent){{5, 6}, WIRE_ALLOWED, 7});
		break;
	case KIND_AUTH_USED:
		wire_put_auth_used(out, &(struct wire_auth_used){SLICE("alice"), 7});
		break;
	case KIND_SYSTEM:
		wire_put_system(out, &(struct wire_system){SLICE("nameserver 192.0.2.53\n"), SLICE("127.0.0.1 x\n")});
		break;
	case KIND_FILE:
		wire_put_file(out, &(struct wire_file){WIRE_FILE_KEY, 3, 13});
		break;
	case KIND_PROCESSES:
		wire_put_processes(out, &(struct wire_processes){{7, 8}, 2});
		break;
	case KIND_COUNT:
		break;
	}
}

static void every_frame_survives_the_way(void **state)
{
	(void)state;
	struct arena arena;
	struct buf in, out;

	arena_init(&arena, 100000);
	buf_init(&in, 10000);
	buf_init(&out, 10000);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		buf_reset(&in);
		buf_reset(&out);
		sample(kind, &in);
		assert_true(buf_len(&in) > 0);
		assert_true(wire_again(kind, buf_slice(&in), &arena, &out));
		assert_true(slice_eq(buf_slice(&in), buf_slice(&out)));
		arena_reset(&arena);
	}
	arena_free(&arena);
	buf_free(&in);
	buf_free(&out);
}

/* attacks L6, L7: each role takes what another says as a stranger's word. */
static void L7_a_frame_cut_short_or_too_long_is_refused(void **state)
{
	(void)state;
	struct arena arena;
	struct buf in, out;

	arena_init(&arena, 100000);
	buf_init(&in, 10000);
	buf_init(&out, 10000);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		buf_reset(&in);
		sample(kind, &in);
		for (size_t n = 0; n < buf_len(&in); n++) {
			char *copy = test_exact_copy(slice_head(buf_slice(&in), n));
			assert_false(wire_again(kind, slice_of(copy, n), &arena, &out));
			free(copy);
			arena_reset(&arena);
		}
		buf_add_char(&in, 'x');
		assert_false(wire_again(kind, buf_slice(&in), &arena, &out));
		arena_reset(&arena);
	}
	arena_free(&arena);
	buf_free(&in);
	buf_free(&out);
}

static void L7_values_out_of_bounds_are_refused(void **state)
{
	(void)state;
	struct arena arena;
	struct buf in;
	uint64_t tag;
	struct queue_put put;
	struct queue_outcome o;

	arena_init(&arena, 100000);
	buf_init(&in, 10000);
	/* No recipient; id 0; a size that the body does not have; a verdict that its status contradicts. */
	struct mail_envelope none = envelope;
	none.rcpt_count = 0;
	struct queue_job job;
	wire_put_job(&in, &(struct queue_job){.job = 1, .id = 1, .route = {ROUTE_SMTP}, .age = -1});
	assert_false(wire_get_job(buf_slice(&in), &arena, &job));
	buf_reset(&in);
	wire_put_message(&in, 1, &(struct queue_put){.id = 1, .envelope = &none});
	assert_false(wire_get_message(buf_slice(&in), &arena, &tag, &put));
	buf_reset(&in);
	wire_put_message(&in, 1, &(struct queue_put){.id = 0, .envelope = &envelope});
	assert_false(wire_get_message(buf_slice(&in), &arena, &tag, &put));
	buf_reset(&in);
	wire_put_message(&in, 1, &(struct queue_put){.id = 1, .envelope = &envelope, .size = 5, .body = SLICE("four")});
	assert_false(wire_get_message(buf_slice(&in), &arena, &tag, &put));
	buf_reset(&in);
	struct smtp_outcome wrong = outcome;
	wrong.verdict = SMTP_DELIVERED;
	wire_put_outcome(&in, &(struct queue_outcome){.id = 1, .job = 1, .outcome = wrong});
	assert_false(wire_get_outcome(buf_slice(&in), &o));
	arena_free(&arena);
	buf_free(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_survives_the_way),
		cmocka_unit_test(L7_a_frame_cut_short_or_too_long_is_refused),
		cmocka_unit_test(L7_values_out_of_bounds_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
