/* SPDX-License-Identifier: MIT */
/*
 * flight: a window that a store delivers in parts, each of which goes in when it
 * arrives.
 *
 *     window      |  part  |  part  |  part  |  part  |
 *     touched                  x
 *     arrives          3rd      1st      2nd      4th
 *                               │ installed, counted, its thread woken
 *                               ▼
 *     then flight_land: the others, as they come
 *
 * A touch of a part that has not landed is not served a second time: who reads it
 * finds the flight (flights_cover) and leaves it to that. What a flight could not
 * bring is touched again then, and served on its own.
 *
 * Who is awake while the rest is read may hold a lock that the reads wait for, as
 * in write(2) to the same file, and need a fill meanwhile. So where no handler
 * would be left for that, all are woken last and nothing is read ahead
 * (fault_server.wakes_early). Several such threads may still want more handlers
 * than there are.
 */
#ifndef UF_FAULT_FLIGHT_H
#define UF_FAULT_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/range.h"
#include "fault/fault.h"

#define FLIGHTS_MAX 8

/* Those of a channel. */
struct flights {
    struct lock lock;
    atomic_uint count; /* changed under the lock */
    struct flight *of[FLIGHTS_MAX];
};

/* Makes and frees what a server needs to have flights. 0 or -ENOMEM. */
int flight_init(struct fault_server *server);
void flight_destroy(struct fault_server *server);

/*
 * Sets off the window that was found and waits for the part with the touched
 * page: true, and *ret_part is what of it is there to be installed; the flight
 * goes on until flight_land. False: there are no parts, or that one cannot be
 * had; or a hook is to be called first, which nobody in the air may wait for.
 */
bool flight_begin(struct uf_space *space, struct fault_server *server,
                  const struct fault *fault, const struct found *found,
                  struct range *ret_part);

/* The bytes of the part. */
const void *flight_bytes(const struct flight *flight, struct range part);

/* flight_land has something to do; until then server->buffer is taken. */
bool flight_is_under_way(const struct fault_server *server);

/* Has the rest of the server's flight land; nothing if there is none. Requires:
 * the space is still pinned; no lock held. */
void flight_land(struct fault_server *server);

/* True if a flight will bring the page of addr, or wake its thread if it cannot.
 * Any thread. */
bool flights_cover(struct flights *flights, const struct uf_space *space,
                   uintptr_t addr);

/* Forked child: none, whatever there was. */
void flights_fork_child(struct flights *flights);

#endif
