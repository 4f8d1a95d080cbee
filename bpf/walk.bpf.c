/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Walks the user stack of the sample in `scratch`, from its registers to its outermost frame, and hashes it.
 *
 * Hook    tail call from on_tick (programs[PROGRAM_WALK]); calls itself every FRAMES_PER_PASS frames, then
 *         programs[PROGRAM_COUNT]
 * Maps    processes, mappings, tables, pages, slabs, rules (read), recent, scratch (maps.h)
 * Drops   nothing: a walk that cannot go on leaves its STOP in the stack
 * Cost    about 0.1 to 0.3 us a frame, mostly cache misses on the target's stack
 * Kernel  5.10
 *
 * A frame's caller is found by the unwind row of its pc (symbolizer.unwind.rows). In Go code only the leaf needs its
 * row: every Go function that calls has set up its frame, so callers go by rbp, which is half the cost. Three places
 * of the Go runtime are such that rbp does not tell: runtime.mstart, where the stack of a thread ends (up to Go 1.24
 * rbp leads on into the stack of the thread that made it), runtime.mcall, where the scheduler's stack ends (up to Go
 * 1.24 rbp leads on into the goroutine that just parked), and runtime.morestack, from which the walk goes on at the
 * registers saved in the current goroutine. A leaf in one of them may be before the switch: that too its row knows.
 * What is above runtime.asyncPreempt and runtime.sigpanic did not call but was interrupted: it goes by its row. So
 * does the caller of a leaf in morestack, which is in its prologue.
 */
enum { RESUMED, NO_GOROUTINE, UNREADABLE };

/* The goroutine that this thread works for: runtime.m.curg, which is 0 while it works for none. 0, or an error. */
static inline u64 current_goroutine(struct process *process, u64 *curg) {
    u64 fs_base = 0, g = 0, m = 0;
    u64 failed = !process->go_tls;
    failed |= read_kernel(&fs_base, 8, (void *)(bpf_get_current_task() + TASK_FSBASE));
    failed |= read_user(&g, 8, (void *)(fs_base + (s64)process->go_tls));
    failed |= read_user(&m, 8, (void *)(g + process->g_m));
    failed |= read_user(curg, 8, (void *)(m + process->m_curg));
    return failed;
}

/* Sets the walk to the saved registers of that goroutine: runtime.g.sched. */
static inline int go_on_from_goroutine(struct sample *sample, struct process *process) {
    u64 curg = 0, failed = sample->resumed | current_goroutine(process, &curg);
    if (failed)
        return UNREADABLE;
    if (!curg) /* it was preempted in its prologue and put aside: the scheduler works for nobody */
        return NO_GOROUTINE;
    failed |= read_user(&sample->pc, 8, (void *)(curg + process->sched_pc));
    failed |= read_user(&sample->sp, 8, (void *)(curg + process->sched_sp));
    failed |= read_user(&sample->bp, 8, (void *)(curg + process->sched_bp));
    if (failed || !sample->pc)
        return UNREADABLE;
    sample->resumed = 1;
    sample->caller = 1;
    sample->by_row = 1;
    sample->window = 0;
    return RESUMED;
}

/* The index of the last mapping of the process that starts at or below the address. */
static inline u32 find_mapping(struct process *process, u64 address) {
    u32 low = process->first, count = process->count;
#pragma clang loop unroll(disable)
    for (int step = 0; step < MAX_MAPPING_STEPS; step++) {
        u32 half = count >> 1;
        int middle = low + half;
        struct mapping *mapping = mappings.lookup(&middle);
        if (!mapping)
            break;
        s64 below = (s64)(mapping->start - address - 1) >> 63; /* all ones where start <= address */
        OPAQUE(below);
        low += half & (u32)below;
        count -= half;
    }
    return low;
}

/* Rows that are needed and not there: frame pointers meanwhile, which the stack says. User space is asked for them at
 * the 1st, 2nd, 4th, 8th.. stack that meets them, so that it knows which files matter most. */
static inline void rows_missing(struct sample *sample, struct table *table, u32 index) {
    if (table->state == ROWS_NONE)
        return;
    sample->head.stop = STOP_no_rows;
    if (table->state != ROWS_WANTED)
        return;
    u32 wanted = table->wanted + 1;
    table->wanted = wanted;
    if (!(wanted & (wanted - 1)))
        sample->ask = index;
}

/* The rule in force at a file virtual address: its index; 0, frame pointers, where there are no rows. */
static inline u32 find_rule(struct sample *sample, u32 table_index, u64 vaddr) {
    int index = table_index, zero = 0;
    struct table *table = tables.lookup(&index);
    if (!table)
        return 0;
    if (table->state != ROWS_READY) {
        rows_missing(sample, table, table_index);
        return 0;
    }
    if (table->used != sample->now)
        table->used = sample->now;
    u32 number = (u32)(vaddr >> PAGE_BITS) - table->first_page;
    if (number >= table->pages)
        return 0;
    u32 base = table->base_rule;
    index = table->first + number;
    struct page *page = pages.lookup(&index);
    if (!page)
        return 0;
    index = page->slab;
    void *inner = slabs.lookup(&index);
    if (!inner)
        return 0;
    struct slab *slab = bpf_map_lookup_elem(inner, &zero);
    if (!slab)
        return 0;
    u32 low = page->first, count = page->count;
    s64 wanted = vaddr & ((1 << PAGE_BITS) - 1);
#pragma clang loop unroll(disable)
    for (int step = 0; step < MAX_ROW_STEPS; step++) {
        u32 half = count >> 1;
        s64 start = slab->row[(low + half) & (SLAB_ROWS - 1)] >> 16;
        s64 below = (start - wanted - 1) >> 63;
        OPAQUE(below);
        low += half & (u32)below;
        count -= half;
    }
    u32 row = slab->row[low & (SLAB_ROWS - 1)];
    OPAQUE(row);
    row &= 0xffff;
    if (!row && !sample->in_go) /* the walk goes on by the frame pointer, which may not be one */
        sample->head.stop = STOP_no_frame_info;
    return row ? base + row : 0;
}

/* Makes words[] hold the two words below `cfa`; returns the index of the return address in it, or -1. */
static inline s64 read_frame(struct sample *sample, u64 cfa) {
    u64 offset = cfa - 16 - sample->window;
    if (sample->window && offset <= (WINDOW_WORDS - 2) * 8)
        return (offset >> 3) + 1;
    u64 from = cfa - 64;
    if (read_user(sample->words, WINDOW_WORDS * 8, (void *)from)) {
        /* The window runs into memory that is not there; what failed was zeroed, so forget it. */
        sample->window = 0;
        if (read_user(&sample->words[6], 16, (void *)(cfa - 16)))
            return -1;
    } else {
        sample->window = from;
    }
    return 7;
}

enum step { GO_ON, ENDED };

static inline int stop(struct sample *sample, u32 cause) {
    sample->head.stop = cause;
    return ENDED;
}

static inline void keep_frame(struct sample *sample, u64 pc) {
    u32 user = sample->head.user;
    sample->frames[user & MAX_FRAMES] = sample->caller ? pc : pc | EXACT;
    sample->head.user = user + 1;
    u64 hash = (sample->head.hash ^ pc) * 0x9E3779B97F4A7C15UL;
    sample->head.hash = hash ^ (hash >> 29);
}

/* Finds the mapping of an address: its table (0: none), and the file virtual address in `vaddr`. */
static inline int find_code(struct sample *sample, struct process *process, u64 address, u32 *table, u64 *vaddr) {
    if (!(process->flags & MAPPINGS_KNOWN))
        return address - 4096 < (1UL << 47) - 4096 ? GO_ON : stop(sample, STOP_bad_frame);
    int index = sample->mapping;
    struct mapping *mapping = mappings.lookup(&index);
    if (mapping && (address - mapping->start) >> 4 >= mapping->units) {
        index = find_mapping(process, address);
        sample->mapping = index;
        mapping = mappings.lookup(&index);
    }
    if (!mapping || (address - mapping->start) >> 4 >= mapping->units)
        return stop(sample, STOP_no_mapping);
    *table = mapping->table;
    *vaddr = address - mapping->bias;
    return GO_ON;
}

static inline int within(u64 address, u64 start, u32 size) {
    return address - start < size;
}

/* What Go's runtime makes of a caller: the end of its stack, a switch of stacks (RULE_CURG in `rule`), or a call. */
static inline int pass_go_caller(struct sample *sample, struct process *process, u64 address, u32 *rule) {
    if (within(address, process->mcall, process->mcall_size) || within(address, process->mstart, process->mstart_size))
        return ENDED;
    if (within(address, process->morestack, process->morestack_size))
        *rule = RULE_CURG;
    else if (!sample->bp)
        return ENDED;
    return GO_ON;
}

/* Goes on where a rule says something else than where the caller's frame is. */
static inline int follow_special(struct sample *sample, struct process *process, u32 kind) {
    if (kind == RULE_END)
        return ENDED;
    if (kind == RULE_CURG) {
        int resumed = go_on_from_goroutine(sample, process);
        if (resumed == UNREADABLE)
            return stop(sample, STOP_no_goroutine);
        return resumed == RESUMED ? GO_ON : ENDED;
    }
    if (kind != RULE_SIGNAL)
        return stop(sample, STOP_unsupported);
    /* rsp points at struct ucontext; uc_mcontext at 40, in it rbp at 80, rsp at 120, rip at 128
     * (arch/x86/include/uapi/asm/sigcontext.h) */
    u64 sp = sample->sp;
    u32 last = (sample->head.user - 1) & MAX_FRAMES;
    sample->frames[last] |= EXACT; /* the handler returns to the first byte of this code, which called nothing */
    u64 failed = read_user(&sample->bp, 8, (void *)(sp + 120));
    failed |= read_user(&sample->sp, 8, (void *)(sp + 160));
    failed |= read_user(&sample->pc, 8, (void *)(sp + 168));
    sample->caller = 0;
    sample->window = 0;
    return failed ? stop(sample, STOP_bad_read) : GO_ON;
}

/* Sets the walk to the caller by a rule. `address` is where the rule was looked up; stacks of one thread grow
 * downwards except where `switches` says that the code may change stacks. */
static inline int follow(struct sample *sample, struct rule *rule, u64 address, u32 switches) {
    u64 sp = sample->sp, bp = sample->bp;
    u32 kind = rule->kind;
    s64 saved = rule->rbp, plus = rule->cfa;
    u64 from_bp = -(u64)(kind & FROM_RBP);
    OPAQUE(from_bp);
    u64 cfa = (bp & from_bp) | (sp & ~from_bp);
    if (kind & FROM_REGISTER) {
        u32 number = rule->reg;
        OPAQUE(number);
        if (sample->head.user != 1)
            return stop(sample, STOP_unsupported);
        cfa = ((u64 *)&sample->registers)[number & 15];
    }
    if (kind & DEREFERENCE) {
        u64 value = 0;
        if (read_user(&value, 8, (void *)(cfa + plus)))
            return stop(sample, STOP_bad_read);
        cfa = value;
        plus = kind & PLUS_WORD;
    }
    u64 plt = ((kind & PLT_ENTRY) >> 2) & ((((address & 15) - 11) >> 63) ^ 1);
    cfa += plus + (plt << 3);
    if ((cfa & 7) || (cfa <= sp && !switches))
        return stop(sample, STOP_bad_frame);
    s64 at = read_frame(sample, cfa);
    if (at < 0)
        return stop(sample, STOP_bad_read);
    sample->sp = cfa;
    sample->pc = sample->words[at & (WINDOW_WORDS - 1)];
    if (saved == -16)
        sample->bp = sample->words[(at - 1) & (WINDOW_WORDS - 1)];
    else if (saved == RBP_LOST)
        sample->bp = 1; /* no frame has an odd address: where rbp is needed, the walk ends with a cause */
    else if (saved == RBP_AT_RBP && bp - sp >= cfa - sp) /* gcc says so even after the epilogue has restored it */
        sample->bp = bp;
    else if (saved && read_user(&sample->bp, 8, (void *)(saved == RBP_AT_RBP ? bp : cfa + saved)))
        return stop(sample, STOP_bad_read);
    return sample->pc ? GO_ON : ENDED;
}

/* Goes on by the rule of a frame, at `address`. */
static inline int follow_rule(struct sample *sample, struct process *process, struct rule *rule, u64 address,
                              u32 special, u32 switches) {
    special |= rule->kind & SPECIAL;
    if (special)
        return follow_special(sample, process, special);
    if (rule->reg == RULE_DEFAULT && !sample->bp)
        return ENDED;
    return follow(sample, rule, address, switches);
}

/* One frame: keeps it and moves on to its caller. */
static inline int walk_frame(struct sample *sample, struct process *process, struct rules *all, struct recent *recent) {
    u64 pc = sample->pc, vaddr = 0;
    u32 caller = sample->caller, by_row = sample->by_row | !caller;
    u64 address = pc - caller;
    u32 table = 0, rule_index = 0, special = 0;
    if (sample->head.user >= MAX_FRAMES)
        return stop(sample, STOP_depth);
    u64 key = address ^ sample->salt;
    u64 slot = (key * 0x9E3779B97F4A7C15UL) >> (64 - RECENT_BITS);
    OPAQUE(slot);
    struct known *known = &recent->known[slot & (RECENT - 1)];
    u32 remembers = caller & !sample->in_go & process->flags; /* MAPPINGS_KNOWN is 1 */
    if (remembers && known->key == key) {
        keep_frame(sample, pc);
        return follow_rule(sample, process, &known->rule, address, 0, 0);
    }
    if (find_code(sample, process, address, &table, &vaddr)) {
        if (!caller) /* junk is no frame, but where the CPU was is */
            keep_frame(sample, pc);
        return ENDED;
    }
    keep_frame(sample, pc);
    sample->caller = 1;
    sample->by_row = 0;
    sample->in_go = table & GO_CODE;
    if (!(table & GO_CODE)) {
        by_row = 1;
    } else {
        remembers = 0;
        if (within(address, process->async_preempt, process->async_preempt_size) ||
            within(address, process->sigpanic, process->sigpanic_size))
            sample->caller = 0;
        if (within(address, process->morestack, process->morestack_size))
            sample->by_row = 1; /* it was called by a prologue: its caller has no frame yet */
        if (!by_row && pass_go_caller(sample, process, address, &special))
            return ENDED;
    }
    if (by_row && (table & 0xffff))
        rule_index = find_rule(sample, table & 0xffff, vaddr);
    struct rule *rule = &all->rule[rule_index & (MAX_RULES - 1)];
    if (remembers && sample->head.stop == STOP_complete) { /* else perhaps for want of rows, which may come */
        known->key = key;
        known->rule = *rule;
    }
    return follow_rule(sample, process, rule, address, special,
                       (table & GO_CODE) || !(process->flags & MAPPINGS_KNOWN));
}

static inline void start_walk(struct sample *sample, struct process *process) {
    sample->mapping = process->first; /* no other process's: without PIE all have their code at the same addresses */
    sample->in_go = 0;
    u64 salt = process->space ^ (u64)process->first << 40 ^ (u64)sample->now << 16;
    sample->salt = salt * 0x9E3779B97F4A7C15UL;
}

/* Up to FRAMES_PER_PASS frames: which program goes on, PROGRAM_WALK with more of them or PROGRAM_COUNT. */
static inline int walk_pass(struct sample *sample, struct rules *all, struct recent *recent) {
    u32 tgid = sample->head.tgid;
    struct process *process = processes.lookup(&tgid);
    if (!process || process->space != sample->head.space) {
        sample->head.stop = STOP_new_process;
        return PROGRAM_COUNT;
    }
    if (!sample->passes)
        start_walk(sample, process);
#pragma clang loop unroll(disable)
    for (int i = 0; i < FRAMES_PER_PASS; i++) {
        if (walk_frame(sample, process, all, recent))
            goto done;
    }
    u32 passes = sample->passes + 1;
    sample->passes = passes;
    if (passes <= MAX_FRAMES / FRAMES_PER_PASS)
        return PROGRAM_WALK;
done:
    if (!(process->flags & MAPPINGS_KNOWN)) /* a frameless leaf would have lost its caller without a trace */
        sample->head.stop = STOP_new_process;
    return process->go_tls ? sample->after : PROGRAM_COUNT;
}

int walk(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct rules *all = (void *)rules.lookup(&zero);
    struct recent *known = (void *)recent.lookup(&zero);
    if (!sample || !all || !known)
        return 0;
    programs.call(ctx, walk_pass(sample, all, known));
    lost(LOSS_tail_call_failed, 1);
    return 0;
}
