/* The event that bench/trace.py times in LTTng's user-space tracer: a header and as many words as ours. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER k42fs_bench

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_event.h"

#if !defined(LTTNG_EVENT_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define LTTNG_EVENT_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_EVENT(
    k42fs_bench, contend_init,
    LTTNG_UST_TP_ARGS(uint64_t, lock, uint64_t, pc0, uint64_t, pc1, uint64_t, pc2),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer_hex(uint64_t, lock, lock)
        lttng_ust_field_integer(uint64_t, pc0, pc0)
        lttng_ust_field_integer(uint64_t, pc1, pc1)
        lttng_ust_field_integer(uint64_t, pc2, pc2)))

#endif

#include <lttng/tracepoint-event.h>
