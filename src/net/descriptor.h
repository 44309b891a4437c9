/*
 * descriptor: what comes over a channel or from a listener and is not wanted.
 *
 * Who is handed a descriptor owns it. The modules of this layer take it over (conn.h, channel.h, fs_posix.h); where
 * none does, it is closed here, so that a simulated descriptor can stand for a real one.
 */
#ifndef NET_DESCRIPTOR_H
#define NET_DESCRIPTOR_H

void descriptor_close(int fd);

#endif
