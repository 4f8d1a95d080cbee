/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Samples what runs on each CPU and counts it by stack, in the kernel.
 *
 * Hook    perf event cpu-clock (a timer), one per online CPU
 * Maps    config, targets, cgroups, processes, counts_a/b, losses, scratch, last_tick, unread; sends stacks and events (maps.h)
 * Drops   see LOSSES in causes.h, each counted in samples; idle time is left out
 * Cost    0.7 to 1.8 us for a tick that is not of a target (cold caches), 6 to 13 us for one that is, walk included
 * Kernel  5.10; where bpf_task_pt_regs is missing (before 5.15) TASK_STACK, a BTF offset, is used instead
 *
 * on_tick filters and takes the registers (sample.h); walk (walk.bpf.c) follows the user stack; count adds the kernel
 * stack, and counts. A stack crosses to user space when its count entry is first made in a
 * window: what crosses grows with distinct stacks, not with samples.
 */
struct bpf_perf_event_data { /* include/uapi/linux/bpf_perf_event.h */
    struct registers regs;
    u64 sample_period;
    u64 addr;
};

/* Counts the ticks that never came while a target ran, told by the time. A tick that is more than half a period late
 * looks like a missed one until the next, which then comes on time: that takes it back. */
static inline void count_missed_ticks(u64 period, int target) {
    int zero = 0;
    struct tick *tick = last_tick.lookup(&zero);
    if (!tick || !period)
        return;
    u64 now = bpf_ktime_get_ns();
    u64 index = (now - tick->start + period / 2) / period;
    s64 missed = index - tick->index - 1;
    if (!tick->start || missed * period > 1000000000UL) { /* the timer was off meanwhile */
        tick->start = now;
        index = missed = 0;
    }
    tick->index = index;
    if (missed > 0 && !target)
        missed = 0;
    if (missed < 0)
        missed = tick->taken ? -1 : 0;
    tick->taken = missed > 0;
    if (missed)
        lost(LOSS_missed_ticks, missed);
}

int on_tick(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct config *wanted = config.lookup(&zero);
    if (!wanted)
        return 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    int target = tgid && is_target(wanted, tgid); /* tgid 0 is the idle task */
    count_missed_ticks(wanted->period_ns, target);
    if (!target)
        return 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    if (!sample)
        return 0;
    begin_sample(sample, wanted);
    if (wanted->flags & (WANT_LABELS | PER_GOROUTINE))
        sample->after = PROGRAM_LABELS;
    sample->kernel_mode = (ctx->regs.cs & 3) != 3;
    int program;
    if (sample->kernel_mode) {
        program = next_from_kernel(ctx, sample, wanted);
    } else {
        take_registers(&sample->registers, &ctx->regs);
        program = next_program(sample, wanted, 1);
    }
    programs.call(ctx, program);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

/* Adds one to an entry that is there already. */
static inline int add_to_existing(u32 active, struct count_key *key) {
    u64 *count = active ? counts_b.lookup(key) : counts_a.lookup(key);
    if (!count)
        return -1;
    __sync_fetch_and_add(count, 1);
    return 0;
}

/* Adds one, making the entry where another CPU did not make it meanwhile. */
static inline void add_one(u32 active, struct count_key *key) {
    u64 one = 1;
    if (!add_to_existing(active, key))
        return;
    int error = active ? counts_b.insert(key, &one) : counts_a.insert(key, &one);
    if (error && add_to_existing(active, key))
        lost(error == -7 /* E2BIG */ ? LOSS_counts_full : LOSS_counts_busy, 1);
}

int count(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct config *wanted = config.lookup(&zero);
    if (!sample || !wanted)
        return 0;
    end_sample(ctx, sample, wanted);
    struct count_key key = {};
    key.stack = sample->head.hash;
    key.tgid = sample->head.tgid;
    key.tid = wanted->flags & PER_THREAD ? sample->head.tid : 0;
    u32 active = wanted->active;
    if (!add_to_existing(active, &key))
        return 0;
    if (send_labels(sample) || send_stack(sample)) {
        /* User space will not know this stack: count under the placeholder of the cause. */
        lost(LOSS_stack_ring_full, 1);
        key.stack = LOSS_stack_ring_full;
    }
    add_one(active, &key);
    return 0;
}
