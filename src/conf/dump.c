#include "conf/build.h"
#include "conf/value.h"

#include <assert.h>
#include <string.h>

static uint64_t load_number(const void *member, size_t size)
{
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (size) {
	case 1:
		memcpy(&u8, member, size);
		return u8;
	case 2:
		memcpy(&u16, member, size);
		return u16;
	case 4:
		memcpy(&u32, member, size);
		return u32;
	default:
		assert(size == 8);
		memcpy(&u64, member, size);
		return u64;
	}
}

static void write_list(const struct conf_texts *texts, struct buf *out)
{
	buf_add_char(out, '{');
	for (size_t i = 0; i < texts->count; i++) {
		if (i > 0)
			buf_add_lit(out, ", ");
		conf_text_write(texts->list[i], out);
	}
	buf_add_char(out, '}');
}

static void write_value(const struct conf_key *key, const void *member, struct buf *out)
{
	if (conf_type_is_number(key->type)) {
		conf_number_write(key, load_number(member, key->size), out);
	} else if (conf_type_is_list(key->type)) {
		write_list(member, out);
	} else {
		const struct slice *text = member;

		conf_text_write(text->n ? *text : SLICE("none"), out);
	}
}

/* A listener has either address and port or a socket: what it does not have is not written. */
static bool is_left_out(const struct conf_key *key, enum conf_section_id id, const void *base)
{
	const struct conf_listener *l = base;
	bool about_address = strcmp(key->name, "address") == 0 || strcmp(key->name, "port") == 0;

	return id == SECTION_LISTEN && key->section == SECTION_LISTEN && about_address && l->socket.n > 0;
}

static void write_key(const struct conf_key *key, const void *base, const char *indent, struct buf *out)
{
	buf_printf(out, "%s%s = ", indent, key->name);
	write_value(key, (const char *)base + key->offset, out);
	buf_add_char(out, '\n');
}

static void write_keys(enum conf_section_id id, const void *base, const char *indent, struct buf *out)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_section_takes(id, conf_keys[i].section) && !is_left_out(&conf_keys[i], id, base))
			write_key(&conf_keys[i], base, indent, out);
}

static bool is_preset(const struct conf_key *key, const void *base)
{
	const void *member = (const char *)base + key->offset;
	uint64_t preset;

	if (!key->preset)
		return false;
	assert(key->type != TYPE_PROCESSES); /* what its preset means is the host's to say */
	if (conf_type_is_number(key->type))
		return conf_number_read(key, slice_from_cstr(key->preset), 1, &preset) == CONF_NUMBER_OK &&
		       preset == load_number(member, key->size);
	if (conf_type_is_list(key->type))
		return ((const struct conf_texts *)member)->count == 0;
	return slice_eq(slice_from_cstr(key->preset), SLICE("none")) && ((const struct slice *)member)->n == 0;
}

static void write_other_keys(enum conf_section_id id, const void *base, struct buf *out)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_keys[i].section == id && !is_preset(&conf_keys[i], base))
			write_key(&conf_keys[i], base, "\t", out);
}

static void open_section(enum conf_section_id id, struct slice title, const char *indent, struct buf *out)
{
	buf_printf(out, "%s%s ", indent, conf_sections[id].name);
	if (conf_sections[id].titles) {
		conf_text_write(title, out);
		buf_add_char(out, ' ');
	}
	buf_add_lit(out, "{\n");
}

static void write_section(enum conf_section_id id, struct slice title, const void *base, struct buf *out)
{
	open_section(id, title, "", out);
	write_keys(id, base, "\t", out);
	buf_add_lit(out, "}\n");
}

static void write_domain(const struct conf_domain *d, bool whole, struct buf *out)
{
	open_section(SECTION_DOMAIN, d->name, "", out);
	if (whole)
		write_keys(SECTION_DOMAIN, d, "\t", out);
	else
		write_other_keys(SECTION_DOMAIN, d, out);
	for (size_t i = 0; i < d->moved_count; i++) {
		open_section(SECTION_MOVED, d->moved[i].name, "\t", out);
		write_keys(SECTION_MOVED, &d->moved[i], "\t\t", out);
		buf_add_lit(out, "\t}\n");
	}
	for (size_t i = 0; i < d->limit_count; i++) {
		open_section(SECTION_LIMIT, d->limits[i].name, "\t", out);
		write_keys(SECTION_LIMIT, &d->limits[i], "\t\t", out);
		buf_add_lit(out, "\t}\n");
	}
	for (size_t i = 0; i < d->list_count; i++) {
		open_section(SECTION_LIST, d->lists[i].name, "\t", out);
		write_keys(SECTION_LIST, &d->lists[i], "\t\t", out);
		buf_add_lit(out, "\t}\n");
	}
	buf_add_lit(out, "}\n");
}

static void write_route(const struct conf_route_keys *r, bool whole, struct buf *out)
{
	open_section(SECTION_ROUTE, r->domain, "", out);
	if (whole)
		write_keys(SECTION_ROUTE, r, "\t", out);
	else
		write_other_keys(SECTION_ROUTE, r, out);
	buf_add_lit(out, "}\n");
}

/* The one that submit_socket made comes from that key again. */
static size_t own_listeners(const struct conf *c)
{
	return c->listener_count - (c->submit_socket.n > 0);
}

static bool write_all(const struct conf *c, bool whole, struct buf *out)
{
	write_keys(SECTION_TOP, c, "", out);
	write_section(SECTION_SMTP, SLICE_NONE, &c->listener_defaults, out);
	for (size_t i = 0; i < own_listeners(c); i++)
		write_section(SECTION_LISTEN, c->listeners[i].name, &c->listeners[i], out);
	write_section(SECTION_TLS, SLICE_NONE, c, out);
	for (size_t i = 0; i < c->certificate_count; i++)
		write_section(SECTION_CERTIFICATE, c->certificates[i].name, &c->certificates[i], out);
	write_section(SECTION_ACCOUNTS, SLICE_NONE, c, out);
	for (size_t i = 0; i < c->certificate_login_count; i++)
		write_section(SECTION_CERTIFICATE_LOGIN, c->certificate_logins[i].login, &c->certificate_logins[i],
			      out);
	write_section(SECTION_OAUTH, SLICE_NONE, c, out);
	for (size_t i = 0; i < c->domain_count; i++)
		write_domain(&c->domains[i], whole, out);
	for (size_t i = 0; i < c->route_count; i++)
		write_route(&c->routes[i], whole, out);
	for (size_t i = 0; i < c->rules.count; i++)
		write_section(SECTION_RULE, c->rule_keys[i].name, &c->rule_keys[i], out);
	write_section(SECTION_QUEUE, SLICE_NONE, c, out);
	write_section(SECTION_CLIENT, SLICE_NONE, c, out);
	write_section(SECTION_MAILBOX, SLICE_NONE, c, out);
	write_section(SECTION_LOG, SLICE_NONE, c, out);
	return !out->failed;
}

bool conf_dump(const struct conf *c, struct buf *out)
{
	return write_all(c, true, out);
}

bool conf_dump_short(const struct conf *c, struct buf *out)
{
	return write_all(c, false, out);
}

/* ---- what only a start puts into force ----------------------------------------------------------------------- */

static bool same_value(const struct conf_key *key, const void *a, const void *b)
{
	const char *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;

	assert(!conf_type_is_list(key->type)); /* lists are all LIVE */
	if (conf_type_is_number(key->type))
		return load_number(x, key->size) == load_number(y, key->size);
	return slice_eq(*(const struct slice *)(const void *)x, *(const struct slice *)(const void *)y);
}

static const char *first_difference(enum conf_section_id id, const void *a, const void *b)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_keys[i].section == id && !conf_keys[i].live && !same_value(&conf_keys[i], a, b))
			return conf_keys[i].name;
	return NULL;
}

bool conf_needs_restart(const struct conf *from, const struct conf *to, const char **which)
{
	static const enum conf_section_id of_conf[] = {SECTION_TOP,    SECTION_TLS,     SECTION_ACCOUNTS, SECTION_OAUTH,
						       SECTION_QUEUE, SECTION_CLIENT, SECTION_MAILBOX, SECTION_LOG};

	*which = NULL;
	for (size_t i = 0; i < sizeof of_conf / sizeof *of_conf && !*which; i++)
		*which = first_difference(of_conf[i], from, to);
	if (!*which && own_listeners(from) != own_listeners(to))
		*which = "listen";
	for (size_t i = 0; i < own_listeners(from) && !*which; i++)
		*which = first_difference(SECTION_LISTEN, &from->listeners[i], &to->listeners[i]);
	return *which != NULL;
}
