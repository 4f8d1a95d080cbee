/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * What every program that takes a sample does: is it of a target, the user registers, the address space, the kernel
 * stack, and sending the stack to user space when it is new. Nothing here counts.
 */
static inline int is_target(struct config *wanted, u32 tgid) {
    if (wanted->target == TARGET_PIDS)
        return may_be(tgid, MAYBE_TARGET) && targets.lookup(&tgid);
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

#ifndef BLIND
/* The user registers of the current task as it entered the kernel; 0 when it has none (a kernel thread, or one that
 * is exiting). */
static inline int saved_registers(struct sample *sample) {
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
    if (!read_kernel(&sample->registers, sizeof(struct registers), saved))
        return 1;
    sample->head.stop = STOP_no_registers;
    return 0;
}
#endif

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

/* Makes `sample` ready for the current thread, its registers not yet taken. */
static inline void begin_sample(struct sample *sample, struct config *wanted) {
    u64 id = bpf_get_current_pid_tgid();
    sample->window = 0;
    sample->passes = 0;
    sample->caller = 0;
    sample->by_row = 0;
    sample->resumed = 0;
    sample->now = wanted->window;
    sample->ask = 0;
    sample->role = 0;
    sample->after = PROGRAM_COUNT;
    sample->head.space = 0;
    sample->head.tgid = id >> 32;
    sample->head.tid = (u32)id;
    sample->head.user = 0;
    sample->head.kernel = 0;
    sample->head.stop = STOP_complete;
    sample->head.goroutine = 0;
    sample->head.start = 0;
    sample->head.labels = 0;
    sample->head.hash = 0xcbf29ce484222325UL ^ id >> 32;
    if (wanted->flags & PER_THREAD) /* the record of a stack has the thread's name */
        sample->head.hash ^= id << 32;
}

/* The program that goes on with the sample: the walk, where there is a user stack and it is wanted. */
static inline int next_program(struct sample *sample, struct config *wanted, int has_user) {
    if (!has_user || !(wanted->flags & WANT_USER))
        return PROGRAM_COUNT;
    sample->pc = sample->registers.ip;
    sample->sp = sample->registers.sp;
    sample->bp = sample->registers.bp;
    u64 space = address_space(sample->head.tgid);
    sample->head.space = space;
    sample->head.hash ^= space << 20; /* the same frames of another program in this process are another stack */
    return PROGRAM_WALK;
}

#ifdef BLIND
/* The user stack of a thread that is in the kernel, as the kernel itself walks it: by frame pointers. */
static inline void take_kernels_walk(void *ctx, struct sample *sample) {
    s64 bytes = bpf_get_stack(ctx, sample->frames, MAX_FRAMES * 8, BPF_F_USER_STACK);
    u32 frames = bytes > 0 ? (u64)bytes >> 3 : 0;
    if (!frames) /* a kernel thread, or one that is exiting */
        return;
    u64 space = address_space(sample->head.tgid);
    u64 hash = sample->head.hash ^ space << 20;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < MAX_FRAMES; i++) {
        OPAQUE(i);
        if (i >= frames)
            break;
        hash = (hash ^ sample->frames[i & 0xff]) * 0x9E3779B97F4A7C15UL;
        hash ^= hash >> 29;
    }
    sample->frames[0] |= EXACT;
    sample->head.hash = hash;
    sample->head.space = space;
    sample->head.user = frames;
    sample->head.stop = STOP_no_kernel_reads;
}
#endif

/* The program that goes on with a sample of a thread that is in the kernel. */
static inline int next_from_kernel(void *ctx, struct sample *sample, struct config *wanted) {
#ifdef BLIND
    if (wanted->flags & WANT_USER)
        take_kernels_walk(ctx, sample);
    return PROGRAM_COUNT;
#else
    (void)ctx;
    return next_program(sample, wanted, saved_registers(sample));
#endif
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

/* After the walk: adds the kernel stack where there is one and it is wanted, completes the hash, and asks user space
 * for what the walk was lacking. */
static inline void end_sample(void *ctx, struct sample *sample, struct config *wanted) {
    u64 hash = sample->head.hash;
    if (sample->kernel_mode && (wanted->flags & WANT_KERNEL)) {
        u32 user = sample->head.user & MAX_FRAMES;
        u64 *kernel = &sample->frames[user];
        s64 bytes = bpf_get_stack(ctx, kernel, MAX_FRAMES * 8, 0);
        u32 frames = bytes > 0 ? (u64)bytes >> 3 : 0;
        sample->head.kernel = frames;
#pragma clang loop unroll(disable)
        for (u32 i = 0; i < MAX_FRAMES; i++) {
            OPAQUE(i); /* clang would count down to zero, an end that verifiers before Linux 6.8 do not see */
            if (i >= frames)
                break;
            hash = (hash ^ sample->frames[(user + i) & 0xff]) * 0x9E3779B97F4A7C15UL;
            hash ^= hash >> 29;
        }
    }
    hash = (hash ^ sample->head.stop) * 0x9E3779B97F4A7C15UL;
    sample->head.hash = (hash ^ (hash >> 29)) | 256; /* below 256 are the losses */
    if (sample->head.stop == STOP_no_mapping)
        ask_for_mappings(sample);
    if (sample->ask)
        tell(EVENT_ROWS, sample->head.tgid, sample->head.space, sample->ask);
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
