#include "conf/secrets.h"

#include "base/heap.h"
#include "conf/problem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool is_guarded(int fd, const char *path, struct conf_error *err)
{
	struct conf_place at = {path, 0};
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		conf_wrong(err, at, "cannot be read: it is no file");
		return false;
	}
	if (st.st_mode & (S_IRWXO | S_IWGRP)) {
		conf_wrong(err, at,
			   "it holds a secret, and can be %s: chmod 600 (or 640, for the group of the server)",
			   st.st_mode & S_IROTH ? "read by everybody" : "used by others");
		return false;
	}
	switch (conf_file_check(path)) {
	case CONF_FILE_WRITABLE:
		conf_wrong(err, at, "it holds a secret, and a directory above it can be changed by everybody");
		return false;
	case CONF_FILE_OWNER:
		/* Root looks at it for the account that the server has, whose file it may be. */
		if (geteuid() == 0)
			return true;
		conf_warn(err, at, "it, or a directory above it, belongs to a user who is neither root nor us");
		return true;
	default:
		return true;
	}
}

/* One octet more than fits, if there are so many. */
static bool read_up_to(int fd, char *into, size_t size, size_t *ret)
{
	for (*ret = 0; *ret < size;) {
		ssize_t n = read(fd, into + *ret, size - *ret);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		*ret += (size_t)n;
	}
	return true;
}

/* What a file holds, without the end of its line. */
static struct slice strip(struct slice s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n > 0 && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

/* NULL: it can be one. */
static const char *wrong_with(struct slice s)
{
	if (s.n == 0)
		return "the secret is empty";
	if (s.n > CONF_SECRET_MAX)
		return "it is too long for a secret";
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' || s.p[i] == '\r')
			return "a secret is one line, and there are more";
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return "a secret has no control characters";
	}
	return NULL;
}

static bool keep(struct slice s, struct slice *ret)
{
	char *p = heap_alloc(s.n + 1);

	if (!p)
		return false;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	*ret = slice_of(p, s.n);
	return true;
}

static bool take(struct conf_secret *to, struct slice s, const char *where, struct conf_error *err)
{
	const char *wrong = wrong_with(s);

	if (!wrong && !keep(s, &to->secret))
		wrong = "there is no memory";
	if (wrong)
		conf_wrong(err, (struct conf_place){where, 0}, "%s", wrong);
	return !wrong;
}

static bool read_secret_file(struct conf_secret *to, const char *path, struct conf_error *err)
{
	char text[CONF_SECRET_MAX + 4];
	size_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		conf_wrong(err, (struct conf_place){path, 0}, "the secret of route \"%.*s\" cannot be read: %s",
			   SLICE_ARGS(to->route), strerror(errno));
		return false;
	}
	bool good = is_guarded(fd, path, err);
	if (good && !read_up_to(fd, text, sizeof text, &n)) {
		conf_wrong(err, (struct conf_place){path, 0}, "cannot be read: %s", strerror(errno));
		good = false;
	}
	close(fd);
	good = good && take(to, strip(slice_of(text, n)), path, err);
	explicit_bzero(text, sizeof text);
	return good;
}

/* ---- the environment --------------------------------------------------------------------------------------------- */

static struct slice find_before(const struct conf_secrets *before, struct slice variable)
{
	for (size_t i = 0; before && i < before->count; i++)
		if (slice_eq(before->list[i].variable, variable))
			return before->list[i].secret;
	return SLICE_NONE;
}

static bool read_variable(struct conf_secret *to, const struct conf_route_keys *r, const struct conf_secrets *before,
			  bool checks, struct conf_error *err)
{
	const char *name = r->auth_secret_env.p;
	const char *value = before ? NULL : getenv(name);
	struct slice s = value ? slice_from_cstr(value) : find_before(before, r->auth_secret_env);
	struct conf_place at = {name, 0};

	if (!keep(r->auth_secret_env, &to->variable)) {
		conf_wrong(err, at, "there is no memory");
		return false;
	}
	if (s.p)
		return take(to, s, name, err);
	if (checks)
		conf_warn(err, at, "the secret of route \"%.*s\" is not in this environment", SLICE_ARGS(r->domain));
	else
		conf_wrong(err, at, "the secret of route \"%.*s\" is not in the environment%s", SLICE_ARGS(r->domain),
			   before ? ", which was read when the server started" : "");
	return checks;
}

void conf_secrets_hide(const struct conf_secrets *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->list[i].variable.p;
		char *value = name ? getenv(name) : NULL;
		if (!value)
			continue;
		/* Others of our user can look at where it stands. */
		explicit_bzero(value, strlen(value));
		unsetenv(name);
	}
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static bool read_one(struct conf_secret *to, const struct conf_route_keys *r, const struct conf_secrets *before,
		     bool checks, struct conf_error *err)
{
	if (!keep(r->domain, &to->route)) {
		conf_wrong(err, (struct conf_place){r->domain.p, 0}, "there is no memory");
		return false;
	}
	if (r->auth_secret_env.n)
		return read_variable(to, r, before, checks, err);
	return read_secret_file(to, r->auth_secret_file.p, err);
}

struct conf_secrets *conf_secrets_read(const struct conf *c, const struct conf_secrets *before, bool checks,
				       struct conf_error *err)
{
	struct conf_secrets *s = heap_new(struct conf_secrets);
	bool good = true;

	if (s)
		*s = (struct conf_secrets){.list = heap_alloc((c->route_count + 1) * sizeof *s->list)};
	if (!s || !s->list) {
		conf_wrong(err, (struct conf_place){"secrets", 0}, "there is no memory");
		heap_free(s);
		return NULL;
	}
	for (size_t i = 0; i < c->route_count; i++) {
		if (c->routes[i].auth_user.n == 0)
			continue;
		struct conf_secret *to = &s->list[s->count++];
		*to = (struct conf_secret){0};
		good &= read_one(to, &c->routes[i], before, checks, err);
	}
	if (good)
		return s;
	conf_secrets_free(s);
	return NULL;
}

static void wipe(struct slice s)
{
	if (s.p)
		explicit_bzero((void *)(uintptr_t)s.p, s.n);
	heap_free((void *)(uintptr_t)s.p);
}

void conf_secrets_free(struct conf_secrets *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		wipe(s->list[i].route);
		wipe(s->list[i].variable);
		wipe(s->list[i].secret);
	}
	heap_free(s->list);
	heap_free(s);
}
