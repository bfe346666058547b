/* SPDX-License-Identifier: MIT */
/*
 * thread_id: the calling thread's number, as gettid(2) gives it, without a
 * system call each time. Async-signal-safe.
 *
 * A child of fork(2) forgets its parent's (thread_id_forget); one that was made
 * by a bare system call does not, and goes by it in statistics.
 */
#ifndef UF_BASE_THREAD_ID_H
#define UF_BASE_THREAD_ID_H

#include <sys/types.h>

pid_t thread_id(void);
void thread_id_forget(void);

#endif
