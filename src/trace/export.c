/* SPDX-License-Identifier: MIT */
/* See export.h. Names are C identifiers and values numbers, so the JSON needs
 * no escaping. */
#include "trace/export.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct out {
    char *text;
    size_t len_bytes;
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *out,
                                                      const char *format, ...)
{
    size_t used = out->length < out->len_bytes ? out->length : out->len_bytes;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(out->len_bytes ? out->text + used : NULL,
                  out->len_bytes - used, format, args);
    va_end(args);
    out->length += (size_t)n;
}

ssize_t export_text(const struct uf_stats *stats, char *text, size_t len_bytes)
{
    struct out out = {text, len_bytes, 0};

#define TEXT_LINE(name, sentence)                                              \
    put(&out, "%-16s %12" PRIu64 "  %s\n", #name, stats->name, sentence);
    UF_COUNTERS(TEXT_LINE)
    UF_GAUGES(TEXT_LINE)
#undef TEXT_LINE
    put(&out, "%-16s %12" PRIu64 "  %s\n", "fault_p50_ns", stats->fault_p50_ns,
        "median nanoseconds from receiving a fault to waking its thread");
    put(&out, "%-16s %12" PRIu64 "  %s\n", "fault_p99_ns", stats->fault_p99_ns,
        "the 99th percentile of the same");
    put(&out, "%-16s %12" PRIu64 "  %s\n", "fault_max_ns", stats->fault_max_ns,
        "the longest");
    return (ssize_t)out.length;
}

ssize_t export_json(const struct uf_stats *stats, char *text, size_t len_bytes)
{
    struct out out = {text, len_bytes, 0};

    put(&out, "{\"version\":%" PRIu32 ",\"page_bytes\":%" PRIu32,
        stats->version, stats->page_bytes);
#define JSON_FIELD(name, sentence)                                             \
    put(&out, ",\"" #name "\":%" PRIu64, stats->name);
    UF_COUNTERS(JSON_FIELD)
    UF_GAUGES(JSON_FIELD)
#undef JSON_FIELD
    put(&out,
        ",\"fault_p50_ns\":%" PRIu64 ",\"fault_p99_ns\":%" PRIu64
        ",\"fault_max_ns\":%" PRIu64 "}",
        stats->fault_p50_ns, stats->fault_p99_ns, stats->fault_max_ns);
    return (ssize_t)out.length;
}
