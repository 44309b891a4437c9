#include "net/descriptor.h"

#include <unistd.h>

void descriptor_close(int fd)
{
	close(fd);
}
