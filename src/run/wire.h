/* SPDX-License-Identifier: MIT */
/*
 * wire: packets with descriptors, between the session and its processes.
 *
 * Allocates nothing: the agent may not (it would wait for itself).
 */
#ifndef UF_RUN_WIRE_H
#define UF_RUN_WIRE_H

#include <stddef.h>
#include <sys/types.h>

#define WIRE_FDS_MAX 4

/* One packet. 0 or -errno; -EAGAIN if it would block and `nonblocking`. */
int wire_send(int socket, const void *message, size_t len_bytes, const int *fds,
              size_t nfds);
int wire_try_send(int socket, const void *message, size_t len_bytes);

/*
 * Waits for one packet of exactly len_bytes with exactly nfds descriptors
 * (opened close-on-exec). 0 or -errno: -ECONNRESET if the other side is gone,
 * -EPROTO if something else came.
 */
int wire_receive(int socket, void *message, size_t len_bytes, int *ret_fds,
                 size_t nfds);

/* Connects to the abstract address `name`. The descriptor or -errno. */
int wire_connect(const char *name);

/* Listens on an abstract address of the kernel's choice and writes its name.
 * The descriptor, close-on-exec and non-blocking, or -errno. */
int wire_listen(char *ret_name, size_t name_bytes);

#endif
