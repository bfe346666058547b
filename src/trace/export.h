/* SPDX-License-Identifier: MIT */
/* export: a snapshot as text or JSON, from the list in ufault/stats.h. */
#ifndef UF_TRACE_EXPORT_H
#define UF_TRACE_EXPORT_H

#include <sys/types.h>

#include "ufault/stats.h"

/* Both return the length of the whole text, as snprintf(3). */
ssize_t export_text(const struct uf_stats *stats, char *text, size_t len_bytes);
ssize_t export_json(const struct uf_stats *stats, char *text, size_t len_bytes);

#endif
