/* The account that a waiting thread keeps of itself, for waits.c.
 *
 * Of each wait: time gone by less CPU time used, and whether the kernel counted a voluntary switch, so that a wait
 * which did not take place (the pipe was full already) is none. Of the whole run of a thread between two marks: the
 * kernel's own figures, CPU time, time on the run queue, and switches of both kinds.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone)) /* a frame of its own, with its own name */

typedef unsigned long long ns;

struct moment {
    ns time, cpu; /* monotonic; of this thread */
    long voluntary, involuntary;
};

struct thread {
    const char *cause;
    void (*run)(struct thread *);
    long rounds;
    ns length; /* of one wait */
    struct thread *partner;
    pid_t tid, pid;
    int schedstat;
    struct moment before; /* of the wait that goes on */
    _Atomic long ready, given;
    int moves;      /* its partner has it move to another CPU while it waits */
    long moved;     /* waits that ended on another CPU than they began on */
    long waits;     /* of at least the threshold, and off the CPU together, the shortest and the longest */
    ns total, shortest, longest;
    long near;      /* waits so near the threshold that the kernel may see it otherwise */
    long several;   /* of more than one voluntary switch */
    ns disturbed;   /* time of waits in which the thread was preempted too: that is not told apart */
    struct moment begin, end;
    ns delay_begin, delay_end; /* on the run queue, in all */
};

static ns threshold = 300000;
#define NEAR 30000

static ns clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (ns)time.tv_sec * 1000000000 + (ns)time.tv_nsec;
}

static struct moment moment(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (struct moment){clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_THREAD_CPUTIME_ID), usage.ru_nvcsw,
                           usage.ru_nivcsw};
}

/* The second field of /proc/PID/task/TID/schedstat: ns ready to run and not running (Documentation/scheduler). */
static ns run_queue_ns(struct thread *self) {
    char text[128] = "";
    ns run, delay = 0;
    if (pread(self->schedstat, text, sizeof(text) - 1, 0) > 0)
        sscanf(text, "%llu %llu", &run, &delay);
    return delay;
}

static void open_account(struct thread *self) {
    self->pid = getpid();
    self->tid = (pid_t)syscall(SYS_gettid);
    self->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    self->shortest = ~0ull;
}

static void begin_wait(struct thread *self) {
    self->before = moment();
}

static void end_wait(struct thread *self) {
    struct moment now = moment();
    long voluntary = now.voluntary - self->before.voluntary;
    ns off = (now.time - self->before.time) - (now.cpu - self->before.cpu);
    if (!voluntary)
        return;
    self->near += off + NEAR > threshold && off < threshold + NEAR;
    self->several += voluntary > 1;
    if (off < threshold)
        return;
    if (now.involuntary != self->before.involuntary)
        self->disturbed += off;
    self->waits++;
    self->total += off;
    self->shortest = off < self->shortest ? off : self->shortest;
    self->longest = off > self->longest ? off : self->longest;
}

static void print_account(struct thread *self) {
    printf("{\"cause\": \"%s\", \"pid\": %d, \"tid\": %d, \"rounds\": %ld, \"waits\": %ld, \"total\": %llu, ",
           self->cause, self->pid, self->tid, self->rounds, self->waits, self->total);
    printf(
        "\"shortest\": %llu, \"longest\": %llu, \"near\": %ld, \"several\": %ld, \"disturbed\": %llu, \"moved\": %ld, ",
        self->longest ? self->shortest : 0, self->longest, self->near, self->several, self->disturbed, self->moved);
    printf("\"begin\": %llu, \"end\": %llu, \"cpu\": %llu, \"delay\": %llu, \"voluntary\": %ld, \"involuntary\": %ld}",
           self->begin.time, self->end.time, self->end.cpu - self->begin.cpu, self->delay_end - self->delay_begin,
           self->end.voluntary - self->begin.voluntary, self->end.involuntary - self->begin.involuntary);
}
