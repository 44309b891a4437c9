#include "conf/conf.h"

#include "base/heap.h"
#include "conf/build.h"
#include "conf/scan.h"
#include "conf/value.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that was or will be read. */
struct conf_file {
	char *path;
	struct conf_place from; /* the include that asked for it */
	dev_t device;
	ino_t inode;
};

struct load {
	struct conf_raw raw;
	struct conf_error *err;
	bool from_text;
	struct conf_file files[CONF_FILES_MAX + 1];
	size_t file_count;
	size_t reading; /* the one being read */
};

/* ---- owner and mode ------------------------------------------------------------------------------------------ */

static enum conf_file_verdict check_stat(const struct stat *st)
{
	bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);

	if ((st->st_mode & S_IWOTH) && !sticky)
		return CONF_FILE_WRITABLE;
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return CONF_FILE_OWNER;
	return CONF_FILE_SAFE;
}

/* The file of an absolute path without links, then each directory above it. The worst verdict counts. */
static enum conf_file_verdict check_upwards(char *path)
{
	enum conf_file_verdict worst = CONF_FILE_SAFE;

	for (;;) {
		struct stat st;

		if (stat(*path ? path : "/", &st) != 0)
			return CONF_FILE_MISSING;
		enum conf_file_verdict verdict = check_stat(&st);
		worst = verdict > worst ? verdict : worst;
		char *slash = strrchr(path, '/');
		if (!slash)
			return worst;
		*slash = '\0';
	}
}

enum conf_file_verdict conf_file_check(const char *path)
{
	char *real = realpath(path, NULL);

	if (!real)
		return CONF_FILE_MISSING;
	enum conf_file_verdict verdict = check_upwards(real);
	free(real);
	return verdict;
}

static bool file_is_safe(struct load *l, const char *path)
{
	struct conf_place at = {path, 0};

	switch (conf_file_check(path)) {
	case CONF_FILE_SAFE:
		return true;
	case CONF_FILE_OWNER:
		conf_warn(l->err, at, "it, or a directory above it, belongs to a user who is neither root nor us");
		return true;
	case CONF_FILE_WRITABLE:
		conf_wrong(l->err, at, "it, or a directory above it, can be changed by everybody");
		return false;
	case CONF_FILE_MISSING:
		break;
	}
	conf_wrong(l->err, at, "cannot be read: %s", strerror(errno));
	return false;
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static bool read_all(int fd, struct buf *out)
{
	for (;;) {
		char *into = buf_reserve(out, 4096);
		ssize_t n = into ? read(fd, into, 4096) : -1;

		if (!into)
			errno = EFBIG;
		if (n < 0 && into && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		buf_wrote(out, (size_t)n);
	}
}

/* Also remembers which file it is: the same one twice is a mistake, or a circle. */
static bool read_file(struct load *l, struct conf_file *file, struct buf *out)
{
	struct conf_place at = {file->path, 0};
	struct stat st;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	bool good = fd >= 0 && fstat(fd, &st) == 0;

	if (good && !S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		good = false;
	}
	if (!good || !read_all(fd, out)) {
		conf_wrong(l->err, at, "cannot be read: %s", strerror(errno));
		good = false;
	}
	if (fd >= 0)
		close(fd);
	if (!good)
		return false;
	file->device = st.st_dev;
	file->inode = st.st_ino;
	for (const struct conf_file *f = l->files; f < file; f++)
		if (f->device == st.st_dev && f->inode == st.st_ino) {
			conf_wrong(l->err, file->from, "%s is included twice", file->path);
			return false;
		}
	return true;
}

static bool add_file(struct load *l, const char *path, struct conf_place from)
{
	if (l->file_count > CONF_FILES_MAX) {
		conf_wrong(l->err, from, "there are more than %d included files", CONF_FILES_MAX);
		return false;
	}
	char *copy = heap_alloc(strlen(path) + 1);
	if (!copy) {
		conf_wrong(l->err, from, "there is no memory");
		return false;
	}
	memcpy(copy, path, strlen(path));
	l->files[l->file_count++] = (struct conf_file){.path = copy, .from = from};
	return true;
}

/* A pattern without wildcards must name a file; one with them may name none. */
static bool add_matches(struct load *l, const char *pattern, struct conf_place at)
{
	glob_t found = {0};
	int result = glob(pattern, 0, NULL, &found);
	bool good = true;

	if (result == 0) {
		for (size_t i = 0; good && i < found.gl_pathc; i++)
			good = add_file(l, found.gl_pathv[i], at);
	} else if (result != GLOB_NOMATCH || !strpbrk(pattern, "*?[")) {
		conf_wrong(l->err, at, "there is no file %s", pattern);
		good = false;
	}
	globfree(&found);
	return good;
}

static bool on_include(void *arg, struct conf_place at, struct slice pattern)
{
	struct load *l = arg;
	char path[PATH_MAX];
	struct slice here = slice_from_cstr(at.file);
	size_t slash = slice_rfind(here, '/');
	struct slice directory =
		slash < here.n && pattern.n && pattern.p[0] != '/' ? slice_head(here, slash + 1) : SLICE("");

	if (l->from_text) {
		conf_wrong(l->err, at, "a configuration that is not a file cannot include one");
		return false;
	}
	if (pattern.n == 0 || directory.n + pattern.n >= sizeof path) {
		conf_wrong(l->err, at, "this is no path");
		return false;
	}
	memcpy(path, directory.p, directory.n);
	memcpy(path + directory.n, pattern.p, pattern.n);
	path[directory.n + pattern.n] = '\0';
	return add_matches(l, path, at);
}

/* ---- loading ------------------------------------------------------------------------------------------------- */

static bool load_text(struct load *l, struct slice text, const char *file)
{
	struct buf scanned;

	buf_init(&scanned, CONF_TEXT_MAX);
	bool good = conf_scan(text, file, on_include, l, l->err, &scanned) &&
		    conf_raw_read(&l->raw, buf_slice(&scanned), file, l->err);
	buf_free(&scanned);
	return good;
}

static bool load_one(struct load *l, struct conf_file *file)
{
	struct buf text;

	buf_init(&text, CONF_TEXT_MAX);
	bool good =
		file_is_safe(l, file->path) && read_file(l, file, &text) && load_text(l, buf_slice(&text), file->path);
	buf_free(&text);
	return good;
}

static struct load *load_begin(const char *file, struct conf_error *err)
{
	struct load *l = heap_new(struct load);

	conf_problems_clear(err);
	if (!l || !conf_raw_init(&l->raw, file)) {
		conf_wrong(err, (struct conf_place){file, 0}, "there is no memory");
		heap_free(l);
		return NULL;
	}
	l->err = err;
	return l;
}

static struct conf *load_end(struct load *l, bool good, const struct conf_host *host)
{
	struct conf *c = good && l->err->errors == 0 ? conf_build(&l->raw, host, l->err) : NULL;

	/* Values that were read are checked even when the reading ended early, so that one look shows all there is. */
	if (!c && l->err->errors == 0)
		conf_wrong(l->err, l->raw.first->at, "the configuration cannot be read");
	for (size_t i = 0; i < l->file_count; i++)
		heap_free(l->files[i].path);
	conf_raw_free(&l->raw);
	heap_free(l);
	return c;
}

struct conf *conf_load_file(const char *path, const struct conf_host *host, struct conf_error *err)
{
	struct load *l = load_begin(path, err);

	if (!l)
		return NULL;
	bool good = add_file(l, path, (struct conf_place){path, 0});
	for (; l->reading < l->file_count; l->reading++)
		good = load_one(l, &l->files[l->reading]) && good;
	return load_end(l, good, host);
}

struct conf *conf_load_text(struct slice text, const char *name, const struct conf_host *host, struct conf_error *err)
{
	struct load *l = load_begin(name, err);

	if (!l)
		return NULL;
	l->from_text = true;
	return load_end(l, load_text(l, text, name), host);
}

/* ---- counting ------------------------------------------------------------------------------------------------ */

struct conf *conf_ref(struct conf *c)
{
	assert(c->refs > 0);
	c->refs++;
	return c;
}

void conf_unref(struct conf *c)
{
	if (!c)
		return;
	assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	arena_free(&c->arena);
	heap_free(c);
}

/* ---- the embedded default ------------------------------------------------------------------------------------ */

bool conf_default_text(uint16_t port, struct slice data_dir, struct buf *out)
{
	buf_add_lit(out, "data_dir = ");
	conf_text_write(data_dir.n ? data_dir : SLICE("./run"), out);
	buf_printf(out,
		   "\n"
		   "relay_networks = {\"127.0.0.0/8\", \"::1\"}\n"
		   "listen smtp {\n"
		   "\taddress = \"127.0.0.1\"\n"
		   "\tport = %u\n"
		   "}\n"
		   "domain \"example.com\" {\n"
		   "\tmailboxes = {\"alice\", \"bob\"}\n"
		   "}\n",
		   port ? port : 2525);
	return !out->failed;
}
