/* For waits.c: threads that are preempted or switch all the time, are stopped, end while they wait, or come after one
 * another. */

/* Does not wait, but has others beside it on one CPU. */
OWN void cause_spin(struct thread *self) {
    pin(0, 0);
    ns end = clock_ns(CLOCK_MONOTONIC) + (ns)self->rounds * self->length;
    while (clock_ns(CLOCK_MONOTONIC) < end)
        ;
}

/* Two threads on one CPU that wake each other as fast as they can: the waits of both are short and many. */
static int turns[2][2];
OWN void cause_pair(struct thread *self) {
    static _Atomic int sides;
    int side = sides++ & 1;
    pin(0, last_cpu);
    for (long round = 0; round < self->rounds; round++) {
        if (side && wait_read(turns[1][0]) != 1)
            exit(6);
        if (write(turns[!side][1], "", 1) != 1)
            exit(6);
        if (!side && wait_read(turns[0][0]) != 1)
            exit(6);
        if (self->length && round % 4096 == 4095) /* a long wait now and then */
            wait_asleep(self->length);
    }
}

static void mark_begin(struct thread *self) {
    self->delay_begin = run_queue_ns(self);
    self->begin = moment();
}
static void mark_end(struct thread *self) {
    self->end = moment();
    self->delay_end = run_queue_ns(self);
}

/* A child that spins; its parent stops it and has it go on. The account is the child's: its slot is shared. */
OWN void cause_stop(struct thread *self) {
    while (!self->ready)
        ;
}
OWN void help_stop(struct thread *self) {
    struct thread *stopped = self->partner;
    pid_t child = fork();
    if (!child) {
        open_account(stopped);
        stopped->given = 1;
        mark_begin(stopped);
        cause_stop(stopped);
        mark_end(stopped);
        _exit(0);
    }
    while (!stopped->given)
        wait_helper(1000000);
    for (long round = 0; round < stopped->rounds; round++) {
        int status;
        wait_helper(2000000);
        kill(child, SIGSTOP);
        waitpid(child, &status, WUNTRACED);
        ns since = clock_ns(CLOCK_MONOTONIC);
        wait_helper(stopped->length);
        stopped->total += clock_ns(CLOCK_MONOTONIC) - since;
        stopped->waits++;
        kill(child, SIGCONT);
    }
    stopped->ready = 1;
    waitpid(child, 0, 0);
}

/* Threads that end while they wait: cancelled, one after the other. */
static void ends_waiting(void *self) {
    end_wait(self);
}
OWN void *brief(void *self) {
    pthread_cleanup_push(ends_waiting, self);
    begin_wait(self);
    wait_asleep(1000000000000);
    pthread_cleanup_pop(0);
    return 0;
}
OWN void cause_die(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        pthread_t other;
        pthread_create(&other, 0, brief, self);
        wait_helper(self->length);
        pthread_cancel(other);
        pthread_join(other, 0);
    }
}
/* Short-lived threads, one after the other, each of which waits once. With `reuse` all have the same thread id. */
OWN void *short_lived(void *argument) {
    struct thread *self = argument;
    self->moved += self->given == gettid();
    self->given = gettid();
    begin_wait(self);
    wait_asleep(self->length);
    end_wait(self);
    return 0;
}
OWN void cause_brief(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        pthread_t other;
        pthread_create(&other, 0, short_lived, self);
        pthread_join(other, 0);
    }
}
/* The kernel gives out thread ids in order; where it goes on from can be set (Documentation/admin-guide/sysctl). */
static void next_thread_id(long tid) {
    FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "w");
    if (!file)
        return;
    fprintf(file, "%ld", tid - 1);
    fclose(file);
}
OWN void cause_reuse(struct thread *self) {
    for (long round = 0; round < self->rounds; round++) {
        pthread_t other;
        if (self->given)
            next_thread_id(self->given);
        pthread_create(&other, 0, short_lived, self);
        pthread_join(other, 0);
    }
}

/* For whoever kills the process. */
OWN void cause_never(struct thread *self) {
    (void)self;
    for (;;)
        wait_asleep(1000000000000);
}
