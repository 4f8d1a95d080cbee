/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * What tracepoints tell, by either kind of them: raw ones hand over the kernel's own arguments, whose fields are found
 * by BTF; plain ones, the fallback, a record, whose fields are found by the format files of tracefs.
 */
#ifdef PLAIN_TRACEPOINTS
struct hook {
    char record[128]; /* longer than any of the records that are read */
};
#define RECORD(ctx, type, offset) (*(type *)&(ctx)->record[offset])
#else
#define hook bpf_raw_tracepoint_args
#endif

static inline u32 tgid_of(u64 task) {
    u32 tgid = 0;
    read_kernel(&tgid, 4, (void *)(task + TASK_TGID));
    return tgid;
}

static inline u32 tid_of(u64 task) {
    u32 tid = 0;
    read_kernel(&tid, 4, (void *)(task + TASK_PID));
    return tid;
}

/* sched_process_fork, in the parent: the process id of the child, 0 where it is but a thread. */
static inline u32 forked_process(struct hook *ctx) {
#ifdef PLAIN_TRACEPOINTS
    return RECORD(ctx, u32, FORK_CHILD_PID); /* a thread looks no different, and is never asked for as a process */
#else
    u32 tgid = tgid_of(ctx->args[1]);
    return tid_of(ctx->args[1]) == tgid ? tgid : 0;
#endif
}

/* sched_wakeup_new, in the thread that made it: the process of the thread that is woken for the first time. */
static inline u32 made_process(struct hook *ctx) {
#ifdef PLAIN_TRACEPOINTS
    return bpf_get_current_pid_tgid() >> 32; /* right for threads; a process tells better when it has run */
#else
    return tgid_of(ctx->args[0]);
#endif
}

/* sched_wakeup, sched_wakeup_new, sched_waking: the thread that is woken. */
static inline u32 woken_thread(struct hook *ctx) {
#ifdef PLAIN_TRACEPOINTS
    return RECORD(ctx, u32, WAKEUP_PID);
#else
    return tid_of(ctx->args[0]);
#endif
}

/* sched_switch, in the thread that leaves: the one that comes. */
static inline u32 coming_thread(struct hook *ctx) {
#ifdef PLAIN_TRACEPOINTS
    return RECORD(ctx, u32, SWITCH_NEXT_PID);
#else
    return tid_of(ctx->args[2]);
#endif
}

/* sched_switch: why the thread leaves, enum wait_state; -1: it ends. States: include/linux/sched.h; the record has them
 * as __trace_sched_switch_state in include/trace/events/sched.h makes them. */
static inline int leaving_state(struct hook *ctx) {
    enum { UNINTERRUPTIBLE = 2, STOPPED = 4, TRACED = 8, EXIT_DEAD = 0x10, EXIT_ZOMBIE = 0x20 };
#ifdef PLAIN_TRACEPOINTS
    enum { NOLOAD = 0, DEAD = 0, PREEMPTED = 0x100 }; /* idle kernel threads have a bit of their own */
    u32 state = RECORD(ctx, u32, SWITCH_PREV_STATE), preempted = state & PREEMPTED;
#else
    enum { NOLOAD = 0x400, DEAD = 0x80 };
    u32 preempted = (u32)ctx->args[0] & 0xff;
#ifdef HAVE_PREV_STATE
    u32 state = ctx->args[3];
#else
    u32 state = 0;
    read_kernel(&state, 4, (void *)(ctx->args[1] + TASK_STATE));
#endif
#endif
    if (preempted || !state)
        return WAIT_PREEMPTED;
    if (state & (EXIT_DEAD | EXIT_ZOMBIE | DEAD))
        return -1;
    if (state & (STOPPED | TRACED))
        return WAIT_STOPPED;
    return (state & (UNINTERRUPTIBLE | NOLOAD)) == UNINTERRUPTIBLE ? WAIT_UNINTERRUPTIBLE : WAIT_SLEEPING;
}
