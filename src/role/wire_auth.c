#include "role/wire_auth.h"

#include "base/pack.h"

#include <string.h>

static void put_tag(struct buf *out, const struct wire_auth_tag *tag)
{
	pack_u64(out, tag->session);
	pack_u64(out, tag->serial);
}

static struct wire_auth_tag get_tag(struct unpack *u)
{
	struct wire_auth_tag tag = {.session = unpack_u64(u)};

	tag.serial = unpack_u64(u);
	return tag;
}

static struct slice get_login(struct unpack *u)
{
	struct slice login = unpack_slice(u, SASL_LOGIN_MAX);

	u->bad |= login.n == 0;
	return login;
}

void wire_put_auth_tag(struct buf *out, const struct wire_auth_tag *tag)
{
	put_tag(out, tag);
}

bool wire_get_auth_tag(struct slice in, struct wire_auth_tag *ret)
{
	struct unpack u = {.in = in};

	*ret = get_tag(&u);
	return unpack_done(&u);
}

static void put_address(struct buf *out, const struct ip_address *a)
{
	pack_slice(out, slice_of((const char *)a->octets, a->size));
}

/* Of 4 or 16 octets, or none at all. */
static struct ip_address get_address(struct unpack *u)
{
	struct slice octets = unpack_slice(u, 16);
	struct ip_address a = {.size = (uint8_t)octets.n};

	u->bad |= octets.n != 0 && octets.n != 4 && octets.n != 16;
	if (octets.n)
		memcpy(a.octets, octets.p, octets.n);
	return a;
}

void wire_put_auth_begin(struct buf *out, const struct wire_auth_begin *begin)
{
	put_tag(out, &begin->tag);
	pack_u8(out, (uint8_t)begin->mechanism);
	pack_u8(out, begin->plus_offered);
	pack_u8(out, begin->given);
	pack_slice(out, begin->exporter);
	pack_slice(out, begin->unique);
	pack_slice(out, begin->certificate);
	put_address(out, &begin->client);
	pack_slice(out, begin->session);
	pack_slice(out, begin->response);
}

bool wire_get_auth_begin(struct slice in, struct wire_auth_begin *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_begin){.tag = get_tag(&u)};
	ret->mechanism = unpack_u8_max(&u, SASL_MECHANISMS - 1);
	ret->plus_offered = unpack_bool(&u);
	ret->given = unpack_bool(&u);
	ret->exporter = unpack_slice(&u, SASL_BINDING_MAX);
	ret->unique = unpack_slice(&u, SASL_BINDING_MAX);
	ret->certificate = unpack_slice(&u, EXTERNAL_NAMES_MAX);
	ret->client = get_address(&u);
	ret->session = unpack_slice(&u, WIRE_SESSION_NAME_MAX);
	ret->response = unpack_slice(&u, SASL_RESPONSE_MAX);
	return unpack_done(&u) && (ret->given || ret->response.n == 0);
}

void wire_put_auth_step(struct buf *out, const struct wire_auth_step *step)
{
	put_tag(out, &step->tag);
	pack_slice(out, step->octets);
}

bool wire_get_auth_step(struct slice in, struct wire_auth_step *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_step){.tag = get_tag(&u)};
	ret->octets = unpack_slice(&u, SASL_RESPONSE_MAX);
	return unpack_done(&u);
}

void wire_put_auth_done(struct buf *out, const struct wire_auth_done *done)
{
	put_tag(out, &done->tag);
	pack_u8(out, (uint8_t)done->result);
	if (done->result != SASL_GOOD)
		return;
	pack_slice(out, done->login);
	pack_u8(out, (uint8_t)done->address_count);
	for (size_t i = 0; i < done->address_count; i++)
		pack_slice(out, done->addresses[i]);
}

bool wire_get_auth_done(struct slice in, struct wire_auth_done *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_done){.tag = get_tag(&u)};
	ret->result = unpack_u8_max(&u, SASL_RESULT_LAST);
	u.bad |= ret->result == SASL_CHALLENGE;
	if (ret->result == SASL_GOOD && !u.bad) {
		ret->login = get_login(&u);
		ret->address_count = unpack_u8_max(&u, ACCOUNT_ADDRESSES_MAX + 1);
		for (size_t i = 0; i < ret->address_count; i++)
			ret->addresses[i] = unpack_slice(&u, MAIL_PATH_MAX);
	}
	return unpack_done(&u);
}

void wire_put_auth_spend(struct buf *out, const struct wire_auth_spend *spend)
{
	put_tag(out, &spend->tag);
	pack_slice(out, spend->login);
}

bool wire_get_auth_spend(struct slice in, struct wire_auth_spend *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_spend){.tag = get_tag(&u)};
	ret->login = get_login(&u);
	return unpack_done(&u);
}

void wire_put_auth_spent(struct buf *out, const struct wire_auth_spent *spent)
{
	put_tag(out, &spent->tag);
	pack_u8(out, (uint8_t)spent->allowance);
	pack_u32(out, spent->recipients);
}

bool wire_get_auth_spent(struct slice in, struct wire_auth_spent *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_spent){.tag = get_tag(&u)};
	ret->allowance = unpack_u8_max(&u, WIRE_ALLOWANCE_UNKNOWN);
	ret->recipients = unpack_u32(&u);
	return unpack_done(&u) && (ret->allowance == WIRE_ALLOWED) == (ret->recipients > 0);
}

void wire_put_auth_used(struct buf *out, const struct wire_auth_used *used)
{
	pack_slice(out, used->login);
	pack_u32(out, used->recipients);
}

bool wire_get_auth_used(struct slice in, struct wire_auth_used *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_auth_used){.login = get_login(&u)};
	ret->recipients = unpack_u32_max(&u, WIRE_RCPTS_MAX);
	return unpack_done(&u);
}
