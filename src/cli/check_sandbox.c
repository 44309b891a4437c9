/*
 * postrider check --sandbox: what each role may do, from the table; and what it could do, tried by processes that lock
 * themselves in as the roles do. Nothing of a server that runs is touched.
 */
#include "cli/check_sandbox.h"

#include "cli/sandbox_try.h"
#include "net/identity.h"
#include "role/confine.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>

/* Roles that are not in the enumeration need nothing by their configuration. */
static void needs_of(const struct conf *c, const char *role, struct confine_needs *ret)
{
	enum role_kind kind = ROLE_SUPERVISOR;

	for (int k = 0; k <= ROLE_KIND_MAX; k++)
		if (strcmp(role_name((enum role_kind)k), role) == 0)
			kind = (enum role_kind)k;
	confine_needs(kind, c, ret);
}

static unsigned calls_of(const struct sandbox_row *row, const struct confine_needs *needs)
{
	return row->calls | (row->calls_if_needed & needs->sandbox.calls);
}

static const char *outcome_name(enum sandbox_outcome o)
{
	static const char *const names[] = {"may", "stopped", "ended", "unknown"};

	return names[o];
}

static void rights_text(unsigned rights, char out[64])
{
	snprintf(out, 64, "%s%s%s%s%s", rights & SANDBOX_FILE_READ ? "read " : "",
		 rights & SANDBOX_FILE_WRITE ? "write " : "", rights & SANDBOX_FILE_MAKE ? "make " : "",
		 rights & SANDBOX_FILE_REMOVE ? "remove " : "", rights & SANDBOX_FILE_EXECUTE ? "execute " : "");
	out[strlen(out) - (strlen(out) > 0)] = '\0';
}

/* ---- text ----------------------------------------------------------------------------------------------------- */

static void print_path(const struct sandbox_path *p, bool first)
{
	char rights[64];

	rights_text(p->rights, rights);
	printf("%s %s%s (%s)", first ? "" : ",", p->path[0] == '/' ? "" : "DATA_DIR/", p->path, rights);
}

static void print_table(const struct sandbox_row *row, const struct confine_needs *needs)
{
	unsigned calls = calls_of(row, needs);

	printf("\n%s\n  may: %s\n  never: %s\n  system calls:", row->role, row->may, row->never);
	for (int g = 0; g < SANDBOX_GROUP_COUNT; g++)
		if (calls & SANDBOX_BIT(g))
			printf(" %s", sandbox_group_name((enum sandbox_group)g));
	printf("\n  files:");
	for (const struct sandbox_path *p = row->paths; p->path; p++)
		print_path(p, p == row->paths);
	for (const struct sandbox_path *p = needs->paths; p->path; p++)
		print_path(p, p == needs->paths && !row->paths[0].path);
	printf("%s\n", row->all_files ? " all" : row->paths[0].path || needs->paths[0].path ? "" : " none");
	if (!(calls & SANDBOX_BIT(SANDBOX_STREAM)))
		return;
	printf("  TCP ports:");
	for (size_t i = 0; i < needs->sandbox.port_count && row->connect == SANDBOX_TCP_NEEDED; i++)
		printf(" %u", needs->ports[i]);
	printf("%s\n", row->connect == SANDBOX_TCP_ANY || needs->sandbox.any_port ? " all" : "");
}

static void print_trials(const struct sandbox_trial *trials)
{
	for (size_t i = 0; i < sandbox_attempt_count; i++) {
		const struct sandbox_trial *t = &trials[i];
		if (t->outcome == SANDBOX_STOPPED)
			printf("  %-55s stopped: %s\n", sandbox_attempts[i].meaning, strerror(t->error));
		else
			printf("  %-55s %s\n", sandbox_attempts[i].meaning,
			       t->outcome == SANDBOX_MAY     ? "CAN"
			       : t->outcome == SANDBOX_ENDED ? "stopped: the process is ended"
							     : "could not be tried");
	}
}

static void print_kernel(const struct sandbox_kernel *k)
{
	if (k->landlock)
		printf("Landlock: version %d%s\n", k->landlock,
		       k->landlock < 4 ? ", which knows files but no ports" : "");
	else
		printf("Landlock: none that is of use; files and ports are not confined\n");
	printf("seccomp: %s\n", k->seccomp ? "yes" : "none; system calls are not filtered");
}

/* ---- JSON ----------------------------------------------------------------------------------------------------- */

static json_t *json_trials(const struct sandbox_trial *trials)
{
	json_t *all = json_object();

	for (size_t i = 0; i < sandbox_attempt_count; i++)
		json_object_set_new(all, sandbox_attempts[i].name,
				    json_pack("{s:s, s:o}", "outcome", outcome_name(trials[i].outcome), "error",
					      trials[i].outcome == SANDBOX_STOPPED
						      ? json_string(strerrorname_np(trials[i].error))
						      : json_null()));
	return all;
}

static json_t *json_row(const struct sandbox_row *row, const struct confine_needs *needs)
{
	json_t *calls = json_array(), *paths = json_array(), *ports = json_array();
	char rights[64];

	for (int g = 0; g < SANDBOX_GROUP_COUNT; g++)
		if (calls_of(row, needs) & SANDBOX_BIT(g))
			json_array_append_new(calls, json_string(sandbox_group_name((enum sandbox_group)g)));
	for (const struct sandbox_path *p = row->paths; p->path; p++) {
		rights_text(p->rights, rights);
		json_array_append_new(paths, json_pack("{s:s, s:s}", "path", p->path, "rights", rights));
	}
	for (const struct sandbox_path *p = needs->paths; p->path; p++) {
		rights_text(p->rights, rights);
		json_array_append_new(paths, json_pack("{s:s, s:s}", "path", p->path, "rights", rights));
	}
	for (size_t i = 0; i < needs->sandbox.port_count; i++)
		json_array_append_new(ports, json_integer(needs->ports[i]));
	return json_pack("{s:s, s:s, s:o, s:o, s:b, s:o, s:b}", "may", row->may, "never", row->never, "calls", calls,
			 "paths", paths, "all_files", row->all_files, "ports", ports, "all_ports",
			 row->connect == SANDBOX_TCP_ANY || needs->sandbox.any_port);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static bool show_roles(const struct cli_command *self, const struct conf *c, struct sandbox_scene *scene, json_t *roles)
{
	struct sandbox_trial trials[SANDBOX_ATTEMPTS_MAX];
	struct confine_needs needs;
	char why[SANDBOX_WHY_MAX];

	for (size_t i = 0; i < sandbox_row_count; i++) {
		const struct sandbox_row *row = &sandbox_rows[i];
		needs_of(c, row->role, &needs);
		if (!sandbox_try(scene, row, &needs.sandbox, trials, why)) {
			cli_fail(self, EX_OSERR, "%s cannot lock itself in: %s", row->role, why);
			return false;
		}
		if (roles) {
			json_t *value = json_row(row, &needs);
			json_object_set_new(value, "tried", json_trials(trials));
			json_object_set_new(roles, row->role, value);
		} else {
			print_table(row, &needs);
			print_trials(trials);
		}
	}
	return true;
}

static int show(const struct cli_command *self, const struct conf *c, struct sandbox_scene *scene, bool json)
{
	struct sandbox_kernel kernel = sandbox_kernel();
	struct sandbox_trial trials[SANDBOX_ATTEMPTS_MAX];
	char why[SANDBOX_WHY_MAX];

	if (!json) {
		print_kernel(&kernel);
		return show_roles(self, c, scene, NULL) ? EX_OK : EX_OSERR;
	}
	sandbox_try(scene, NULL, NULL, trials, why);
	json_t *roles = json_object();
	json_t *value = json_pack("{s:i, s:b, s:b, s:o, s:o}", "landlock", kernel.landlock, "seccomp", kernel.seccomp,
				  "sanitizers", sandbox_sanitizer_row != NULL, "unconfined", json_trials(trials),
				  "roles", roles);
	bool good = show_roles(self, c, scene, roles);
	if (good)
		cli_json_print(value);
	else
		json_decref(value);
	return good ? EX_OK : EX_OSERR;
}

/* As the server would be. */
static bool give_up_root(const struct cli_command *self, const struct conf *c)
{
	struct identity account;

	if (!identity_is_root() || (identity_find(c->user.p, &account) && identity_become(&account)))
		return true;
	cli_fail(self, EX_NOUSER, "there is no account to become: %.*s", SLICE_ARGS(c->user));
	return false;
}

int cli_check_sandbox(const struct cli_command *self, const struct conf *conf, bool json)
{
	if (!give_up_root(self, conf))
		return EX_NOUSER;
	/* As the roles, which Landlock wants. */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	struct sandbox_scene *scene = sandbox_scene_open();
	if (!scene)
		return cli_fail(self, EX_CANTCREAT, "/tmp: %s", strerror(errno));
	int status = show(self, conf, scene, json);
	sandbox_scene_close(scene);
	return status;
}
