/*
 * The auth role: it alone reads credentials, and says who a client is. It sees no network: what it gets are the
 * responses of clients, by way of the receivers, and a receiver hears a name or a refusal and nothing of a password.
 *
 * A step that hashes a password takes 50 ms or more. Such steps wait in one line and are taken one in each turn, so
 * that frames are read in between; the line is bounded, as a whole and for each network, and who finds it full hears
 * "later".
 *
 * Guessing is slowed (role/auth_guard.h): each failure counts for its account and its network, the answer to it is held
 * back, and beyond the limits nothing is looked at any more.
 */
#include "role/auth_guard.h"
#include "role/auth_tokens.h"
#include "role/role.h"
#include "role/wire_auth.h"

#include "base/heap.h"
#include "net/channel.h"
#include "net/descriptor.h"
#include "net/log.h"
#include "policy/pattern.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXCHANGES_MAX    4096 /* under way */
#define SLOW_MAX         200  /* that wait for their turn: some ten seconds of work */
#define SLOW_PER_NETWORK 20
#define BUCKETS          1024

enum exchange_state {
	WAITS_FOR_CLIENT,
	WAITS_FOR_TURN,
	WAITS_FOR_DELAY, /* the answer is known and held back */
};

struct exchange {
	struct exchange *next_of_bucket, *next; /* `next`: in the line, or of those held back */
	struct auth_peer *peer;
	struct wire_auth_tag tag;
	struct sasl_exchange *sasl;
	enum sasl_mechanism mechanism;
	enum exchange_state state;
	struct auth_place place; /* where the client is */
	struct ip_address client;
	char session[WIRE_SESSION_NAME_MAX + 1];
	struct buf response; /* WAITS_FOR_TURN */
	enum sasl_result result;
	mono_ms due; /* WAITS_FOR_DELAY */
};

struct auth_peer {
	struct auth *auth;
	uint32_t index;
	struct channel *channel; /* NULL: none */
};

struct auth {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct accounts *accounts;
	struct sasl *sasl;
	struct tokens *tokens; /* NULL: there are none, or no keys for them */
	struct credential_file token_keys; /* from the supervisor, for the next configuration */
	struct auth_guard *guard;
	struct auth_peer receivers[CONF_PROCESS_MAX];
	struct exchange *buckets[BUCKETS];
	size_t exchanges;
	struct exchange *line, **line_end;
	size_t line_length;
	struct exchange *held;
	struct loop_timer *work, *release;
	char path[1100];
	struct buf frame, challenge;
};

/* ---- the table of exchanges ------------------------------------------------------------------------------------ */

static struct exchange **find(struct auth_peer *p, struct wire_auth_tag tag)
{
	struct exchange **at = &p->auth->buckets[(tag.session ^ tag.session >> 32 ^ tag.serial ^ p->index) % BUCKETS];

	while (*at && !((*at)->peer == p && (*at)->tag.session == tag.session && (*at)->tag.serial == tag.serial))
		at = &(*at)->next_of_bucket;
	return at;
}

static void take_out_of(struct exchange **list, const struct exchange *e)
{
	while (*list != e)
		list = &(*list)->next;
	*list = e->next;
}

static void leave_line(struct auth *a, struct exchange *e)
{
	if (e->state == WAITS_FOR_TURN) {
		take_out_of(&a->line, e);
		a->line_length--;
		for (a->line_end = &a->line; *a->line_end; a->line_end = &(*a->line_end)->next)
			;
	}
	if (e->state == WAITS_FOR_DELAY)
		take_out_of(&a->held, e);
	e->state = WAITS_FOR_CLIENT;
	e->next = NULL;
}

static void end_exchange(struct exchange *e)
{
	struct auth *a = e->peer->auth;
	struct exchange **at = find(e->peer, e->tag);

	assert(*at == e);
	leave_line(a, e);
	*at = e->next_of_bucket;
	a->exchanges--;
	sasl_end(e->sasl);
	buf_wipe(&e->response);
	heap_free(e);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

/* What cannot be sent leaves a receiver that waits: its channel is as good as lost. */
static void send_frame(struct auth_peer *p, uint16_t type)
{
	struct auth *a = p->auth;

	if (a->frame.failed || !channel_send(p->channel, type, buf_slice(&a->frame), -1))
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "an answer about credentials"));
}

static void answer_tag(struct auth_peer *p, struct wire_auth_tag tag, enum sasl_result result,
		       const struct account *account)
{
	struct wire_auth_done done = {.tag = tag, .result = result};

	if (result == SASL_GOOD) {
		done.login = account->name;
		done.address_count = account->address_count;
		memcpy(done.addresses, account->addresses, account->address_count * sizeof *done.addresses);
	}
	buf_reset(&p->auth->frame);
	wire_put_auth_done(&p->auth->frame, &done);
	send_frame(p, WIRE_AUTH_DONE);
}

static void answer(struct exchange *e)
{
	answer_tag(e->peer, e->tag, e->result, e->result == SASL_GOOD ? sasl_account(e->sasl) : NULL);
	end_exchange(e);
}

static void log_result(const struct exchange *e)
{
	struct ip_text client = ip_format(&e->client);
	struct slice login = sasl_login(e->sasl), where = e->client.size ? slice_from_cstr(client.text) : SLICE_NONE;

	if (e->result == SASL_GOOD)
		log_event(LOG_AUTHENTICATED, LOG_CSTR("session", e->session), LOG_TEXT("client", where),
			  LOG_TEXT("login", login), LOG_CSTR("mechanism", sasl_row(e->mechanism)->name));
	else
		log_event(e->result == SASL_UNAVAILABLE ? LOG_AUTH_UNAVAILABLE : LOG_AUTH_FAILED,
			  LOG_CSTR("session", e->session), LOG_TEXT("client", where), LOG_TEXT("login", login),
			  LOG_CSTR("mechanism", sasl_row(e->mechanism)->name),
			  LOG_TEXT("reason", sasl_why(e->sasl)));
}

static void set_release(struct auth *a)
{
	mono_ms due = NEVER;

	for (struct exchange *e = a->held; e; e = e->next)
		due = e->due < due ? e->due : due;
	loop_timer_set(a->release, due);
}

static void conclude(struct exchange *e, enum sasl_result result)
{
	struct auth *a = e->peer->auth;
	mono_ms now = loop_mono(a->loop);

	e->result = result;
	log_result(e);
	if (result == SASL_GOOD)
		auth_guard_succeeded(a->guard, &e->place, sasl_login(e->sasl), now);
	span_ms delay = result == SASL_WRONG ? auth_guard_failed(a->guard, &e->place, sasl_login(e->sasl), now) : 0;
	if (delay == 0) {
		answer(e);
		return;
	}
	e->state = WAITS_FOR_DELAY;
	e->due = now + delay;
	e->next = a->held;
	a->held = e;
	set_release(a);
}

static void on_release(void *arg)
{
	struct auth *a = arg;
	mono_ms now = loop_mono(a->loop);

	for (struct exchange *e = a->held, *next; e; e = next) {
		next = e->next;
		if (e->due <= now)
			answer(e);
	}
	set_release(a);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

static void step(struct exchange *e, bool given, struct slice response)
{
	struct auth *a = e->peer->auth;
	enum sasl_result result = sasl_step(e->sasl, given, response, &a->challenge);

	if (result != SASL_CHALLENGE) {
		conclude(e, result);
		return;
	}
	struct wire_auth_step challenge = {e->tag, buf_slice(&a->challenge)};
	buf_reset(&a->frame);
	wire_put_auth_step(&a->frame, &challenge);
	send_frame(e->peer, WIRE_AUTH_CHALLENGE);
}

/* Who asks for more than there is time for hears it at once: an answer that comes after minutes is of no use. */
static const char *no_room_in_line(const struct auth *a, const struct exchange *e)
{
	size_t of_network = 0;

	if (a->line_length >= SLOW_MAX)
		return "too many passwords wait to be verified";
	for (const struct exchange *other = a->line; other; other = other->next)
		of_network += other->place.network == e->place.network;
	return of_network >= SLOW_PER_NETWORK ? "too many passwords from this network wait to be verified" : NULL;
}

static void refuse(struct exchange *e, const char *why)
{
	log_event(LOG_AUTH_UNAVAILABLE, LOG_CSTR("session", e->session),
		  LOG_CSTR("mechanism", sasl_row(e->mechanism)->name), LOG_CSTR("reason", why));
	e->result = SASL_UNAVAILABLE;
	answer(e);
}

static void step_in_turn(struct exchange *e, bool given, struct slice response)
{
	struct auth *a = e->peer->auth;

	if (!given || !sasl_is_slow(e->sasl)) {
		step(e, given, response);
		return;
	}
	const char *why = no_room_in_line(a, e);
	if (!why && (!secrets_buf_init(&e->response, SASL_RESPONSE_MAX + 1) || !buf_add(&e->response, response)))
		why = "there is no memory";
	if (why) {
		refuse(e, why);
		return;
	}
	e->state = WAITS_FOR_TURN;
	e->next = NULL;
	*a->line_end = e;
	a->line_end = &e->next;
	a->line_length++;
	loop_timer_set(a->work, loop_mono(a->loop));
}

static void on_work(void *arg)
{
	struct auth *a = arg;
	struct exchange *e = a->line;

	if (!e)
		return;
	struct buf response = e->response;
	buf_init(&e->response, SASL_RESPONSE_MAX + 1);
	leave_line(a, e);
	step(e, true, buf_slice(&response));
	buf_wipe(&response);
	loop_timer_set(a->work, a->line ? loop_mono(a->loop) : NEVER);
}

/* ---- what exchanges ask ---------------------------------------------------------------------------------------- */

static void random_octets(struct auth *a, uint8_t *into, size_t n)
{
	for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
		uint64_t word = loop_random(a->loop);
		memcpy(into + i, &word, n - i < sizeof word ? n - i : sizeof word);
	}
}

static bool may_show_password(const struct auth *a, struct slice login)
{
	const struct conf_texts *scram_only = &a->conf->accounts.scram_only;
	struct mail_address address;
	const char *why;

	return mail_address_parse(login, &address, &why) != MAIL_ADDRESS_OK ||
	       !pattern_any_matches(scram_only->list, scram_only->count, &address);
}

static enum sasl_result judge_name(void *arg, struct slice login)
{
	struct exchange *e = arg;
	struct auth *a = e->peer->auth;

	if (sasl_row(e->mechanism)->shows && !may_show_password(a, login))
		return SASL_WEAK;
	return auth_guard_admits(a->guard, &e->place, login, loop_mono(a->loop)) ? SASL_CHALLENGE : SASL_LIMITED;
}

/* What is kept of a password grows with the first login that shows it: SCRAM can be used from then on. */
static void renew(void *arg, const struct account *account, struct slice password)
{
	struct exchange *e = arg;
	struct auth *a = e->peer->auth;
	struct accounts_config config = {.path = a->path, .busy_wait = 200};
	struct accounts *writer = NULL;
	uint8_t chance[SECRETS_CHANCE];
	struct secrets secrets = {0};
	const char *reason = "";
	struct buf why;

	buf_init(&why, 1024);
	random_octets(a, chance, sizeof chance);
	enum accounts_result result = accounts_open(&config, &writer, &why);
	bool made = result == ACCOUNTS_OK &&
		    secrets_make(password, a->conf->keep_cram_md5, chance, &secrets, &reason) == SECRETS_OK;
	if (made)
		result = accounts_renew(writer, account, &secrets);
	if (made && result == ACCOUNTS_OK)
		log_event(LOG_ACCOUNT_RENEWED, LOG_TEXT("login", account->name));
	else
		log_event(LOG_ACCOUNT_NOT_RENEWED, LOG_TEXT("login", account->name),
			  LOG_CSTR("reason", result == ACCOUNTS_OK ? reason : accounts_result_text(result)),
			  LOG_TEXT("about", buf_slice(&why)));
	accounts_close(writer);
	secrets_wipe(&secrets);
	explicit_bzero(chance, sizeof chance);
	buf_free(&why);
}

static wall_ms now_for_tokens(void *arg)
{
	struct exchange *e = arg;

	return loop_wall(e->peer->auth->loop);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static struct sasl_start start_of(struct exchange *e, const struct wire_auth_begin *begin)
{
	struct auth *a = e->peer->auth;
	struct sasl_start start = {
		.mechanism = begin->mechanism,
		.plus_offered = begin->plus_offered,
		.exporter = begin->exporter,
		.unique = begin->unique,
		.tells_transition = a->conf->accounts.tells_transition,
		.keeps_cram_md5 = a->conf->keep_cram_md5,
		.host = a->conf->hostname,
		.certificate = begin->certificate,
		.external = &a->conf->accounts.external,
		.tokens = a->tokens,
		.now = loop_wall(a->loop),
		.judge = {judge_name, renew, now_for_tokens, e},
	};

	random_octets(a, start.chance, sizeof start.chance);
	return start;
}

static struct exchange *new_exchange(struct auth_peer *p, const struct wire_auth_begin *begin)
{
	struct auth *a = p->auth;
	struct exchange *e = a->exchanges < EXCHANGES_MAX && a->sasl ? heap_new(struct exchange) : NULL;

	if (!e)
		return NULL;
	*e = (struct exchange){
		.peer = p, .tag = begin->tag, .mechanism = begin->mechanism, .client = begin->client};
	e->place = auth_guard_place(loop_hash_key(a->loop), &begin->client);
	snprintf(e->session, sizeof e->session, "%.*s", SLICE_ARGS(begin->session));
	buf_init(&e->response, SASL_RESPONSE_MAX + 1);
	struct sasl_start start = start_of(e, begin);
	e->sasl = sasl_begin(a->sasl, &start);
	if (!e->sasl) {
		heap_free(e);
		return NULL;
	}
	struct exchange **at = find(p, e->tag);
	e->next_of_bucket = *at;
	*at = e;
	a->exchanges++;
	return e;
}

static bool on_begin(struct auth_peer *p, struct slice payload)
{
	struct wire_auth_begin begin;

	if (!wire_get_auth_begin(payload, &begin) || *find(p, begin.tag))
		return false;
	struct exchange *e = new_exchange(p, &begin);
	if (!e) {
		log_event(LOG_AUTH_UNAVAILABLE, LOG_TEXT("session", begin.session),
			  LOG_CSTR("reason", "there is no room for another exchange"));
		answer_tag(p, begin.tag, SASL_UNAVAILABLE, NULL);
	} else {
		step_in_turn(e, begin.given, begin.response);
	}
	return true;
}

/* What comes for an exchange that has been answered crossed the answer on its way. */
static bool on_response(struct auth_peer *p, struct slice payload)
{
	struct wire_auth_step response;

	if (!wire_get_auth_step(payload, &response))
		return false;
	struct exchange *e = *find(p, response.tag);
	if (e && e->state != WAITS_FOR_CLIENT)
		return false;
	if (e)
		step_in_turn(e, true, response.octets);
	return true;
}

static bool on_forget(struct auth_peer *p, struct slice payload)
{
	struct wire_auth_tag tag;

	if (!wire_get_auth_tag(payload, &tag))
		return false;
	struct exchange *e = *find(p, tag);
	if (e && e->state == WAITS_FOR_CLIENT && sasl_is_refused(e->sasl)) {
		/* Who gives up when he hears that his token is refused has failed all the same. */
		e->result = SASL_WRONG;
		log_result(e);
		auth_guard_failed(p->auth->guard, &e->place, sasl_login(e->sasl), loop_mono(p->auth->loop));
	}
	if (e)
		end_exchange(e);
	return true;
}

static void log_accounts(enum accounts_result result, struct slice why)
{
	log_event(LOG_ACCOUNTS_FAILED, LOG_CSTR("reason", accounts_result_text(result)), LOG_TEXT("about", why));
}

/* The account as it is now: what was changed since the login holds. */
static enum wire_allowance allowance(struct auth *a, struct slice login, struct account *account)
{
	struct buf why;

	buf_init(&why, 1024);
	enum accounts_result result = accounts_find(a->accounts, login, account, &why);
	if (result != ACCOUNTS_OK && result != ACCOUNTS_MISSING)
		log_accounts(result, buf_slice(&why));
	buf_free(&why);
	if (result != ACCOUNTS_OK && result != ACCOUNTS_MISSING)
		return WIRE_ALLOWANCE_UNKNOWN;
	return account->known && account->enabled ? WIRE_ALLOWED : WIRE_NOT_ALLOWED;
}

static struct auth_limits limits_of(const struct auth *a, const struct account *account)
{
	const struct conf_accounts *c = &a->conf->accounts;
	uint32_t messages = account->messages_per_hour ? account->messages_per_hour : c->messages_per_hour;
	uint32_t recipients = account->recipients_per_hour ? account->recipients_per_hour : c->recipients_per_hour;

	return (struct auth_limits){messages == ACCOUNT_UNLIMITED ? 0 : messages,
				    recipients == ACCOUNT_UNLIMITED ? 0 : recipients};
}

static bool on_spend(struct auth_peer *p, struct slice payload)
{
	struct auth *a = p->auth;
	struct wire_auth_spend spend;
	struct account *account = heap_new(struct account);

	if (!wire_get_auth_spend(payload, &spend)) {
		heap_free(account);
		return false;
	}
	struct wire_auth_spent spent = {.tag = spend.tag, .allowance = WIRE_ALLOWANCE_UNKNOWN};
	if (account) {
		spent.allowance = allowance(a, spend.login, account);
		struct auth_limits limits = limits_of(a, account);
		if (spent.allowance == WIRE_ALLOWED)
			spent.recipients = auth_guard_spend(a->guard, account->name, limits, loop_mono(a->loop));
		if (spent.allowance == WIRE_ALLOWED && spent.recipients == 0)
			spent.allowance = WIRE_LIMITED;
		account_wipe(account);
	}
	heap_free(account);
	buf_reset(&a->frame);
	wire_put_auth_spent(&a->frame, &spent);
	send_frame(p, WIRE_AUTH_SPENT);
	return true;
}

static bool on_used(struct auth_peer *p, struct slice payload)
{
	struct auth *a = p->auth;
	struct wire_auth_used used;
	struct account *account = heap_new(struct account);
	bool good = wire_get_auth_used(payload, &used);

	if (good && account && allowance(a, used.login, account) == WIRE_ALLOWED)
		auth_guard_use(a->guard, account->name, limits_of(a, account), used.recipients, loop_mono(a->loop));
	if (account)
		account_wipe(account);
	heap_free(account);
	return good;
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct auth_peer *p = arg;

	if (fd >= 0) {
		descriptor_close(fd);
		return false;
	}
	switch (type) {
	case WIRE_AUTH_BEGIN:
		return on_begin(p, payload);
	case WIRE_AUTH_RESPONSE:
		return on_response(p, payload);
	case WIRE_AUTH_FORGET:
		return on_forget(p, payload);
	case WIRE_AUTH_SPEND:
		return on_spend(p, payload);
	case WIRE_AUTH_USED:
		return on_used(p, payload);
	default:
		return false;
	}
}

/* ---- the role -------------------------------------------------------------------------------------------------- */

static void end_exchanges_of(struct auth_peer *p)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct exchange *e = p->auth->buckets[i], *next; e; e = next) {
			next = e->next_of_bucket;
			if (e->peer == p)
				end_exchange(e);
		}
}

static void lose_peer(struct auth_peer *p)
{
	end_exchanges_of(p);
	channel_free(p->channel);
	p->channel = NULL;
}

static void on_closed(void *arg, const char *why)
{
	struct auth_peer *p = arg;

	log_event(LOG_PEER_LOST, LOG_CSTR("peer", "receiver"), LOG_NUMBER("index", p->index),
		  LOG_CSTR("reason", why ? why : "closed"));
	lose_peer(p);
}

static void auth_end(void *arg)
{
	struct auth *a = arg;

	for (size_t i = 0; i < CONF_PROCESS_MAX; i++)
		lose_peer(&a->receivers[i]);
	loop_timer_free(a->work);
	loop_timer_free(a->release);
	sasl_free(a->sasl);
	tokens_unref(a->tokens);
	credential_file_close(&a->token_keys);
	accounts_close(a->accounts);
	auth_guard_free(a->guard);
	conf_unref(a->conf);
	buf_wipe(&a->frame);
	buf_wipe(&a->challenge);
	heap_free(a);
}

static void *auth_start(struct loop *l, const struct role_self *self)
{
	struct auth *a = heap_new(struct auth);

	if (!a)
		return NULL;
	*a = (struct auth){.loop = l, .self = self, .token_keys = {.fd = -1, .error = ENOENT}};
	a->line_end = &a->line;
	for (uint32_t i = 0; i < CONF_PROCESS_MAX; i++)
		a->receivers[i] = (struct auth_peer){.auth = a, .index = i};
	buf_init_secret(&a->frame, CHANNEL_FRAME_MAX);
	buf_init_secret(&a->challenge, SASL_CHALLENGE_MAX);
	a->work = loop_timer_new(l, on_work, a);
	a->release = loop_timer_new(l, on_release, a);
	a->guard = auth_guard_new(loop_hash_key(l));
	tokens_begin(loop_random(l));
	if (a->work && a->release && a->guard)
		return a;
	auth_end(a);
	return NULL;
}

/* The database is where it is from the start to the end: data_dir cannot change. */
static bool open_accounts(struct auth *a)
{
	uint8_t key[ACCOUNTS_KEY];

	if (a->sasl)
		return true;
	snprintf(a->path, sizeof a->path, "%.*s/" ACCOUNTS_FILE, SLICE_ARGS(a->conf->data_dir));
	random_octets(a, key, sizeof key);
	a->accounts = accounts_reader(a->path, key);
	explicit_bzero(key, sizeof key);
	a->sasl = a->accounts ? sasl_new(a->accounts) : NULL;
	return a->sasl != NULL;
}

static void take_token_keys(struct auth *a, int fd, int error)
{
	credential_file_close(&a->token_keys);
	a->token_keys = (struct credential_file){.fd = fd, .error = error};
}

static void auth_file(void *arg, const struct wire_file *file, int fd)
{
	if (file->kind == WIRE_FILE_TOKEN_KEYS)
		take_token_keys(arg, fd, (int)file->error);
	else if (fd >= 0)
		descriptor_close(fd);
}

static bool auth_configure(void *arg, struct conf *conf)
{
	struct auth *a = arg;

	conf_unref(a->conf);
	a->conf = conf_ref(conf);
	auth_guard_configure(a->guard, &conf->accounts);
	auth_tokens_load(&conf->oauth, &a->token_keys, &a->tokens);
	take_token_keys(a, -1, ENOENT);
	if (!open_accounts(a)) {
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "accounts"));
		return false;
	}
	a->self->ready(a->self->arg);
	return true;
}

static void auth_peer(void *arg, struct wire_peer peer, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};
	struct auth *a = arg;

	if (peer.kind != ROLE_RECEIVER || peer.index >= CONF_PROCESS_MAX) {
		descriptor_close(fd);
		return;
	}
	struct auth_peer *p = &a->receivers[peer.index];
	lose_peer(p);
	p->channel = channel_new(a->loop, fd, &handler, p);
	if (!p->channel)
		return;
	channel_set_secret(p->channel);
	channel_send(p->channel, WIRE_AUTH_HERE, SLICE_NONE, -1);
}

static void auth_stop(void *arg)
{
	struct auth *a = arg;

	a->self->finished(a->self->arg, 0);
}

const struct role_ops auth_role = {
	.start = auth_start,
	.file = auth_file,
	.configure = auth_configure,
	.peer = auth_peer,
	.stop = auth_stop,
	.end = auth_end,
};
