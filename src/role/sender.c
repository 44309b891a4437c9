/*
 * The sender: SMTP to other servers. It connects out, and neither listens nor sees the store or a mailbox.
 */
#include "role/courier.h"

static void *sender_start(struct loop *l, const struct role_self *self)
{
	return courier_new(l, self, NULL, NULL);
}

static bool sender_configure(void *arg, struct conf *conf)
{
	courier_configure(arg, conf);
	courier_ready(arg);
	return true;
}

static bool sender_secrets(void *arg, struct slice frame)
{
	return courier_secrets(arg, frame);
}

static void sender_file(void *arg, const struct wire_file *file, int fd)
{
	courier_file(arg, file, fd);
}

static void sender_peer(void *arg, struct wire_peer peer, int fd)
{
	courier_peer(arg, peer, fd);
}

static void sender_stop(void *arg)
{
	courier_stop(arg);
}

static void sender_end(void *arg)
{
	courier_free(arg);
}

const struct role_ops sender_role = {
	.start = sender_start,
	.file = sender_file,
	.configure = sender_configure,
	.peer = sender_peer,
	.secrets = sender_secrets,
	.stop = sender_stop,
	.end = sender_end,
};
