/*
 * postrider check --data: is a data directory sound.
 */
#include "cli/check_data.h"

#include "net/fs_posix.h"
#include "queue/store_check.h"
#include "queue/store_salvage.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

struct report {
	bool json;
	FILE *to;         /* text, as problems are found */
	json_t *problems; /* JSON, at the end */
};

static void on_problem(void *arg, bool is_error, msg_id id, const char *text)
{
	struct report *r = arg;

	if (r->json) {
		json_array_append_new(r->problems,
				      json_pack("{s:s, s:o, s:o}", "severity", is_error ? "error" : "warning", "id",
						id ? json_string(msg_id_format(id).text) : json_null(), "text",
						cli_json_text(slice_from_cstr(text))));
		return;
	}
	fprintf(r->to, "%s: %s%s", is_error ? "error" : "warning", id ? msg_id_format(id).text : "", id ? ": " : "");
	cli_print(r->to, slice_from_cstr(text));
	fputc('\n', r->to);
}

static void print_json(const char *directory, const struct report *r, const struct store_check *found, bool marked)
{
	json_t *states = json_object();

	for (int i = 0; i <= STORE_STATE_MAX; i++)
		json_object_set_new(states, cli_state_name(i), json_integer((json_int_t)found->states[i]));
	cli_json_print(
		json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:b, s:O}",
			  "directory", cli_json_text(slice_from_cstr(directory)), "sound", found->errors == 0, "errors",
			  (json_int_t)found->errors, "warnings", (json_int_t)found->warnings, "messages",
			  (json_int_t)found->messages, "open", (json_int_t)found->open, "recipients", states, "bodies",
			  "count", (json_int_t)found->bodies, "octets", (json_int_t)found->body_octets, "files",
			  "count", (json_int_t)found->files, "octets", (json_int_t)found->file_octets, "unnamed_files",
			  "count", (json_int_t)found->strays, "octets", (json_int_t)found->stray_octets,
			  "salvage_at_start", marked, "problems", r->problems));
}

static void print_text(const char *directory, const struct store_check *found, bool marked)
{
	printf("%llu messages, %llu of them open: %llu bodies of %llu octets in the database, %llu of %llu in "
	       "files\n",
	       (unsigned long long)found->messages, (unsigned long long)found->open, (unsigned long long)found->bodies,
	       (unsigned long long)found->body_octets, (unsigned long long)found->files,
	       (unsigned long long)found->file_octets);
	printf("recipients:");
	for (int i = 0; i <= STORE_STATE_MAX; i++)
		printf("%s %llu %s", i ? "," : "", (unsigned long long)found->states[i], cli_state_name(i));
	printf("\n");
	if (found->strays)
		printf("%llu files of %llu octets that no message names: from uploads that were cut off; the next "
		       "start removes them\n",
		       (unsigned long long)found->strays, (unsigned long long)found->stray_octets);
	cli_print(stdout, slice_from_cstr(directory));
	if (found->errors)
		printf(": damaged, %llu error%s; %s\n", (unsigned long long)found->errors,
		       found->errors == 1 ? "" : "s",
		       marked ? "the next start puts the database aside and saves what can be read"
			      : "with --salvage, the next start puts the database aside and saves what can be read");
	else
		printf(": sound%s\n", found->warnings ? ", with warnings" : "");
}

static int status_of(enum store_result result)
{
	switch (result) {
	case STORE_LOCKED:
		return EX_TEMPFAIL;
	case STORE_NOT_FOUND:
		return EX_NOINPUT;
	case STORE_NO_MEMORY:
		return EX_OSERR;
	case STORE_CORRUPT:
	case STORE_VERSION:
		return EX_DATAERR;
	default:
		return EX_IOERR;
	}
}

static int look(const struct cli_command *self, const char *directory, struct fs *fs, const char *path, bool salvage,
		bool json)
{
	struct report r = {.json = json, .to = stderr, .problems = json_array()};
	struct store_check_config config = {.path = path, .fs = fs, .problem = on_problem, .arg = &r};
	struct store_check found;
	struct buf why;

	buf_init(&why, 4096);
	enum store_result result = store_sqlite_check(&config, &found, &why);
	int status = found.errors ? EX_DATAERR : EX_OK;
	if (salvage && found.errors && result == STORE_OK && store_sqlite_suspect(fs) != STORE_OK)
		status = cli_fail(self, EX_CANTCREAT, "%s/%s: cannot be made", directory, STORE_SUSPECT);
	bool marked = false;
	if (result == STORE_OK)
		result = store_sqlite_is_suspect(fs, &marked);
	if (result != STORE_OK)
		status = cli_fail(self, status_of(result), "%.*s", SLICE_ARGS(buf_slice(&why)));
	else if (json)
		print_json(directory, &r, &found, marked);
	else
		print_text(directory, &found, marked);
	json_decref(r.problems);
	buf_free(&why);
	return status;
}

int cli_check_directory(const struct cli_command *self, const char *directory, bool salvage, bool json)
{
	struct buf path;
	struct fs *fs;
	int error = fs_posix_open(directory, &fs);

	if (error)
		return cli_fail(self, error == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", directory, strerror(error));
	buf_init(&path, 8192);
	buf_printf(&path, "%s/queue.db", directory);
	const char *text = buf_cstr(&path);
	int status = text ? look(self, directory, fs, text, salvage, json) : cli_fail(self, EX_OSERR, "out of memory");
	buf_free(&path);
	fs->ops->close(fs);
	return status;
}
