/*
 * Any text is a configuration or an error with its place; what was taken is dumped, and the dump is read back to the
 * same dump, and so is the short one. Each recipient that such a configuration knows has a way that is there.
 */
#include <assert.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf_error err;

static void check_routes(const struct conf *c)
{
	static const char *const addresses[] = {"postmaster", "a@a.example", "\"a b\"@b", "x@[192.0.2.1]", "a@b.c", "",
						"@"};

	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		struct route route;

		conf_route(c, slice_from_cstr(addresses[i]), &route);
		assert((route.kind == ROUTE_MAILBOX) == (route.mailbox.n > 0));
		if (route.kind == ROUTE_SMTP || route.kind == ROUTE_LMTP)
			assert(conf_hosts(c, route.hosts));
		if (route.kind == ROUTE_MAILBOX) {
			assert(route.mailbox.p[0] != '/' && route.mailbox.p[0] != '.');
			assert(slice_search(route.mailbox, SLICE("/.")) == route.mailbox.n);
			assert(slice_find(slice_skip(route.mailbox, slice_find(route.mailbox, '/') + 1), '/') ==
			       route.mailbox.n - slice_find(route.mailbox, '/') - 1);
		}
	}
	struct route route;
	conf_route(c, SLICE("postmaster"), &route);
	assert(route.kind == ROUTE_MAILBOX || route.kind == ROUTE_LMTP);
	conf_route(c, c->queue.postmaster, &route);
	assert(route.kind == ROUTE_MAILBOX || route.kind == ROUTE_LMTP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct conf_host host = {.name = {"mx.test", 7}, .cores = 2}, other = {.cores = 9};
	struct conf *c = conf_load_text(slice_of(data, size), "text", &host, &err);
	struct buf first, second;

	assert(strlen(err.text) == err.length);
	if (!c) {
		assert(err.errors > 0);
		assert(strncmp(err.text, "text:", 5) == 0);
		return 0;
	}
	assert(err.errors == 0);
	check_routes(c);
	buf_init(&first, CONF_TEXT_MAX);
	buf_init(&second, CONF_TEXT_MAX);
	if (conf_dump(c, &first)) {
		struct conf *again = conf_load_text(buf_slice(&first), "text", &other, &err);

		assert(again);
		assert(conf_dump(again, &second));
		assert(slice_eq(buf_slice(&first), buf_slice(&second)));
		conf_unref(again);
		buf_reset(&second);
		assert(conf_dump_short(c, &second));
		again = conf_load_text(buf_slice(&second), "text", &other, &err);
		assert(again);
		buf_reset(&second);
		assert(conf_dump(again, &second));
		assert(slice_eq(buf_slice(&first), buf_slice(&second)));
		conf_unref(again);
	}
	buf_free(&second);
	buf_free(&first);
	conf_unref(c);
	return 0;
}
