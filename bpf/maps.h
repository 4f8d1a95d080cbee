/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * The maps all programs share. Sizes named in capitals are set at load time by bpf/loader.py.
 *
 *   map         kind, key -> value                     elements     memory at the defaults
 *   config      array -> struct config                 1            8 KiB
 *   targets     hash, u32 tgid -> u8                   TARGETS      0.3 MiB
 *   maybe       array of one element, a byte a tid     1            64 KiB
 *   cgroups     cgroup array                           1            8 KiB
 *   processes   hash, u32 tgid -> struct process       PROCESSES    0.6 MiB
 *   mappings    array -> struct mapping                MAPPINGS     1.5 MiB
 *   tables      array -> struct table                  TABLES       128 KiB
 *   pages       array -> struct page                   PAGES        2 MiB
 *   slabs       array of maps -> 64 KiB of rows        MAX_SLABS    16 KiB, and each slab in use
 *   rules       array of one element, all rules        1            512 KiB
 *   counts_a/b  hash, struct count_key -> u64          COUNTS       0.9 MiB each at 8,192
 *   stacks      ring buffer of struct stack_head       STACK_RING   1 MiB
 *   events      ring buffer of struct event            EVENT_RING   64 KiB
 *   losses      per-CPU array, LOSS id -> u64          16           small
 *   recent      per-CPU array -> struct recent         1            32 KiB a CPU
 *   scratch     per-CPU array -> struct scratch        1            4 KiB a CPU
 *   labelled    per-CPU array -> struct label_set      1            5 KiB a CPU
 *   last_tick   per-CPU array -> struct tick           1            small
 *   unread      per-CPU array -> u64 bytes             1            small
 *   programs    program array for the tail calls       3            small
 *
 * All hashes are preallocated: perf_event programs may not allocate on 5.10.
 */
struct registers { /* struct pt_regs, arch/x86/include/asm/ptrace.h */
    u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
struct sample {
    /* where the walk is */
    u64 pc, sp, bp;
    u64 window;      /* user address of words[0]; 0: nothing read */
    u64 salt;        /* of keys in `recent` */
    u32 mapping;     /* index of the mapping of the last frame */
    u32 passes;      /* tail calls so far */
    u32 caller;      /* pc is a return address: look up pc - 1 */
    u32 by_row;      /* not by the frame pointer even though it is a caller */
    u32 resumed;     /* the goroutine's own stack was taken up once already */
    u32 in_go;       /* the last frame was of Go code */
    u32 kernel_mode;
    u32 now;         /* config.window */
    u32 ask;                    /* table whose rows user space is to be asked for; 0: none */
    u32 role;                   /* added to the numbers of programs: ROLE_WAKER, or 0 */
    u32 woken;                  /* ROLE_WAKER: the thread that is woken */
    u32 after;                  /* program that follows the walk of a process of Go's */
    struct registers registers; /* of the leaf */
    /* what is sent */
    struct stack_head head;
    u64 frames[2 * (MAX_FRAMES + 1)];
    u64 words[WINDOW_WORDS];
};

/* The rules of return addresses met lately, so that a native frame costs one cache miss instead of six. Any two
 * address spaces, states of one's mappings, and windows have different keys. */
struct known {
    u64 key;
    struct rule rule;
};
struct recent {
    struct known known[RECENT];
};
struct recent_bytes {
    char bytes[16 * RECENT];
};

/* What a process or thread may be whose id has these low 16 bits; where a bit is not set, none of them is that. Saves
 * what has nothing to do with targets the look-ups. */
enum maybe { MAYBE_TARGET = 1, MAYBE_WAITING = 2 };
struct tid_bytes {
    char byte[65536];
};

/* The timer of a CPU: it fires at start + n * period, or late. */
struct tick {
    u64 start; /* monotonic ns of a tick; 0: none yet */
    u64 index; /* n of the last tick */
    u64 taken; /* ticks thought missed at the last one, of a target */
};

/* bcc compiles large array members slowly, and cannot describe sizeof: values are declared as bytes and cast. */
struct sample_bytes {
    char bytes[3400];
};
struct slab {
    u32 row[SLAB_ROWS];
};
struct label_bytes {
    char bytes[4656];
};
struct slab_bytes {
    char bytes[4 * SLAB_ROWS];
};
struct rules {
    struct rule rule[MAX_RULES];
};
struct rules_bytes {
    char bytes[8 * MAX_RULES];
};

_Static_assert(sizeof(struct recent_bytes) == sizeof(struct recent), "recent_bytes");
_Static_assert(sizeof(struct sample_bytes) == sizeof(struct sample), "sample_bytes");
_Static_assert(sizeof(struct slab_bytes) == sizeof(struct slab), "slab_bytes");
_Static_assert(sizeof(struct rules_bytes) == sizeof(struct rules), "rules_bytes");

BPF_TABLE("array", int, struct config, config, 1);
BPF_F_TABLE("hash", u32, u8, targets, TARGETS, 0);
BPF_TABLE("array", int, struct tid_bytes, maybe, 1);
BPF_CGROUP_ARRAY(cgroups, 1);
BPF_F_TABLE("hash", u32, struct process, processes, PROCESSES, 0);
BPF_TABLE("array", int, struct mapping, mappings, MAPPINGS);
BPF_TABLE("array", int, struct table, tables, TABLES);
BPF_TABLE("array", int, struct page, pages, PAGES);
/* Without BTF, as the slabs that user space makes: from Linux 5.15 to 6.1 maps with and without it are not alike. */
#pragma push_macro("BPF_ANNOTATE_KV_PAIR")
#undef BPF_ANNOTATE_KV_PAIR
#define BPF_ANNOTATE_KV_PAIR(name, key, value)
BPF_TABLE("array", int, struct slab_bytes, slab_prototype, 1);
#pragma pop_macro("BPF_ANNOTATE_KV_PAIR")
BPF_ARRAY_OF_MAPS(slabs, "slab_prototype", MAX_SLABS);
BPF_TABLE("array", int, struct rules_bytes, rules, 1);
BPF_F_TABLE("hash", struct count_key, u64, counts_a, COUNTS, 0);
BPF_F_TABLE("hash", struct count_key, u64, counts_b, COUNTS, 0);
BPF_RINGBUF_OUTPUT(stacks, STACK_RING_PAGES);
BPF_RINGBUF_OUTPUT(events, EVENT_RING_PAGES);
BPF_PERCPU_ARRAY(losses, u64, 16);
BPF_PERCPU_ARRAY(recent, struct recent_bytes, 1);
BPF_PERCPU_ARRAY(scratch, struct sample_bytes, 1);
BPF_PERCPU_ARRAY(labelled, struct label_bytes, 1);
BPF_PERCPU_ARRAY(last_tick, struct tick, 1);
BPF_PERCPU_ARRAY(unread, u64, 1);
BPF_PROG_ARRAY(programs, 3);

enum program { PROGRAM_WALK = 0, PROGRAM_COUNT = 1, PROGRAM_LABELS = 2 };

#define LOSS_ENUM(id, name, sentence) LOSS_##name = id,
#define STOP_ENUM(id, name, sentence) STOP_##name = id,
enum loss { LOSSES(LOSS_ENUM) };
enum stop { STOPS(STOP_ENUM) };

/* bpf_probe_read_user and bpf_probe_read_kernel, by their ids: at each call of them by name bcc reads all of
 * /proc/kallsyms to see whether the kernel has them (5.5), which takes 0.9 of 1.2 s of compiling. */
static long (*read_user)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user;
#ifdef BLIND /* the kernel has no BTF to say where things are, or its lockdown forbids reading them */
#define read_kernel(to, size, from) ((void)(to), -1L)
#else
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_kernel;
#endif

/* Keeps clang from reasoning about a value, so that what the verifier sees stays bounded and branchless. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

static inline u32 may_be(u32 id, u32 what) {
    int zero = 0;
    struct tid_bytes *bytes = maybe.lookup(&zero);
    return bytes ? bytes->byte[id & 0xffff] & what : what;
}

static inline void is_maybe(u32 id, u32 what) {
    int zero = 0;
    struct tid_bytes *bytes = maybe.lookup(&zero);
    if (bytes)
        bytes->byte[id & 0xffff] |= what;
}

static inline void lost(int cause, u64 samples) {
    u64 *counter = losses.lookup(&cause);
    if (counter)
        *counter += samples;
}
