/*
 * attacks C12: where there is no randomness nothing goes on, and nothing weaker takes its place. getrandom, and
 * OpenSSL's generator, are linked with what stands here in front of them.
 */
#include "test.h"

#include "net/host.h"
#include "net/loop.h"
#include "net/tls.h"

#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

ssize_t __real_getrandom(void *into, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *into, size_t n, unsigned flags);
int __wrap_RAND_bytes(unsigned char *into, int n);
int __wrap_RAND_priv_bytes(unsigned char *into, int n);
int __real_RAND_bytes(unsigned char *into, int n);
int __real_RAND_priv_bytes(unsigned char *into, int n);

static enum { GOOD, FAILS, GIVES_HALF } how;
static bool openssl_fails, openssl_fails_for_secrets;

ssize_t __wrap_getrandom(void *into, size_t n, unsigned flags)
{
	if (how == FAILS) {
		errno = ENOSYS;
		return -1;
	}
	return __real_getrandom(into, how == GIVES_HALF ? n / 2 : n, flags);
}

int __wrap_RAND_bytes(unsigned char *into, int n)
{
	return openssl_fails ? 0 : __real_RAND_bytes(into, n);
}

int __wrap_RAND_priv_bytes(unsigned char *into, int n)
{
	return openssl_fails_for_secrets ? 0 : __real_RAND_priv_bytes(into, n);
}

/* The signal that ends a process which does `what`; 0: it goes on. */
static int ended_by(void (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		signal(SIGABRT, SIG_DFL); /* a sanitizer's would tell of it */
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void ask_host(void)
{
	host_random();
}

static void ask_host_for_many(void)
{
	char octets[1000];

	host_random_octets(octets, sizeof octets);
}

static void make_loop(void)
{
	loop_free(loop_new());
}

static struct loop *loop;

static void ask_loop(void)
{
	loop_random(loop);
}

static void test_C12_a_process_without_randomness_ends(void **state)
{
	static void (*const ask[])(void) = {ask_host, ask_host_for_many, make_loop, ask_loop};

	(void)state;
	loop = loop_new();
	for (size_t i = 0; i < sizeof ask / sizeof *ask; i++) {
		how = GOOD;
		assert_int_equal(ended_by(ask[i]), 0);
		how = FAILS;
		assert_int_equal(ended_by(ask[i]), SIGABRT);
		how = GIVES_HALF;
		assert_int_equal(ended_by(ask[i]), SIGABRT);
	}
	how = GOOD;
	loop_free(loop);
}

/* The secret in force stays as it is. */
static void test_C12_no_secret_of_tickets_is_made_without_randomness(void **state)
{
	struct tls_tickets tickets = {.lifetime = HOUR}, before;

	(void)state;
	assert_true(tls_tickets_renew(&tickets));
	before = tickets;
	openssl_fails = true;
	assert_false(tls_tickets_renew(&tickets));
	assert_memory_equal(&tickets, &before, sizeof before);
	openssl_fails = false;
	openssl_fails_for_secrets = true;
	assert_false(tls_tickets_renew(&tickets));
	assert_memory_equal(&tickets, &before, sizeof before);
	openssl_fails_for_secrets = false;
	assert_true(tls_tickets_renew(&tickets));
	assert_memory_not_equal(&tickets.key[0], &before.key[0], sizeof before.key[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_C12_a_process_without_randomness_ends),
		cmocka_unit_test(test_C12_no_secret_of_tickets_is_made_without_randomness),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
