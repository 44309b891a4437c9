#include "net/host.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static bool is_host_name(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_is_alnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '.')
			return false;
	return name.n > 0 && ascii_is_alnum(name.p[0]) && ascii_is_alnum(name.p[name.n - 1]);
}

bool host_name(struct buf *out)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (gethostname(name, sizeof name - 1) < 0 || !is_host_name(slice_from_cstr(name)))
		return buf_add_lit(out, "localhost");
	return buf_add(out, slice_from_cstr(name));
}

unsigned host_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

bool host_boot_id(struct buf *out)
{
	char text[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return true;
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	return buf_add(out, slice_trim(slice_of(text, n > 0 ? (size_t)n : 0)));
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000000;
}

mono_ms host_mono(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

int64_t host_mono_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

wall_ms host_wall(void)
{
	return clock_ms(CLOCK_REALTIME);
}

void host_random_octets(void *into, size_t n)
{
	char *at = into;

	while (n > 0) {
		/* At most 256 octets are never given in part (getrandom(2)). */
		size_t part = n < 256 ? n : 256;
		if (getrandom(at, part, 0) != (ssize_t)part)
			abort();
		at += part;
		n -= part;
	}
}

uint64_t host_random(void)
{
	uint64_t value;

	host_random_octets(&value, sizeof value);
	return value;
}
