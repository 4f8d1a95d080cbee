/* Two processes that wake each other over two pipes as fast as they can, as `perf bench sched pipe` does:
 * `pipes FILE [CPU]`. The first word of FILE counts round trips, the second is the id of the other process. With CPU
 * both run on that one: each round trip is then two switches, and nothing depends on where the scheduler puts them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static void answer(int from, int to) {
    char byte;
    while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
        ;
}

int main(int argc, char **argv) {
    int there[2], back[2], file = open(argv[1], O_RDWR);
    volatile uint64_t *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED || pipe(there) || pipe(back))
        return 1;
    if (argc > 2) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(atoi(argv[2]), &set);
        sched_setaffinity(0, sizeof(set), &set);
    }
    pid_t other = fork();
    if (!other) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        answer(there[0], back[1]);
        return 0;
    }
    shared[1] = (uint64_t)other;
    char byte = 0;
    while (write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1)
        shared[0]++;
    return 0;
}
