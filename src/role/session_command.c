/*
 * A session's answers to commands. Each on_ function answers its event once, now or when the DNS has spoken.
 */
#include "role/session_private.h"

#include "net/log.h"
#include "policy/pattern.h"
#include "smtp/limits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHOICES_MAX     20                  /* of an ambiguous name that are shown */
#define EXPN_OCTETS_MAX ((size_t)64 * 1024) /* a list beyond it is not shown */
#define STATUS_LINES    6
#define STATUS_LINE_MAX 120

static bool may_relay(const struct session *s)
{
	return relay_client_may_relay(&s->client, s->conf->relay_networks);
}

/* Limits per minute are for strangers. */
static bool within_rate(struct session *s, enum rate_kind kind, uint32_t max)
{
	return may_relay(s) || rate_take(s->receiver->counts, s->network_hash, kind, max, loop_mono(s->receiver->loop));
}

/* ---- the greeting --------------------------------------------------------------------------------------------- */

enum reply_id session_greeting(struct session *s)
{
	const struct conf_listener *l = s->listener;
	struct receiver *r = s->receiver;
	mono_ms now = loop_mono(r->loop);

	if (!l->takes_mail)
		return REPLY_GREETING_NO_MAIL;
	if (!s->client.local_user && l->clients.count && !networks_contain(l->clients, &s->client.address))
		return REPLY_GREETING_REFUSED;
	if (l->proxies.count && !s->proxy_text[0]) /* it came past the proxy */
		return REPLY_GREETING_REFUSED;
	bool counted = s->client.local_user || rate_enter(r->counts, s->network_hash, r->self->index,
							  l->sessions_per_client_max, now, &s->counted);
	if (r->sessions > l->sessions_max || !counted)
		return REPLY_GREETING_BUSY;
	if (!may_relay(s) && rate_is_reached(r->counts, s->network_hash, RATE_ERRORS, l->errors_per_minute, now))
		return REPLY_ERRORS_RATE;
	if (!within_rate(s, RATE_CONNECTIONS, l->connections_per_minute))
		return REPLY_GREETING_RATE;
	return l->server.lmtp ? REPLY_GREETING_LMTP : REPLY_GREETING;
}

void session_greet(struct session *s)
{
	s->greets_at = 0;
	session_reply(s, s->listener->server.lmtp ? REPLY_GREETING_LMTP : REPLY_GREETING, s->conf->hostname,
		      SLICE_NONE);
}

void session_on_connect(struct session *s)
{
	enum reply_id id = s->greeting;

	if (reply_row(id)->code == 220 && s->listener->greeting_delay > 0 && !may_relay(s))
		s->greets_at = loop_mono(s->receiver->loop) + s->listener->greeting_delay;
	else
		session_reply(s, id, s->conf->hostname, SLICE_NONE);
}

void session_on_helo(struct session *s, const struct smtp_event *ev)
{
	if (s->listener->refuse_own_name && !may_relay(s) && conf_is_own_name(s->conf, ev->text))
		session_reply(s, REPLY_HELO_REFUSED, ev->text, SLICE("it is a name of this server"));
	else
		session_reply(s, ev->extended ? REPLY_EHLO : REPLY_HELO, SLICE_NONE, SLICE_NONE);
}

/* ---- the DNS -------------------------------------------------------------------------------------------------- */

/* The answer comes later, or the question could not be asked. */
static void waits_for(struct session *s, bool asked)
{
	s->waits_dns = asked;
	if (!asked)
		session_on_dns(s, RESOLVER_FAILED);
}

/* Ask about the domain of MAIL or RCPT. False: there is nothing to ask. */
static bool ask_domain(struct session *s, const struct smtp_event *ev)
{
	char room[MAIL_DOMAIN_MAX + 1];
	struct buf domain = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct conf_recipient found;

	if (ev->address.kind != MAIL_DOMAIN_NAME)
		return false;
	conf_recipient(s->conf, &s->client, &ev->address, &found);
	s->asks_existence = s->conf->check_domains != CONF_CHECK_NO && found.by_dns;
	if (s->conf->check_null_mx == CONF_CHECK_NO && !s->asks_existence)
		return false;
	if (found.entry.result != DIRECTORY_NOT_OURS || !mail_domain_canonical(ev->address.domain, &domain))
		return false;
	s->asking = *ev;
	s->asks_reverse = false;
	waits_for(s, s->receiver->resolver && resolver_ask_mx(s->receiver->resolver, buf_slice(&domain),
							      s->conf->resolver_timeout, s->tag));
	return true;
}

/* Ask about the client's address before MAIL goes on. False: there is nothing to ask. */
static bool ask_reverse(struct session *s, const struct smtp_event *ev)
{
	if (s->listener->check_reverse_dns == CONF_CHECK_NO || may_relay(s) || s->reverse == RESOLVER_CONFIRMED)
		return false;
	s->asking = *ev;
	s->asks_reverse = true;
	if (s->reverse == RESOLVER_UNCONFIRMED)
		session_on_dns(s, RESOLVER_UNCONFIRMED);
	else
		waits_for(s, s->receiver->resolver && resolver_ask_reverse(s->receiver->resolver, &s->client.address,
									   s->conf->resolver_timeout, s->tag));
	return true;
}

void session_log_refused_rcpt(const struct session *s, enum reply_id id, struct slice address)
{
	const struct reply_row *row = reply_row(id);
	char room[SESSION_FORWARDED];

	log_event(LOG_REFUSED_RCPT, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_TEXT("from", smtp_server_envelope(s->engine)->sender), LOG_TEXT("to", address),
		  LOG_NUMBER("code", row->code), LOG_STATUS("status", row->status),
		  LOG_TEXT("forwarded", session_forwarded(s, room)));
}

static void on_reverse(struct session *s, enum resolver_answer answer)
{
	bool failed = answer == RESOLVER_FAILED && s->listener->check_reverse_dns == CONF_CHECK_STRICT;

	if (answer != RESOLVER_FAILED) /* which is asked anew with the next message */
		s->reverse = answer;
	if (answer == RESOLVER_UNCONFIRMED || failed)
		session_reply(s, failed ? REPLY_MAIL_REVERSE_DNS : REPLY_MAIL_REVERSE, session_client(s), SLICE_NONE);
	else if (!ask_domain(s, &s->asking))
		session_reply(s, REPLY_MAIL_OK, SLICE_NONE, SLICE_NONE);
}

void session_on_dns(struct session *s, enum resolver_answer answer)
{
	if (s->asks_reverse) {
		on_reverse(s, answer);
		return;
	}
	bool is_mail = s->asking.type == SMTP_EV_MAIL, null_mx = s->conf->check_null_mx != CONF_CHECK_NO;
	bool strict = s->conf->check_null_mx == CONF_CHECK_STRICT ||
		      (s->asks_existence && s->conf->check_domains == CONF_CHECK_STRICT);
	struct slice argument = is_mail ? s->asking.address.domain : s->asking.rcpt.address;
	enum reply_id id = is_mail ? REPLY_MAIL_OK : REPLY_RCPT_OK;

	if (answer == RESOLVER_NULL_MX && null_mx)
		id = is_mail ? REPLY_MAIL_NULL_MX : REPLY_RCPT_NULL_MX;
	else if (answer == RESOLVER_NO_DOMAIN && s->asks_existence)
		id = is_mail ? REPLY_MAIL_NO_DOMAIN : REPLY_RCPT_NO_DOMAIN;
	else if (answer == RESOLVER_FAILED && strict)
		id = is_mail ? REPLY_MAIL_DNS : REPLY_RCPT_DNS;
	if (!is_mail && id != REPLY_RCPT_OK)
		session_log_refused_rcpt(s, id, s->asking.rcpt.address);
	session_reply(s, id, argument, SLICE_NONE);
}

/* ---- MAIL ----------------------------------------------------------------------------------------------------- */

/* What rules of this listener have against the sender; REPLY_MAIL_OK if nothing. */
static enum reply_id judge_sender(const struct session *s, const struct mail_address *sender, struct slice *ret)
{
	const struct conf_listener *l = s->listener;

	if (pattern_any_matches(l->refuse_senders.list, l->refuse_senders.count, sender)) {
		*ret = SLICE("this sender is not welcome here");
		return REPLY_MAIL_REFUSED;
	}
	*ret = sender->text;
	if (sender->kind != MAIL_DOMAIN_NONE && !session_may_send_as(s, sender))
		return REPLY_MAIL_NOT_OWN;
	*ret = sender->domain;
	if (l->sender_domains.count && sender->kind != MAIL_DOMAIN_NONE &&
	    !pattern_any_matches(l->sender_domains.list, l->sender_domains.count, sender))
		return REPLY_MAIL_NOT_LOCAL_USER;
	return REPLY_MAIL_OK;
}

/* Whether a message could be taken now. */
static enum reply_id judge_queue(const struct session *s, struct slice *ret)
{
	const struct receiver *r = s->receiver;

	*ret = slice_from_cstr(store_result_text(r->pressure));
	if (!r->queue || !receiver_has_ids(s->receiver))
		return REPLY_DATA_NO_QUEUE;
	if (r->pressure == STORE_FULL)
		return REPLY_MAIL_NO_SPACE;
	if (r->pressure != STORE_OK)
		return REPLY_MAIL_TEMPORARY;
	return r->congested ? REPLY_MAIL_CONGESTED : REPLY_MAIL_OK;
}

void session_on_mail(struct session *s, const struct smtp_event *ev)
{
	struct slice argument;
	enum reply_id id = judge_queue(s, &argument);

	s->targets = 0;
	s->message_max = 0;
	if (id == REPLY_MAIL_OK)
		id = judge_sender(s, &ev->address, &argument);
	if (id == REPLY_MAIL_OK && !within_rate(s, RATE_MESSAGES, s->listener->messages_per_minute))
		id = REPLY_MAIL_RATE;
	if (id == REPLY_MAIL_OK && session_spend(s, ev))
		return;
	if (id != REPLY_MAIL_OK || (!ask_reverse(s, ev) && !ask_domain(s, ev)))
		session_reply(s, id, argument, SLICE_NONE);
}

void session_on_spent(struct session *s, enum wire_allowance allowance)
{
	static const enum reply_id replies[] = {
		[WIRE_ALLOWED] = REPLY_MAIL_OK,
		[WIRE_LIMITED] = REPLY_MAIL_USER_RATE,
		[WIRE_NOT_ALLOWED] = REPLY_MAIL_NO_ACCOUNT,
		[WIRE_ALLOWANCE_UNKNOWN] = REPLY_MAIL_TEMPORARY,
	};

	if (allowance != WIRE_ALLOWED || !ask_domain(s, &s->asking))
		session_reply(s, replies[allowance], SLICE("accounts cannot be looked at"), SLICE_NONE);
}

/* ---- RCPT ----------------------------------------------------------------------------------------------------- */

static bool may_post(const struct session *s, const struct directory_entry *list)
{
	struct mail_address sender = {.kind = MAIL_DOMAIN_NONE};
	const char *why;

	mail_address_parse(smtp_server_envelope(s->engine)->sender, &sender, &why);
	return conf_may_post(s->conf, &s->client, list, &sender);
}

static bool all_ascii(const struct directory_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		if (!slice_is_ascii(texts->list[i]))
			return false;
	return true;
}

/* A list, or a mailbox whose mail goes on to another address. */
static enum reply_id judge_targets(const struct session *s, const struct directory_entry *entry)
{
	bool forwarded = entry->result == DIRECTORY_FORWARDED;

	if (!forwarded && !may_post(s, entry))
		return REPLY_RCPT_LIST_CLOSED;
	if (s->targets > 0 && entry->targets.count > DIRECTORY_TARGETS_MAX - s->targets)
		return REPLY_RCPT_LIST_FULL;
	/* An address outside ASCII can only be reached by a message that is meant to (RFC 6531 3.5). */
	if (!smtp_server_envelope(s->engine)->utf8 && !all_ascii(&entry->targets))
		return REPLY_RCPT_UTF8;
	return forwarded && entry->disclose ? REPLY_RCPT_FORWARD : REPLY_RCPT_OK;
}

/* Whether a host can be what an address literal names: what no standard gives a host, and forms that no standard
 * defines (RFC 5321 4.1.3), cannot. */
static bool names_no_host(const struct mail_address *address)
{
	struct ip_address ip;

	if (address->kind == MAIL_DOMAIN_IPV4 || address->kind == MAIL_DOMAIN_IPV6)
		return ip_parse(address->domain, &ip) && !ip_is_of_host(&ip);
	return address->kind == MAIL_DOMAIN_GENERAL;
}

static enum reply_id judge_recipient(const struct session *s, const struct mail_address *address,
				     const struct conf_recipient *found)
{
	switch (found->entry.result) {
	case DIRECTORY_SUSPENDED:
		return REPLY_RCPT_SUSPENDED;
	case DIRECTORY_DISABLED:
		return REPLY_RCPT_DISABLED;
	case DIRECTORY_MOVED:
		return found->entry.disclose ? REPLY_RCPT_MOVED : REPLY_RCPT_UNKNOWN;
	case DIRECTORY_FORWARDED:
	case DIRECTORY_LIST:
		return judge_targets(s, &found->entry);
	case DIRECTORY_UNKNOWN:
	case DIRECTORY_FOUND:
	case DIRECTORY_NOT_OURS:
		break;
	}
	switch (found->decision) {
	case RELAY_DENIED:
		return REPLY_RCPT_RELAY;
	case RELAY_NO_ROUTE:
		return names_no_host(address) ? REPLY_RCPT_NO_HOST : REPLY_RCPT_NO_ROUTE;
	case RELAY_UNKNOWN_MAILBOX:
		return REPLY_RCPT_UNKNOWN;
	case RELAY_OURS:
		return found->in_a_circle ? REPLY_RCPT_MISROUTED : REPLY_RCPT_OK;
	case RELAY_ALLOWED:
		if (names_no_host(address))
			return REPLY_RCPT_NO_HOST;
		return found->in_a_circle ? REPLY_RCPT_MISROUTED : REPLY_RCPT_OK;
	}
	return REPLY_RCPT_OK;
}

struct slice session_number(uint64_t number, char room[SESSION_NUMBER])
{
	int n = snprintf(room, SESSION_NUMBER, "%llu", (unsigned long long)number);

	return slice_of(room, (size_t)n);
}

static bool declares_too_much(const struct session *s, const struct conf_recipient *found)
{
	uint64_t max = found->entry.message_max;

	return max > 0 && smtp_server_envelope(s->engine)->declared > max;
}

static void refuse_size(struct session *s, struct slice address, uint64_t max)
{
	char limit[SESSION_NUMBER], size[SESSION_NUMBER];
	struct slice declared = session_number(smtp_server_envelope(s->engine)->declared, size);

	session_log_refused_rcpt(s, REPLY_RCPT_TOO_BIG, address);
	smtp_server_reply(s->engine,
			  (struct reply){REPLY_RCPT_TOO_BIG, {address, session_number(max, limit), declared}});
}

static void add_recipient(struct session *s, const struct conf_recipient *found)
{
	uint64_t max = found->entry.message_max;

	s->targets += found->entry.targets.count;
	if (max > 0 && (s->message_max == 0 || max < s->message_max))
		s->message_max = max;
}

static bool is_second_of_bounce(const struct session *s)
{
	const struct mail_envelope *e = smtp_server_envelope(s->engine);

	return s->listener->bounce_single_recipient && e->sender.n == 0 && e->rcpt_count > 0;
}

void session_on_rcpt(struct session *s, const struct smtp_event *ev)
{
	struct conf_recipient found;

	conf_recipient(s->conf, &s->client, &ev->address, &found);
	enum reply_id id = judge_recipient(s, &ev->address, &found);
	bool good = reply_row(id)->code / 100 == 2;
	if (good && declares_too_much(s, &found)) {
		refuse_size(s, ev->rcpt.address, found.entry.message_max);
		return;
	}
	if (good && is_second_of_bounce(s))
		id = REPLY_RCPT_DUPLICATE_BOUNCE;
	else if (good && !within_rate(s, RATE_RECIPIENTS, s->listener->recipients_per_minute))
		id = REPLY_RCPT_RATE;
	else if (good && !session_user_has_room(s))
		id = REPLY_RCPT_USER_RATE;
	else if (good && found.decision == RELAY_ALLOWED && ask_domain(s, ev))
		return;
	if (reply_row(id)->code / 100 == 2)
		add_recipient(s, &found);
	else
		session_log_refused_rcpt(s, id, ev->rcpt.address);
	bool shows_new = id == REPLY_RCPT_MOVED || id == REPLY_RCPT_FORWARD;
	session_reply(s, id, shows_new ? found.entry.moved_to : ev->rcpt.address, SLICE_NONE);
}

/* ---- what recipients stand for -------------------------------------------------------------------------------- */

static void find_recipient(const struct session *s, struct slice address, struct directory_entry *ret)
{
	struct mail_address parsed;
	const char *why;

	*ret = (struct directory_entry){.result = DIRECTORY_NOT_OURS};
	if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
		directory_find(s->conf->directory, &parsed, ret);
}

uint64_t session_limit_of(const struct session *s, struct slice address)
{
	struct directory_entry entry;

	find_recipient(s, address, &entry);
	return entry.message_max;
}

/* ORCPT for the address that the sender wrote, when he gave none (RFC 3461 5.2.7.2). */
static struct slice original_of(const struct mail_rcpt *rcpt, struct arena *arena)
{
	bool ascii = slice_is_ascii(rcpt->address);
	struct slice text = SLICE_NONE;
	struct buf out;

	if (rcpt->orcpt.n)
		return rcpt->orcpt;
	buf_init(&out, SMTP_ORCPT_MAX);
	buf_add(&out, ascii ? SLICE("rfc822;") : SLICE("utf-8;"));
	/* What does not fit is left out: the address is then not told, which ORCPT is free to do. */
	if (ascii ? mail_xtext_encode(rcpt->address, &out) : buf_add(&out, rcpt->address))
		text = arena_copy(arena, buf_slice(&out));
	buf_free(&out);
	return text.p ? text : SLICE("");
}

/* A list reports success once at most, by its first address (RFC 3461 5.2.7.3 b); all report failure and delay. */
static uint8_t notify_of(uint8_t notify, bool first)
{
	if (first || !(notify & MAIL_NOTIFY_SUCCESS))
		return notify;
	return notify == MAIL_NOTIFY_SUCCESS ? MAIL_NOTIFY_NEVER : notify & (uint8_t)~MAIL_NOTIFY_SUCCESS;
}

static int by_address(const void *a, const void *b)
{
	return slice_compare(((const struct mail_rcpt *)a)->address, ((const struct mail_rcpt *)b)->address);
}

static size_t without_repetition(struct mail_rcpt *list, size_t count)
{
	size_t n = 0;

	qsort(list, count, sizeof *list, by_address);
	for (size_t i = 0; i < count; i++)
		if (n == 0 || by_address(&list[n - 1], &list[i]) != 0)
			list[n++] = list[i];
	return n;
}

bool session_expand(const struct session *s, struct arena *arena, struct mail_envelope *envelope)
{
	size_t most = envelope->rcpt_count + s->targets, n = 0;
	struct mail_rcpt *list = arena_array(arena, most, sizeof *list);

	if (!list)
		return false;
	for (size_t i = 0; i < envelope->rcpt_count; i++) {
		const struct mail_rcpt *rcpt = &envelope->rcpt[i];
		struct directory_entry entry;

		find_recipient(s, rcpt->address, &entry);
		if (entry.targets.count == 0) {
			list[n++] = *rcpt;
			continue;
		}
		struct slice original = original_of(rcpt, arena);
		for (size_t j = 0; j < entry.targets.count; j++) {
			assert(n < most);
			list[n++] =
				(struct mail_rcpt){entry.targets.list[j], original, notify_of(rcpt->notify, j == 0)};
		}
	}
	envelope->rcpt = list;
	envelope->rcpt_count = without_repetition(list, n);
	return true;
}

/* ---- VRFY and EXPN -------------------------------------------------------------------------------------------- */

/* The argument of VRFY and EXPN: an address with or without brackets, or a local part alone (RFC 5321 4.1.1.6). */
struct named_user {
	struct mail_address address; /* kind NONE: `local` alone */
	/* "<local@domain>" once it is looked up */
	char text[MAIL_LOCAL_MAX + MAIL_DOMAIN_MAX + sizeof "<@>"];
};

/* What stands behind the address: nothing, or a parameter that we do not know. */
static struct slice split_argument(struct slice argument, struct slice *ret_rest)
{
	size_t end = argument.n;
	bool quoted = false;

	for (size_t i = 0; i < argument.n && end == argument.n; i++) {
		if (argument.p[i] == '\\' && quoted)
			i++;
		else if (argument.p[i] == '"')
			quoted = !quoted;
		else if (argument.p[i] == ' ' && !quoted)
			end = i;
	}
	*ret_rest = slice_skip(argument, end + 1);
	return slice_head(argument, end);
}

/* False with the refusal when it cannot be understood. */
static bool read_user(struct session *s, struct slice verb, struct slice argument, struct named_user *ret)
{
	struct slice rest, text = split_argument(argument, &rest);
	const char *why = "it is no address";
	size_t used = text.n;
	bool good;

	*ret = (struct named_user){.address = {.local = text, .kind = MAIL_DOMAIN_NONE}};
	if (text.n && text.p[0] == '<')
		good = mail_path_parse(text, false, true, &ret->address, &used, &why) == MAIL_ADDRESS_OK;
	else if (slice_rfind(text, '@') < text.n)
		good = mail_address_parse(text, &ret->address, &why) == MAIL_ADDRESS_OK;
	else
		good = directory_name_valid(text, &why);
	if (rest.n) {
		session_reply(s, REPLY_VRFY_PARAM, rest, verb);
		return false;
	}
	if (!good || used != text.n) {
		session_reply(s, REPLY_VRFY_SYNTAX, slice_from_cstr(why ? why : "something follows it"), SLICE_NONE);
		return false;
	}
	return true;
}

static void write_user(struct named_user *user, struct slice local, struct slice domain)
{
	int n = snprintf(user->text, sizeof user->text, "<%.*s@%.*s>", SLICE_ARGS(local), SLICE_ARGS(domain));

	assert(n > 0);
}

/* Several domains have it: the sender is asked which he means (RFC 5321 3.5.1). */
static void reply_choices(struct session *s, const struct named_user *user, const struct slice *domains, size_t count)
{
	struct named_user choice[CHOICES_MAX];
	struct slice lines[CHOICES_MAX];

	for (size_t i = 0; i < count; i++) {
		write_user(&choice[i], user->address.local, domains[i]);
		lines[i] = slice_from_cstr(choice[i].text);
	}
	smtp_server_reply_lines(s->engine, (struct reply){.id = REPLY_VRFY_AMBIGUOUS}, lines, count);
}

/* False when the answer is given: the name is ambiguous. */
static bool find_user(struct session *s, struct named_user *user, struct directory_entry *ret)
{
	const struct directory *d = s->conf->directory;
	struct slice domains[CHOICES_MAX], domain = user->address.domain;

	if (user->address.kind != MAIL_DOMAIN_NONE) {
		directory_find(d, &user->address, ret);
	} else {
		size_t count = directory_domains_with(d, user->address.local, domains, CHOICES_MAX);

		if (count > 1) {
			reply_choices(s, user, domains, count < CHOICES_MAX ? count : CHOICES_MAX);
			return false;
		}
		domain = count ? domains[0] : directory_first_domain(d);
		directory_find_plain(d, domain, user->address.local, ret);
	}
	write_user(user, user->address.local, domain);
	return true;
}

/* The text of an address without its brackets. */
static struct slice inside(const struct named_user *user)
{
	struct slice text = slice_from_cstr(user->text);

	return slice_of(text.p + 1, text.n - 2);
}

static void reply_moved(struct session *s, const struct directory_entry *found, const struct named_user *user)
{
	bool forwarded = found->result == DIRECTORY_FORWARDED;
	bool shown = found->disclose && slice_is_ascii(found->moved_to);

	if (shown)
		session_reply(s, forwarded ? REPLY_RCPT_FORWARD : REPLY_RCPT_MOVED, found->moved_to, SLICE_NONE);
	else if (forwarded)
		session_reply(s, found->disclose ? REPLY_VRFY_UTF8 : REPLY_VRFY_MAYBE, SLICE_NONE, SLICE_NONE);
	else
		session_reply(s, found->disclose ? REPLY_RCPT_MOVED_HIDDEN : REPLY_VRFY_UNKNOWN, inside(user),
			      SLICE_NONE);
}

void session_on_vrfy(struct session *s, struct slice argument)
{
	struct named_user user;
	struct directory_entry found;

	if (s->conf->vrfy == CONF_DISCLOSE_OFF) {
		session_reply(s, REPLY_VRFY_OFF, SLICE_NONE, SLICE_NONE);
		return;
	}
	if (!read_user(s, SLICE("VRFY"), argument, &user))
		return;
	if (!conf_discloses(s->conf, s->conf->vrfy, &s->client)) {
		session_reply(s, REPLY_VRFY_MAYBE, SLICE_NONE, SLICE_NONE);
		return;
	}
	if (!find_user(s, &user, &found))
		return;
	switch (found.result) {
	case DIRECTORY_FOUND:
		/* The server behind LMTP may know better. */
		session_reply(s, found.mailbox.n ? REPLY_VRFY_OK : REPLY_VRFY_MAYBE, inside(&user), SLICE_NONE);
		break;
	case DIRECTORY_SUSPENDED:
		session_reply(s, REPLY_VRFY_OK, inside(&user), SLICE_NONE);
		break;
	case DIRECTORY_NOT_OURS:
	case DIRECTORY_LIST:
		session_reply(s, REPLY_VRFY_MAYBE, SLICE_NONE, SLICE_NONE);
		break;
	case DIRECTORY_DISABLED:
		session_reply(s, REPLY_RCPT_DISABLED, inside(&user), SLICE_NONE);
		break;
	case DIRECTORY_MOVED:
	case DIRECTORY_FORWARDED:
		reply_moved(s, &found, &user);
		break;
	case DIRECTORY_UNKNOWN:
		session_reply(s, REPLY_VRFY_UNKNOWN, inside(&user), SLICE_NONE);
		break;
	}
}

static size_t octets_of(const struct directory_texts *texts)
{
	size_t sum = 0;

	for (size_t i = 0; i < texts->count; i++)
		sum += texts->list[i].n + sizeof "250-2.1.5 <>\r\n";
	return sum;
}

/* RFC 5321 3.5.2: each member in brackets. */
static bool reply_members(struct session *s, const struct directory_texts *members, struct slice name)
{
	struct arena arena;

	arena_init(&arena, 4 * EXPN_OCTETS_MAX);
	struct slice *lines = arena_array(&arena, members->count, sizeof *lines);
	bool good = lines != NULL;
	for (size_t i = 0; good && i < members->count; i++) {
		struct slice member = members->list[i];
		char *p = arena_alloc(&arena, member.n + 2);

		good = p != NULL;
		if (!good)
			break;
		p[0] = '<';
		memcpy(p + 1, member.p, member.n);
		p[member.n + 1] = '>';
		lines[i] = slice_of(p, member.n + 2);
	}
	if (good)
		smtp_server_reply_lines(s->engine, (struct reply){REPLY_EXPN_OK, {name}}, lines, members->count);
	arena_free(&arena);
	return good;
}

void session_on_expn(struct session *s, struct slice argument)
{
	struct named_user user;
	struct directory_entry found;

	if (s->conf->expn == CONF_DISCLOSE_NOBODY) {
		session_reply(s, REPLY_EXPN_OFF, SLICE_NONE, SLICE_NONE);
		return;
	}
	if (!read_user(s, SLICE("EXPN"), argument, &user))
		return;
	if (!conf_discloses(s->conf, s->conf->expn, &s->client)) {
		session_reply(s, REPLY_EXPN_HIDDEN, SLICE_NONE, SLICE_NONE);
		return;
	}
	if (!find_user(s, &user, &found))
		return;
	if (found.result != DIRECTORY_LIST)
		session_reply(s, REPLY_EXPN_UNKNOWN, inside(&user), SLICE_NONE);
	else if (found.disclose && !all_ascii(&found.members))
		session_reply(s, REPLY_VRFY_UTF8, SLICE_NONE, SLICE_NONE);
	else if (!found.disclose || octets_of(&found.members) > EXPN_OCTETS_MAX ||
		 !reply_members(s, &found.members, inside(&user)))
		session_reply(s, REPLY_EXPN_HIDDEN, SLICE_NONE, SLICE_NONE);
}

/* ---- HELP STATUS ---------------------------------------------------------------------------------------------- */

void session_on_status(struct session *s)
{
	const struct receiver *r = s->receiver;
	char text[STATUS_LINES][STATUS_LINE_MAX], first[MAIL_DOMAIN_MAX + STATUS_LINE_MAX];
	struct slice lines[STATUS_LINES], takes;
	span_ms up = loop_mono(s->receiver->loop) - r->since;
	size_t n = 0;

	if (!conf_discloses(s->conf, s->conf->status, &s->client)) {
		session_reply(s, REPLY_HELP_UNKNOWN, SLICE("STATUS"), SLICE_NONE);
		return;
	}
	enum reply_id queue = judge_queue(s, &takes);
	snprintf(first, sizeof first, "%.*s Postrider " POSTRIDER_VERSION, SLICE_ARGS(s->conf->hostname));
	snprintf(text[n++], STATUS_LINE_MAX, "Receiver %u of %u", r->self->index + 1, s->conf->receivers);
	snprintf(text[n++], STATUS_LINE_MAX, "Up for %lld seconds", (long long)(up / SECOND));
	snprintf(text[n++], STATUS_LINE_MAX, "Sessions: %zu of %zu", r->sessions, s->listener->sessions_max);
	snprintf(text[n++], STATUS_LINE_MAX, "Messages accepted: %llu", (unsigned long long)r->accepted);
	snprintf(text[n++], STATUS_LINE_MAX, "Queue: %s",
		 queue == REPLY_MAIL_OK          ? "takes mail"
		 : queue == REPLY_DATA_NO_QUEUE  ? "not reachable"
		 : queue == REPLY_MAIL_CONGESTED ? "congested"
						 : store_result_text(r->pressure));
	for (size_t i = 0; i < n; i++)
		lines[i] = slice_from_cstr(text[i]);
	smtp_server_reply_lines(s->engine, (struct reply){REPLY_STATUS, {slice_from_cstr(first)}}, lines, n);
}
