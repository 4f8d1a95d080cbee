/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Samples what runs on each CPU and counts it by stack, in the kernel.
 *
 * Hook    perf event cpu-clock (a timer), one per online CPU
 * Maps    config, targets, cgroups, processes, counts_a/b, losses, scratch, last_tick, unread; sends stacks and events (maps.h)
 * Drops   see LOSSES in causes.h, each counted in samples; idle time is left out
 * Cost    0.7 to 1.8 us for a tick that is not of a target (cold caches), 6 to 13 us for one that is, walk included
 * Kernel  5.10; where bpf_task_pt_regs is missing (before 5.15) TASK_STACK, a BTF offset, is used instead
 *
 * on_tick filters, takes the registers and asks for unknown processes; walk (walk.bpf.c) follows the user stack;
 * count adds the kernel stack, and counts. A stack crosses to user space when its count entry is first made in a
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

static inline int is_target(struct config *wanted, u32 tgid) {
    if (wanted->target == TARGET_PIDS)
        return targets.lookup(&tgid) != 0;
    if (wanted->target == TARGET_CGROUP)
        return cgroups.check_current_task(0) > 0;
    return 1;
}

/* What the sampled instruction had in its registers. The context is no memory: it can be read by field only. */
static inline void take_registers(struct registers *to, struct registers *from) {
    to->r15 = from->r15;
    to->r14 = from->r14;
    to->r13 = from->r13;
    to->r12 = from->r12;
    to->bp = from->bp;
    to->bx = from->bx;
    to->r11 = from->r11;
    to->r10 = from->r10;
    to->r9 = from->r9;
    to->r8 = from->r8;
    to->ax = from->ax;
    to->cx = from->cx;
    to->dx = from->dx;
    to->si = from->si;
    to->di = from->di;
    to->ip = from->ip;
    to->sp = from->sp;
}

/* The user registers of the current task; 0 when it has none (a kernel thread, or one that is exiting). */
static inline int user_registers(struct bpf_perf_event_data *ctx, struct sample *sample) {
    sample->kernel_mode = (ctx->regs.cs & 3) != 3;
    if (!sample->kernel_mode) {
        take_registers(&sample->registers, &ctx->regs);
    } else {
        u64 task = bpf_get_current_task(), mm = 0;
        read_kernel(&mm, 8, (void *)(task + TASK_MM));
        if (!mm)
            return 0;
#ifdef HAVE_TASK_PT_REGS
        struct registers *saved = (struct registers *)bpf_task_pt_regs((void *)bpf_get_current_task_btf());
#else
        u64 stack = 0;
        read_kernel(&stack, 8, (void *)(task + TASK_STACK));
        struct registers *saved = (struct registers *)(stack + KERNEL_STACK_SIZE - sizeof(struct registers));
#endif
        if (read_kernel(&sample->registers, sizeof(struct registers), saved)) {
            sample->head.stop = STOP_no_registers;
            return 0;
        }
    }
    sample->pc = sample->registers.ip;
    sample->sp = sample->registers.sp;
    sample->bp = sample->registers.bp;
    return 1;
}

static inline int is_exiting(void) {
    u32 flags = 0;
    read_kernel(&flags, 4, (void *)(bpf_get_current_task() + TASK_FLAGS));
    return flags & 4; /* PF_EXITING, include/linux/sched.h */
}

/* The address space of the current process; asks user space to look at one that is new. 0 where there is none: an
 * exiting process that was new would be forgotten by on_exit before it is known, and stay for ever. */
static inline u64 address_space(u32 tgid) {
    struct process *process = processes.lookup(&tgid);
    if (process)
        return process->space;
    if (is_exiting())
        return 0;
    struct process fresh = {};
    fresh.space = bpf_ktime_get_ns();
    if (processes.insert(&tgid, &fresh)) {
        process = processes.lookup(&tgid); /* another CPU may have been first */
        if (process)
            return process->space;
        lost(LOSS_processes_full, 1);
        return 0;
    }
    if (tell(EVENT_NEW_SPACE, tgid, fresh.space, 0))
        processes.delete(&tgid); /* its next sample asks again */
    return fresh.space;
}

int on_tick(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct config *wanted = config.lookup(&zero);
    if (!wanted)
        return 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 tgid = id >> 32;
    int target = tgid && is_target(wanted, tgid); /* tgid 0 is the idle task */
    count_missed_ticks(wanted->period_ns, target);
    if (!target)
        return 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    if (!sample)
        return 0;
    sample->window = 0;
    sample->passes = 0;
    sample->caller = 0;
    sample->by_row = 0;
    sample->resumed = 0;
    sample->now = wanted->window;
    sample->ask = 0;
    sample->head.space = 0;
    sample->head.tgid = tgid;
    sample->head.tid = (u32)id;
    sample->head.user = 0;
    sample->head.kernel = 0;
    sample->head.stop = STOP_complete;
    int has_user = user_registers(ctx, sample);
    sample->head.hash = 0xcbf29ce484222325UL ^ tgid;
    if (wanted->flags & PER_THREAD) /* the record of a stack has the thread's name */
        sample->head.hash ^= (u64)sample->head.tid << 32;
    int program = PROGRAM_COUNT;
    if (has_user && (wanted->flags & WANT_USER)) {
        u64 space = address_space(tgid);
        sample->head.space = space;
        sample->head.hash ^= space << 20; /* the same frames of another program in this process are another stack */
        program = PROGRAM_WALK;
    }
    programs.call(ctx, program);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

/* An address in no mapping may mean that the mappings are old: ask to read them again, once a second. */
static inline void ask_for_mappings(struct sample *sample) {
    u32 tgid = sample->head.tgid;
    struct process *process = processes.lookup(&tgid);
    if (!process)
        return;
    u64 now = bpf_ktime_get_ns();
    if (now - process->stale_ns < 1000000000UL)
        return;
    process->stale_ns = now;
    tell(EVENT_STALE, tgid, process->space, sample->pc);
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

static inline int send_stack(struct sample *sample) {
    bpf_get_current_comm(&sample->head.comm, sizeof(sample->head.comm));
    u64 frames = (sample->head.user + sample->head.kernel) & 0xff;
    OPAQUE(frames);
    if (frames > 2 * MAX_FRAMES)
        return -1;
    u64 bytes = sizeof(struct stack_head) + frames * 8;
    int zero = 0;
    u64 *waiting = unread.lookup(&zero);
    if (!waiting)
        return -1;
    u64 flags =
        1; /* BPF_RB_NO_WAKEUP: the reader comes by itself, a wake-up a record would cost more than the record */
    *waiting += bytes;
    if (*waiting > WAKE_BYTES) {
        *waiting = 0;
        flags = 2; /* BPF_RB_FORCE_WAKEUP */
    }
    return stacks.ringbuf_output(&sample->head, bytes, flags);
}

int count(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct config *wanted = config.lookup(&zero);
    if (!sample || !wanted)
        return 0;
    u64 hash = sample->head.hash;
    if (sample->kernel_mode && (wanted->flags & WANT_KERNEL)) {
        u32 user = sample->head.user & MAX_FRAMES;
        u64 *kernel = &sample->frames[user];
        s64 bytes = bpf_get_stack(ctx, kernel, MAX_FRAMES * 8, 0);
        u32 frames = bytes > 0 ? (u64)bytes >> 3 : 0;
        sample->head.kernel = frames;
#pragma clang loop unroll(disable)
        for (u32 i = 0; i < MAX_FRAMES; i++) {
            if (i >= frames)
                break;
            hash = (hash ^ sample->frames[(user + i) & 0xff]) * 0x9E3779B97F4A7C15UL;
            hash ^= hash >> 29;
        }
    }
    hash = (hash ^ sample->head.stop) * 0x9E3779B97F4A7C15UL;
    hash = (hash ^ (hash >> 29)) | 256; /* below 256 are the losses */
    sample->head.hash = hash;
    if (sample->head.stop == STOP_no_mapping)
        ask_for_mappings(sample);
    if (sample->ask)
        tell(EVENT_ROWS, sample->head.tgid, sample->head.space, sample->ask);

    struct count_key key = {};
    key.stack = hash;
    key.tgid = sample->head.tgid;
    key.tid = wanted->flags & PER_THREAD ? sample->head.tid : 0;
    u32 active = wanted->active;
    if (!add_to_existing(active, &key))
        return 0;
    if (send_stack(sample)) {
        /* User space will not know this stack: count under the placeholder of the cause. */
        lost(LOSS_stack_ring_full, 1);
        key.stack = LOSS_stack_ring_full;
    }
    add_one(active, &key);
    return 0;
}
