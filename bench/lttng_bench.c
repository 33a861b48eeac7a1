/* Prints the ns of one event in LTTng's user-space tracer, fastest of many short batches.
 *
 * Usage: lttng_bench BATCHES. Whether the event is on is its session's affair.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_event.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 2000 };

static double now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

int main(int argc, char **argv)
{
    double best = 1e18;
    long batches = argc > 1 ? atol(argv[1]) : 1500;

    for (long batch = 0; batch < batches; batch++) {
        double start = now_ns();
        for (uint64_t turn = 0; turn < BATCH; turn++)
            lttng_ust_tracepoint(k42fs_bench, contend_init, turn, turn, turn, turn);
        double spent = now_ns() - start;
        best = spent < best ? spent : best;
    }
    printf("%.2f\n", best / BATCH);
    return 0;
}
