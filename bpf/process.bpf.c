/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Follows the life of processes, so that children of targets are targets and no address is read with old mappings.
 *
 * Hooks   tracepoints sched_process_fork, sched_process_exec, sched_process_exit (hooks.h)
 * Maps    targets, maybe, processes (maps.h); sends struct event over `events`
 * Drops   an event when its ring is full (LOSS event_ring_full): the process keeps its old state until it is seen again
 * Cost    two map look-ups a fork, exec or exit; nothing per sample
 * Kernel  5.10 (ring buffer); TASK_PID, TASK_TGID, TASK_SIGNAL, SIGNAL_LIVE are BTF offsets set at load time
 */
/* 0, or an error when the ring is full. */
static inline int tell(u32 kind, u32 tgid, u64 space, u64 address) {
    struct event event = {};
    event.kind = kind;
    event.tgid = tgid;
    event.space = space;
    event.address = address;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    int error = events.ringbuf_output(&event, sizeof(event), 0);
    if (error)
        lost(LOSS_event_ring_full, 1);
    return error;
}

static inline void forget(u32 tgid) {
    struct process *process = processes.lookup(&tgid);
    if (!process)
        return;
    tell(EVENT_EXIT, tgid, process->space, 0);
    processes.delete(&tgid);
}

int on_fork(struct hook *ctx) {
    u32 parent = bpf_get_current_pid_tgid() >> 32, tgid = forked_process(ctx);
    if (!tgid) /* a thread: its process is a target already, or not */
        return 0;
    u8 *target = targets.lookup(&parent);
    if (!target)
        return 0;
    u8 yes = 1;
    is_maybe(tgid, MAYBE_TARGET);
    targets.update(&tgid, &yes);
    return 0;
}

int on_exec(struct hook *ctx) {
    (void)ctx;
    forget(bpf_get_current_pid_tgid() >> 32);
    return 0;
}

int on_exit(struct hook *ctx) {
    (void)ctx;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
#ifdef BLIND
    /* as good as can be told: the first thread is mostly the last */
    u32 live = (u32)bpf_get_current_pid_tgid() != tgid;
#else
    u64 signal = 0;
    u32 live = 1;
    read_kernel(&signal, 8, (void *)(bpf_get_current_task() + TASK_SIGNAL));
    read_kernel(&live, 4, (void *)(signal + SIGNAL_LIVE));
#endif
    if (live) /* other threads go on */
        return 0;
    forget(tgid);
    targets.delete(&tgid);
    return 0;
}
