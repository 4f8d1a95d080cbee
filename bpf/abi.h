/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * What the programs and bpf/abi.py agree on: layouts, limits and numbers. All little-endian, natural alignment.
 */
#define MAX_FRAMES 127        /* user frames of a stack; kernel frames likewise (perf_event_max_stack's default) */
#define MAX_MAPPING_STEPS 12  /* binary search: 4,096 executable mappings a process */
#define MAX_ROW_STEPS 11      /* binary search: 1,024 rows in a page (at most 975 were seen) */
#define PAGE_BITS 12          /* unwind rows are looked up per 4 KiB of file virtual addresses */
#define SLAB_ROWS 16384       /* rows in one slab: 64 KiB */
#define MAX_SLABS 2048        /* 128 MiB of rows at the most */
#define MAX_RULES 65536       /* of all files together: each file has a run of its own */
#define RECENT_BITS 11        /* 2,048 return addresses whose rules a CPU remembers */
#define RECENT (1 << RECENT_BITS)
#define MAX_LABELS 32         /* of a goroutine */
#define MAX_LABEL_TEXT 255    /* bytes of a key or a value */
#define LABEL_BYTES 4096      /* of a set, each text with its length before it, in whole words */
#define MAX_BUCKETS 16        /* looked at of a map */
#define WINDOW_WORDS 128      /* user stack is read 1 KiB at a time */

enum target_mode { TARGET_ALL = 0, TARGET_PIDS = 1, TARGET_CGROUP = 2 };
enum config_flags { WANT_USER = 1, WANT_KERNEL = 2, PER_THREAD = 4, WANT_LABELS = 8, PER_GOROUTINE = 16 };

/* The one element of `config`, written by user space. */
struct config {
    u32 active;    /* which count map is filled: 0 or 1 */
    u32 target;    /* enum target_mode */
    u32 flags;     /* enum config_flags */
    u32 window;    /* number of the window, so that it is known which rows were used lately */
    u64 period_ns; /* of the sampling timer, to notice missed ticks */
};

/* Key of the two count maps; the value is a u64 count. */
struct count_key {
    u64 stack; /* hash of address space and frames; below 256: no stack, the id of a LOSS */
    u32 tgid;
    u32 tid; /* 0 unless PER_THREAD */
};

/* A stack as it crosses the ring buffer: the head, then `user` and `kernel` addresses (u64), leaf first. User
 * addresses are return addresses, or with EXACT those of an instruction: of the leaf, and of what was interrupted. */
#define EXACT (1UL << 63)
struct stack_head {
    u64 hash;
    u64 space; /* address space the user addresses belong to; 0: none */
    u32 tgid;
    u32 tid;
    u16 user;
    u16 kernel;
    u32 stop;      /* id of a STOP */
    char comm[16]; /* of the thread */
    u64 goroutine; /* its id; 0: none, or not wanted */
    u64 start;     /* address of its first function; likewise */
    u64 labels;    /* hash of its labels; 0: none */
};

/* A set of labels as it crosses the same ring, before a stack that names it: the head, then keys and values in turn,
 * each a u64 length and that many bytes, filled up to whole words. */
struct label_head {
    u64 hash;
    u64 is_labels; /* ~0: in a stack this is the address space */
    u32 count;
    u32 bytes;
    u32 cut; /* 1: not all of it is there */
    u32 unused;
};

enum event_kind { EVENT_NEW_SPACE = 1, EVENT_STALE = 2, EVENT_EXIT = 3, EVENT_ROWS = 4 };

/* What user space is told of processes, over the ring `events`. */
struct event {
    u32 kind;
    u32 tgid;
    u64 space;
    u64 address; /* EVENT_STALE: the address that no mapping holds; EVENT_ROWS: the table that has no rows */
    char comm[16];
};

enum process_flags { MAPPINGS_KNOWN = 1, LABELS_ARE_MAP = 2 };

/* Value of `processes`, key u32 tgid. */
struct process {
    u64 space;         /* identity of the address space: boot nanoseconds of its first sighting */
    u64 stale_ns;      /* when user space was last asked to read the mappings again */
    u64 mcall;         /* start of runtime.mcall in this process, and its size; 0: not Go */
    u64 morestack;     /* likewise of other functions of the runtime */
    u64 mstart;
    u64 async_preempt;
    u64 sigpanic;
    u32 mcall_size;
    u32 morestack_size;
    u32 mstart_size;
    u32 async_preempt_size;
    u32 sigpanic_size;
    u32 first; /* run of elements in `mappings` */
    u32 count;
    u32 flags;
    s32 go_tls; /* address of g, relative to the thread's fs base; 0: not known */
    u16 g_m;    /* offsets in runtime.g and runtime.m */
    u16 m_curg;
    u16 sched_sp;
    u16 sched_pc;
    u16 sched_bp;
    u16 g_labels; /* 0: not known, as the two that follow */
    u16 g_goid;
    u16 g_startpc;
    u32 unused;
};

enum mapping_table { GO_CODE = 0x80000000 };

/* Element of `mappings`: executable memory of a process; a process has a sorted run of them. */
struct mapping {
    u64 start;
    u64 bias;  /* address - bias = file virtual address */
    u32 units; /* length in 16 bytes: Go code and C code of one file are mappings of their own */
    u32 table; /* index in `tables`, 0: generated code, frame pointers only; | GO_CODE */
};

/* WANTED: not made yet, frame pointers meanwhile, and the stack says so. NONE: the file has no tables, frame pointers
 * are its rule. REFUSED: there is no room, frame pointers, and the stack says so. */
enum rows_state { ROWS_WANTED = 0, ROWS_READY = 1, ROWS_NONE = 2, ROWS_REFUSED = 3 };

/* Element of `tables`: the rows of one file, shared by all processes that map it. */
struct table {
    u32 first_page; /* file virtual address >> PAGE_BITS of the first page */
    u32 pages;
    u32 first;      /* run of elements in `pages` */
    u32 base_rule;  /* rule n of the file is element base_rule + n of `rules`; n > 0 */
    u32 state;      /* enum rows_state */
    u32 wanted;     /* stacks that met it while WANTED */
    u32 used;       /* config.window when its rows were last looked at */
    u32 unused;
};

/* Element of `pages`: where the rows of one page lie. */
struct page {
    u32 slab;
    u16 first;
    u16 count;
};

/* Element of `rules`; kinds and special values of rbp are those of symbolizer.unwind.rows. */
struct rule {
    s32 cfa;
    s16 rbp;
    u8 kind;
    u8 reg; /* FROM_REGISTER: index in struct registers; RULE_DEFAULT: the frame-pointer rule for want of another */
};
enum rule_bits {
    FROM_RBP = 1,
    DEREFERENCE = 2,
    PLT_ENTRY = 4,
    PLUS_WORD = 8,
    SPECIAL = 0x70,
    FROM_REGISTER = 0x80, /* in the leaf only: of callers no other registers than rsp and rbp are known */
};
enum rule_kind { RULE_END = 0x10, RULE_SIGNAL = 0x20, RULE_UNSUPPORTED = 0x30, RULE_CURG = 0x40 };
enum rule_reg { RULE_DEFAULT = 255 };
enum rule_rbp { RBP_AT_RBP = 1, RBP_LOST = 2 };

/* Why a thread was off the CPU. WAIT_PREEMPTED: it could have run on. Threads that end do not wait. */
enum wait_state { WAIT_PREEMPTED = 0, WAIT_SLEEPING = 1, WAIT_UNINTERRUPTIBLE = 2, WAIT_STOPPED = 3, WAIT_STATES = 4 };

/* The one element of `off_config`, written by user space; may change at any time. */
struct off_config {
    u64 min_ns;       /* shorter waits are counted in `off_totals` only */
    u64 max_ns;       /* likewise longer ones; 0: no limit */
    u64 window_start; /* monotonic ns: waits older than this may be in `reported` */
    u32 states;       /* 1 << enum wait_state of those that are wanted */
    u32 thread_walks; /* per thread and PACE_NS, before waits are thinned out */
    u32 cpu_walks;    /* likewise per CPU */
    u32 wakers;       /* 1: who ended a wait is kept too */
};
#define PACE_NS 100000000UL

/* Key and value of the two maps of waits. */
struct wait_key {
    u64 stack; /* as in struct count_key, or THINNED_STACK */
    u64 waker; /* stack of the thread that ended the wait; 0: not known */
    u32 tgid;
    u32 tid;     /* 0 unless PER_THREAD */
    u32 state;   /* enum wait_state */
    u32 thinned; /* 0: each such wait was walked; else one in some, and this is the class of their length */
};
struct wait_sum {
    u64 waits;
    u64 blocked_ns;
    u64 runnable_ns; /* from being woken to running */
    u64 longest_ns;
};
/* Waits that were not walked, since there were too many: their time, for others of their class to stand for. */
#define THINNED_STACK 255
#define STARTED_STACK 254 /* in place of a stack: a thread that was made and has not run yet */
#define THINNED_BITS 14 /* class 1 is below 2^14 ns, each further one is four times as long, up to class 10 */
#define THINNED_CLASSES 10

/* Value of `waiting`, key u32 tid: a target thread since its first wait. */
struct wait {
    u64 since; /* monotonic ns when it left the CPU; 0: it runs */
    u64 woken; /* when it became ready to run; 0: not yet */
    u64 stack; /* THINNED_STACK: not walked */
    u64 waker;
    u64 pace_begin; /* of the period in which its waits are counted, to thin them out */
    u32 pace_now;   /* waits in this period */
    u32 pace_last;  /* and in the one before */
    u32 tgid;
    u32 state;
    u32 one_in; /* in how many waits one is walked */
    u32 unused;
};

/* Value of `reported`, key u32 tid, written by user space: time of the wait that began at `since` is accounted for up to
 * `upto`, and the wait itself too. Removed when the wait ends. */
struct reported {
    u64 since;
    u64 upto;
};

/* Element of `off_totals`, per CPU. */
struct off_totals {
    u64 short_waits; /* below min_ns */
    u64 short_ns;
    u64 long_waits; /* above max_ns */
    u64 long_ns;
    u64 thinned_waits; /* not walked: others of their class stand for them */
    u64 thinned_ns;
    u64 pace_begin; /* of the CPU, as in struct wait */
    u32 pace_now;
    u32 pace_last;
};

_Static_assert(sizeof(struct off_config) == 40, "off_config");
_Static_assert(sizeof(struct wait_key) == 32, "wait_key");
_Static_assert(sizeof(struct wait_sum) == 32, "wait_sum");
_Static_assert(sizeof(struct wait) == 64, "wait");
_Static_assert(sizeof(struct reported) == 16, "reported");
_Static_assert(sizeof(struct off_totals) == 64, "off_totals");
_Static_assert(sizeof(struct config) == 24, "config");
_Static_assert(sizeof(struct count_key) == 16, "count_key");
_Static_assert(sizeof(struct stack_head) == 72, "stack_head");
_Static_assert(sizeof(struct label_head) == 32, "label_head");
_Static_assert(sizeof(struct event) == 40, "event");
_Static_assert(sizeof(struct process) == 112, "process");
_Static_assert(sizeof(struct mapping) == 24, "mapping");
_Static_assert(sizeof(struct table) == 32, "table");
_Static_assert(sizeof(struct page) == 8, "page");
_Static_assert(sizeof(struct rule) == 8, "rule");
