/* SPDX-License-Identifier: MIT */
/*
 * wasm-fork: a process with a warmed guest and nothing else, that forks a child
 * for each request. Prints microseconds per request: elapsed, and CPU time of
 * all. The child's answer comes through shared memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "wasm_wide.h"

#define REQUESTS 100

int main(void)
{
    static struct plain plain;
    uint32_t *answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double cpu, wall;

    if (answer == MAP_FAILED || !plain_open(&plain))
        return 1;
    plain_point(&plain, plain.image);
    cpu = bench_cpu_us();
    wall = bench_wall_us();
    for (uint32_t n = 0; n < REQUESTS; n++) {
        pid_t child = fork();
        int status;

        if (child == 0) {
            *answer = wide_answer(&plain.guest, n);
            _exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    printf("%f %f\n", (bench_wall_us() - wall) / REQUESTS,
           (bench_cpu_us() - cpu) / REQUESTS);
    return 0;
}
