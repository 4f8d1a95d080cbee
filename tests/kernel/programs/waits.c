/* Threads that wait, each for one cause, and their own account of it: `waits THRESHOLD_US CAUSE=ROUNDS[,US] ...`.
 *
 * Says "ready" when all threads stand at the start, begins at a line on standard input, prints one line of JSON when
 * all have done their rounds, of US microseconds each, and stays until standard input ends. Files are made in the
 * working directory, without a name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "waits.h"

#define MAX_THREADS 64
static struct thread *threads; /* shared with the children that are stopped */
static unsigned thread_count;
static pthread_barrier_t start, finish;
static int last_cpu;

static void pin(pid_t tid, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(tid, sizeof(set), &set);
}

/* The waits. Each has a function of its own, so that a stack tells which it was. */
OWN void wait_asleep(ns length) {
    struct timespec time = {(time_t)(length / 1000000000), (long)(length % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR)
        ;
}
OWN void wait_helper(ns length) { /* of the threads that end the waits of others */
    usleep((useconds_t)(length / 1000));
}
OWN long wait_read(int pipe) {
    char byte;
    return read(pipe, &byte, 1);
}
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
OWN void wait_condition(struct thread *self, pthread_cond_t *condition, long round) {
    pthread_mutex_lock(&mutex);
    while (self->given <= round)
        pthread_cond_wait(condition, &mutex);
    pthread_mutex_unlock(&mutex);
}
OWN long wait_disk(int file, void *block, long round) {
    off_t at = round % 64 * 4096;
    return round % 3 == 0 ? pwrite(file, block, 4096, at) : round % 3 == 1 ? pread(file, block, 4096, at) : fsync(file);
}
OWN void wait_for_start(void) {
    pthread_barrier_wait(&start);
}
OWN void wait_for_end(void) {
    pthread_barrier_wait(&finish);
    for (;;)
        pause();
}

/* The causes. Those that need somebody to end their waits have a partner, which does so `length` after they said that
 * they are about to wait. */
static void wait_until_ready(struct thread *self, long round) {
    while (self->ready <= round)
        wait_helper(50000);
    wait_helper(self->length);
}

OWN void cause_sleep(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        begin_wait(self);
        wait_asleep(self->length);
        end_wait(self);
    }
}

static int pipes[MAX_THREADS][2];
OWN void help_pipe(struct thread *self) {
    struct thread *waiter = self->partner;
    for (long round = 0; round < waiter->rounds; round++) {
        wait_until_ready(waiter, round);
        if (write(pipes[waiter - threads][1], "", 1) != 1)
            exit(4);
    }
}
OWN void cause_pipe(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        self->ready++;
        begin_wait(self);
        wait_read(pipes[self - threads][0]);
        end_wait(self);
    }
}

static pthread_cond_t conditions[MAX_THREADS];
OWN void help_futex(struct thread *self) {
    struct thread *waiter = self->partner;
    for (long round = 0; round < waiter->rounds; round++) {
        wait_until_ready(waiter, round);
        if (waiter->moves)
            pin(waiter->tid, round / 2 % 2 ? 0 : last_cpu);
        pthread_mutex_lock(&mutex);
        waiter->given++;
        pthread_mutex_unlock(&mutex);
        pthread_cond_signal(&conditions[waiter - threads]);
    }
}
OWN void cause_futex(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        if (self->moves)
            pin(0, round / 2 % 2 ? last_cpu : 0);
        int cpu = sched_getcpu();
        self->ready++;
        begin_wait(self);
        wait_condition(self, &conditions[self - threads], round);
        end_wait(self);
        self->moved += cpu != sched_getcpu();
    }
}
/* Moves itself between waits, and is moved while it waits. */
OWN void cause_migrate(struct thread *self) {
    self->moves = 1;
    cause_futex(self);
}

OWN void cause_disk(struct thread *self) {
    int file = open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC, 0600);
    void *block = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long round = 0; round < self->rounds; round++) {
        begin_wait(self);
        if (wait_disk(file, block, round) < 0)
            exit(5);
        end_wait(self);
    }
}

#include "waits_lives.h"

static const struct cause {
    const char *name;
    void (*run)(struct thread *);
    void (*partner)(struct thread *);
} causes[] = {
    {"sleep", cause_sleep, 0},
    {"pipe", cause_pipe, help_pipe},
    {"futex", cause_futex, help_futex},
    {"migrate", cause_migrate, help_futex},
    {"disk", cause_disk, 0},
    {"spin", cause_spin, 0},
    {"pair", cause_pair, 0},
    {"stop", 0, help_stop}, /* the account is that of a child */
    {"die", cause_die, 0},
    {"brief", cause_brief, 0},
    {"reuse", cause_reuse, 0},
    {"never", cause_never, 0},
};

static void *thread_main(void *argument) {
    struct thread *self = argument;
    open_account(self);
    wait_for_start();
    mark_begin(self);
    self->run(self);
    mark_end(self);
    wait_for_end();
    return 0;
}

static struct thread *add(const char *name, void (*run)(struct thread *), long rounds, ns length) {
    struct thread *self = &threads[thread_count++];
    self->cause = name;
    self->run = run;
    self->rounds = rounds;
    self->length = length;
    return self;
}

/* CAUSE=ROUNDS[,US]: a thread, and its partner where it has one. */
static void add_cause(char *word) {
    char *name = strsep(&word, "="), *rounds = strsep(&word, ",");
    ns length = word ? strtoull(word, 0, 10) * 1000 : 1000000;
    for (unsigned i = 0; i < sizeof(causes) / sizeof(*causes); i++) {
        if (strcmp(name, causes[i].name))
            continue;
        struct thread *self = add(name, causes[i].run, atol(rounds), length);
        if (causes[i].partner) {
            struct thread *partner = add("helper", causes[i].partner, 0, length);
            partner->partner = self;
        }
        return;
    }
    exit(2);
}

int main(int argc, char **argv) {
    char line[8];
    threads = mmap(0, MAX_THREADS * sizeof(*threads), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    threshold = strtoull(argv[1], 0, 10) * 1000;
    last_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    for (int i = 2; i < argc; i++)
        add_cause(argv[i]);
    unsigned running = 0;
    for (unsigned i = 0; i < thread_count; i++)
        running += threads[i].run != 0;
    pthread_barrier_init(&start, 0, running + 1);
    pthread_barrier_init(&finish, 0, running + 1);
    for (int i = 0; i < 2; i++)
        if (pipe(turns[i]))
            return 3;
    for (unsigned i = 0; i < thread_count; i++) {
        pthread_t thread;
        pthread_cond_init(&conditions[i], 0);
        if (pipe(pipes[i]) || (threads[i].run && pthread_create(&thread, 0, thread_main, &threads[i])))
            return 3;
    }
    for (unsigned i = 0; i < thread_count; i++) /* none of them uses the CPU when a recording begins */
        while (threads[i].run && !threads[i].tid)
            usleep(1000);
    usleep(20000);
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    wait_for_start();
    pthread_barrier_wait(&finish);
    usleep(20000); /* likewise when it ends */
    printf("[");
    for (unsigned i = 0; i < thread_count; i++) {
        printf(i ? ", " : "");
        print_account(&threads[i]);
    }
    puts("]");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin))
        ;
    return 0;
}
