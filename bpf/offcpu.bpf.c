/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Where threads wait, how long, and whether for an event or for a CPU.
 *
 * Hooks   tracepoints sched_switch, sched_wakeup, sched_wakeup_new; sched_waking where wakers are wanted (hooks.h)
 * Maps    off_config, off_totals, waiting, reported, waits_a/b, off_programs (below, sizes in maps.h's
 *         way), and those of maps.h
 *           off_config     array -> struct off_config          1          small
 *           off_totals     per-CPU array -> struct off_totals  1          small
 *           waiting        hash, u32 tid -> struct wait        THREADS    2 MiB at 16,384
 *           reported       hash, u32 tid -> struct reported    THREADS    1.3 MiB
 *           waits_a/b      hash, struct wait_key -> wait_sum   WAITS      1.4 MiB each at 8,192
 *           off_programs   program array                       4          small
 * Drops   see LOSSES in causes.h; what is below min_ns or above max_ns is summed in off_totals
 * Cost    about 0.1 us a switch of no target, 0.3 us of a target that is not walked, 2 to 4 us of one that is
 * Kernel  5.10; before 5.18 a wait that is ended at once counts as sleeping, because its state is gone by then
 *
 * A stack is taken when a thread leaves the CPU, in its own context, where its memory can be read; how long it waited
 * is known when it comes back, perhaps on another CPU: so what is kept in between is keyed by thread. A thread that
 * leaves the CPU more often than thread_walks times in PACE_NS is walked one time in k, at random; so are all threads
 * of a CPU together. The time of the other waits is kept by class of length, and user space spreads it over those of
 * the same class that were walked: totals are exact, whatever was chosen.
 */
BPF_TABLE("array", int, struct off_config, off_config, 1);
BPF_PERCPU_ARRAY(off_totals, struct off_totals, 1);
BPF_F_TABLE("hash", u32, struct wait, waiting, THREADS, 0);
BPF_F_TABLE("hash", u32, struct reported, reported, THREADS, 0);
BPF_F_TABLE("hash", struct wait_key, struct wait_sum, waits_a, WAITS, 0);
BPF_F_TABLE("hash", struct wait_key, struct wait_sum, waits_b, WAITS, 0);
BPF_PROG_ARRAY(off_programs, 4);

/* Programs 0 and 1 follow the stack of a wait, 2 and 3 that of a waker. */
enum role { ROLE_WAIT = 0, ROLE_WAKER = 2 };

static inline struct wait *wait_of(u32 tid) {
    return may_be(tid, MAYBE_WAITING) ? waiting.lookup(&tid) : 0;
}

static inline struct wait_sum *sum_of(u32 active, struct wait_key *key) {
    return active ? waits_b.lookup(key) : waits_a.lookup(key);
}

/* The sum of a key, made where it is not there; 0 where the map is full. */
static inline struct wait_sum *made_sum_of(u32 active, struct wait_key *key) {
    struct wait_sum *sum = sum_of(active, key), fresh = {};
    if (sum)
        return sum;
    if (active)
        waits_b.insert(key, &fresh);
    else
        waits_a.insert(key, &fresh);
    return sum_of(active, key);
}

/* One in how many waits is walked, from how many there were lately; counts this one. */
static inline u32 one_in(u64 *begin, u32 *this_period, u32 *last_period, u64 now, u32 limit) {
    u64 gone = now - *begin;
    if (gone > PACE_NS) {
        *last_period = gone < 2 * PACE_NS ? *this_period : 0;
        *this_period = 0;
        *begin = now;
    }
    u32 count = *this_period, many = 1;
    *this_period = count + 1;
    if (count < *last_period)
        count = *last_period;
#pragma clang loop unroll(disable)
    for (int doubled = 0; doubled < 12; doubled++) {
        if ((u64)limit * many > count)
            break;
        many <<= 1;
    }
    return many;
}

static inline u32 chosen(u32 one_in_many) {
    return one_in_many == 1 || !(bpf_get_prandom_u32() & (one_in_many - 1));
}

/* Whether a wait of this thread that begins now is walked; also sets one in how many are. */
static inline u32 is_walked(struct wait *wait, struct off_config *off, u64 now) {
    int zero = 0;
    struct off_totals *totals = off_totals.lookup(&zero);
    if (!totals)
        return 0;
    u32 of_thread = one_in(&wait->pace_begin, &wait->pace_now, &wait->pace_last, now, off->thread_walks);
    wait->one_in = of_thread;
    if (!chosen(of_thread))
        return 0;
    u32 of_cpu = one_in(&totals->pace_begin, &totals->pace_now, &totals->pace_last, now, off->cpu_walks);
    wait->one_in = of_thread * of_cpu;
    return chosen(of_cpu);
}

static inline u32 class_of(u64 duration) {
    u32 class = 1;
    duration >>= THINNED_BITS;
#pragma clang loop unroll(full)
    for (int i = 1; i < THINNED_CLASSES; i++, duration >>= 2)
        class += duration > 0;
    return class;
}

/* Adds a wait that lasted from `since` to now, of which the time before `from` has been told. */
static inline void add_wait(struct config *wanted, struct wait *wait, u32 tid, u64 since, u64 from, u64 now,
                            u32 count) {
    u64 longest = now - since;
    struct wait_key key = {};
    key.stack = wait->stack;
    key.waker = wait->waker;
    key.tgid = wait->tgid;
    key.tid = wanted->flags & PER_THREAD ? tid : 0;
    key.state = wait->state;
    if (wait->one_in > 1)
        key.thinned = class_of(longest);
    struct wait_sum *sum = made_sum_of(wanted->active, &key);
    if (!sum) {
        lost(LOSS_waits_full, 1);
        return;
    }
    u64 woken = wait->state == WAIT_PREEMPTED ? since : wait->woken ? wait->woken : now;
    u64 ready = woken > from ? woken : from;
    if (ready > now)
        ready = now;
    __sync_fetch_and_add(&sum->waits, count);
    __sync_fetch_and_add(&sum->blocked_ns, ready - from);
    __sync_fetch_and_add(&sum->runnable_ns, now - ready);
    if (longest > sum->longest_ns)
        sum->longest_ns = longest;
}

/* A thread comes back to a CPU: its wait is over. */
static inline void arrive(struct config *wanted, struct off_config *off, struct wait *wait, u32 tid, u64 now) {
    int zero = 0;
    struct off_totals *totals = off_totals.lookup(&zero);
    u64 since = wait->since, duration = now - since;
    if (!totals || !since)
        return;
    /* A store and a full barrier: user space marks a wait in `reported`, then looks whether it is still open. */
    __sync_fetch_and_add(&wait->since, -since);
    if ((s64)duration < 0) {
        lost(LOSS_clock_back, 1);
        return;
    }
    u64 from = since;
    u32 count = 1;
    if (since < off->window_start) { /* user space may have told of its time in earlier windows */
        struct reported *told = reported.lookup(&tid);
        if (told && told->since == since) {
            from = told->upto < now ? told->upto : now;
            count = 0;
            reported.delete(&tid);
        }
    }
    if (duration < off->min_ns) {
        totals->short_waits++;
        totals->short_ns += duration;
        return;
    }
    if (off->max_ns && duration > off->max_ns) {
        totals->long_waits++;
        totals->long_ns += duration;
        return;
    }
    if (wait->stack == THINNED_STACK) {
        totals->thinned_waits++;
        totals->thinned_ns += duration;
    }
    add_wait(wanted, wait, tid, since, from, now, count);
}

/* The entry of a thread in `waiting`, made at its first wait. */
static inline struct wait *made_wait_of(u32 tid) {
    struct wait fresh = {};
    is_maybe(tid, MAYBE_WAITING);
    waiting.insert(&tid, &fresh);
    return waiting.lookup(&tid);
}

/* A thread leaves the CPU: its wait begins. Returns the program that goes on with its stack, or -1. */
static inline int leave(struct hook *ctx, struct config *wanted, struct off_config *off, struct wait *wait, u64 now) {
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 tid = (u32)id;
    int state = leaving_state(ctx);
    if (state < 0) {
        if (wait)
            waiting.delete(&tid);
        return -1;
    }
    if (!(off->states >> state & 1))
        return -1;
    if (!wait)
        wait = made_wait_of(tid);
    struct sample *sample = (void *)scratch.lookup(&zero);
    if (!wait || !sample) {
        lost(LOSS_waiting_full, 1);
        return -1;
    }
    if (wait->since)
        lost(LOSS_switch_missed, 1);
    wait->woken = 0;
    wait->waker = 0;
    wait->stack = THINNED_STACK;
    wait->tgid = id >> 32;
    wait->state = state;
    wait->since = now;
    if (!is_walked(wait, off, now))
        return -1;
    begin_sample(sample, wanted);
    sample->kernel_mode = 1;
    return next_from_kernel(ctx, sample, wanted);
}

int on_switch(struct hook *ctx) {
    int zero = 0;
    struct config *wanted = config.lookup(&zero);
    struct off_config *off = off_config.lookup(&zero);
    if (!wanted || !off || !off->states)
        return 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 tgid = id >> 32, tid = (u32)id, next = coming_thread(ctx);
    struct wait *coming = wait_of(next), *leaving = tgid ? wait_of(tid) : 0;
    u32 leaves = leaving && leaving->tgid == tgid; /* then it is a target */
    if (!leaves)
        leaves = tgid && is_target(wanted, tgid);
    if (!coming && !leaving && !leaves)
        return 0;
    u64 now = bpf_ktime_get_ns();
    if (coming)
        arrive(wanted, off, coming, next, now);
    if (!leaves)
        return 0;
    int program = leave(ctx, wanted, off, leaving, now);
    if (program < 0)
        return 0;
    off_programs.call(ctx, program);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

int off_walk(struct hook *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct rules *all = (void *)rules.lookup(&zero);
    struct recent *known = (void *)recent.lookup(&zero);
    if (!sample || !all || !known)
        return 0;
    off_programs.call(ctx, walk_pass(sample, all, known) + sample->role);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

/* Sends the stack of a sample where it is new in this window, which an empty sum under `key` remembers. Its hash, or
 * the loss that took it. */
static inline u64 sent_stack(struct config *wanted, struct sample *sample, struct wait_key *key) {
    if (sum_of(wanted->active, key))
        return sample->head.hash;
    if (send_stack(sample)) {
        lost(LOSS_stack_ring_full, 1);
        return LOSS_stack_ring_full;
    }
    made_sum_of(wanted->active, key);
    return sample->head.hash;
}

/* After the walk of a wait that has begun. */
int off_count(struct hook *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct config *wanted = config.lookup(&zero);
    if (!sample || !wanted)
        return 0;
    end_sample(ctx, sample, wanted);
    u32 tid = sample->head.tid;
    struct wait *wait = waiting.lookup(&tid);
    if (!wait)
        return 0;
    struct wait_key key = {};
    key.stack = sample->head.hash;
    key.tgid = sample->head.tgid;
    key.tid = wanted->flags & PER_THREAD ? tid : 0;
    key.state = wait->state;
    wait->stack = sent_stack(wanted, sample, &key);
    return 0;
}

int on_wakeup(struct hook *ctx) {
    struct wait *wait = wait_of(woken_thread(ctx));
    /* Of waits that are not walked others tell how much of them was waiting for a CPU. */
    if (wait && wait->since && !wait->woken && wait->stack != THINNED_STACK)
        wait->woken = bpf_ktime_get_ns();
    return 0;
}

/* A thread that has just been made waits for a CPU until it first runs; it has no stack yet. */
int on_wakeup_new(struct hook *ctx) {
    int zero = 0;
    struct config *wanted = config.lookup(&zero);
    struct off_config *off = off_config.lookup(&zero);
    u32 maker = bpf_get_current_pid_tgid() >> 32;
    if (!wanted || !off || !(off->states >> WAIT_PREEMPTED & 1) || !maker || !is_target(wanted, maker))
        return 0;
    struct wait *wait = made_wait_of(woken_thread(ctx));
    if (!wait) {
        lost(LOSS_waiting_full, 1);
        return 0;
    }
    wait->woken = 0;
    wait->waker = 0;
    wait->stack = STARTED_STACK;
    wait->tgid = made_process(ctx);
    wait->state = WAIT_PREEMPTED;
    wait->one_in = 1;
    wait->since = bpf_ktime_get_ns();
    return 0;
}

/* Runs in the thread that ends a wait, or in whatever an interrupt interrupted that does; the kernel stack tells. */
int on_waking(struct hook *ctx) {
    int zero = 0;
    u32 tid = woken_thread(ctx);
    struct wait *wait = wait_of(tid);
    if (!wait || !wait->since || wait->stack == THINNED_STACK || wait->waker || wait->state == WAIT_PREEMPTED)
        return 0;
    struct config *wanted = config.lookup(&zero);
    struct sample *sample = (void *)scratch.lookup(&zero);
    if (!wanted || !sample)
        return 0;
    begin_sample(sample, wanted);
    sample->kernel_mode = 1;
    sample->role = ROLE_WAKER;
    sample->woken = tid;
    int program = sample->head.tgid ? next_from_kernel(ctx, sample, wanted) : PROGRAM_COUNT;
    off_programs.call(ctx, program + ROLE_WAKER);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

/* After the walk of a waker. */
int waker_count(struct hook *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct config *wanted = config.lookup(&zero);
    if (!sample || !wanted)
        return 0;
    end_sample(ctx, sample, wanted);
    struct wait_key key = {};
    key.waker = sample->head.hash;
    key.tgid = sample->head.tgid;
    u64 stack = sent_stack(wanted, sample, &key);
    u32 tid = sample->woken;
    struct wait *wait = waiting.lookup(&tid);
    if (wait && wait->since)
        wait->waker = stack;
    return 0;
}
