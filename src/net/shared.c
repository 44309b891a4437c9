#include "net/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

int shared_new(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

void *shared_map(int fd, size_t size)
{
	struct stat st;
	void *memory = MAP_FAILED;
	int seals = fcntl(fd, F_GET_SEALS);

	errno = EINVAL;
	if (seals >= 0 && (seals & SEALS) == SEALS && fstat(fd, &st) == 0 && st.st_size == (off_t)size)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error = errno;
	close(fd);
	errno = error;
	return memory == MAP_FAILED ? NULL : memory;
}

void shared_unmap(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}
