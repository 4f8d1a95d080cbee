/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Which goroutine a sample is of, and the labels that runtime/pprof gave it.
 *
 * Hook    tail call from walk (programs[PROGRAM_LABELS]) where the process is Go's and either is wanted; then
 *         programs[PROGRAM_COUNT]
 * Maps    processes (read), scratch, labelled (maps.h); `count` sends the set over `stacks` with a stack that is new
 * Drops   labels beyond 32, and what is beyond 255 bytes of a key or value, or 4 KiB in all: marked in the record
 * Cost    about 0.5 us for a goroutine without labels; more with each label
 * Kernel  5.10
 *
 * Labels are read here, at the time of the sample, and by their text: their memory is used again as soon as the
 * goroutine has other ones. Since Go 1.24 a set is a slice, before it was a map (runtime/pprof.labelMap).
 */
struct label_set {
    /* State of the loops. In registers it would be something else in each round, and the verifier would go through
     * every combination. */
    u32 at;     /* where the next text goes */
    u32 index;  /* of the next bucket */
    u64 bucket; /* the current one, 0: none */
    /* what is sent */
    struct label_head head;
    char text[LABEL_BYTES + 2 * MAX_LABEL_TEXT];
};
_Static_assert(sizeof(struct label_bytes) == sizeof(struct label_set), "label_bytes");

static inline void add_text(struct label_set *set, u64 address, u64 length) {
    u32 at = set->at, size = length;
    if (length > MAX_LABEL_TEXT) {
        size = MAX_LABEL_TEXT;
        set->head.cut = 1;
    }
    if (at + 8 + size > LABEL_BYTES - 8) {
        set->head.cut = 1;
        return;
    }
    OPAQUE(at);
    at &= LABEL_BYTES - 8;
    OPAQUE(size);
    size &= MAX_LABEL_TEXT;
    *(u64 *)&set->text[at] = size;
    *(u64 *)&set->text[at + 8 + (size & ~7)] = 0; /* what is hashed are whole words */
    if (read_user(&set->text[at + 8], size, (void *)address))
        set->head.cut = 1;
    set->at = at + 8 + ((size + 7) & ~7);
}

/* A label: where it is, as two string headers of the runtime. */
static inline void add_label(struct label_set *set, u64 *key, u64 *value) {
    add_text(set, key[0], key[1]);
    add_text(set, value[0], value[1]);
    set->head.count++;
}

static inline void add_slice(struct label_set *set, u64 address) {
    u64 slice[2] = {};
    read_user(slice, 16, (void *)address);
    if (slice[1] > MAX_LABELS)
        set->head.cut = 1;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < MAX_LABELS; i++) {
        OPAQUE(i);
        if (i >= slice[1])
            break;
        u64 label[4];
        if (read_user(label, 32, (void *)(slice[0] + 32 * i)))
            break;
        add_label(set, label, label + 2);
    }
}

/* Goes on to the next bucket; 0 where there is none. A map that has grown keeps part of what it holds in old ones. */
static inline u64 next_bucket(struct label_set *set, u64 *map) {
    u64 bucket = set->bucket;
    if (bucket && read_user(&bucket, 8, (void *)(bucket + 264)))
        bucket = 0;
    if (!bucket) {
        u32 fresh = 1 << (map[1] >> 8 & 7), old = map[3] ? (fresh + 1) >> 1 : 0, index = set->index;
        set->index = index + 1;
        if (index < fresh)
            bucket = map[2] + 272 * index;
        else if (index < fresh + old)
            bucket = map[3] + 272 * (index - fresh);
    }
    set->bucket = bucket;
    return bucket;
}

/* A bucket of a map[string]string: eight top bytes of hashes, eight keys, eight values, the address of another one. */
static inline void add_map(struct label_set *set, u64 address) {
    u64 at = 0, map[4] = {};
    read_user(&at, 8, (void *)address);
    if (!at || read_user(map, 32, (void *)at))
        return;
#pragma clang loop unroll(disable)
    for (u32 step = 0; step < 8 * MAX_BUCKETS; step++) {
        u32 slot = step & 7;
        u64 bucket = slot ? set->bucket : next_bucket(set, map);
        if (!bucket)
            break;
        u8 hash = 0;
        u64 key[2], value[2];
        read_user(&hash, 1, (void *)(bucket + slot));
        if (hash < 5) /* empty or moved: runtime.minTopHash */
            continue;
        if (read_user(key, 16, (void *)(bucket + 8 + 16 * slot)) ||
            read_user(value, 16, (void *)(bucket + 136 + 16 * slot)))
            break;
        add_label(set, key, value);
    }
}

/* Makes `set` hold the labels at an address; their hash, 0 where there are none. */
static inline u64 take_labels(struct label_set *set, u64 address, u32 are_map) {
    set->at = 0;
    set->index = 0;
    set->bucket = 0;
    set->head.count = 0;
    set->head.cut = 0;
    if (are_map)
        add_map(set, address);
    else
        add_slice(set, address);
    if (!set->head.count)
        return 0;
    u64 hash = 0x9ae16a3b2f90404fUL;
    u32 bytes = set->at;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < LABEL_BYTES; i += 8) {
        if (i >= bytes)
            break;
        hash = (hash ^ *(u64 *)&set->text[i & (LABEL_BYTES - 8)]) * 0x9E3779B97F4A7C15UL;
        hash ^= hash >> 29;
    }
    set->head.bytes = bytes;
    set->head.is_labels = ~0UL;
    set->head.hash = hash | 256;
    return hash | 256;
}

/* The goroutine that this thread works for: its labels, and its id and first function where these are wanted. */
static inline void take_goroutine(struct sample *sample, struct process *process, struct config *wanted) {
    u64 curg = 0, labels = 0;
    if (current_goroutine(process, &curg) || !curg)
        return;
    if (wanted->flags & PER_GOROUTINE) {
        read_user(&sample->head.goroutine, 8, (void *)(curg + process->g_goid));
        read_user(&sample->head.start, 8, (void *)(curg + process->g_startpc));
        sample->head.hash = (sample->head.hash ^ sample->head.goroutine) * 0x9E3779B97F4A7C15UL;
    }
    int zero = 0;
    struct label_set *set = (void *)labelled.lookup(&zero);
    if (!set || !(wanted->flags & WANT_LABELS) || read_user(&labels, 8, (void *)(curg + process->g_labels)) || !labels)
        return;
    sample->head.labels = take_labels(set, labels, process->flags & LABELS_ARE_MAP);
    sample->head.hash = (sample->head.hash ^ sample->head.labels) * 0x9E3779B97F4A7C15UL;
}

int labels(struct bpf_perf_event_data *ctx) {
    int zero = 0;
    struct sample *sample = (void *)scratch.lookup(&zero);
    struct config *wanted = config.lookup(&zero);
    if (!sample || !wanted)
        return 0;
    u32 tgid = sample->head.tgid;
    struct process *process = processes.lookup(&tgid);
    if (process && process->space == sample->head.space && process->g_labels)
        take_goroutine(sample, process, wanted);
    programs.call(ctx, PROGRAM_COUNT);
    lost(LOSS_tail_call_failed, 1);
    return 0;
}

/* Sends the labels of the sample; 0, or an error when the ring is full. */
static inline int send_labels(struct sample *sample) {
    int zero = 0;
    struct label_set *set = (void *)labelled.lookup(&zero);
    if (!sample->head.labels || !set)
        return 0;
    u64 bytes = set->head.bytes;
    OPAQUE(bytes);
    bytes = sizeof(struct label_head) + (bytes & (LABEL_BYTES - 1));
    return stacks.ringbuf_output(&set->head, bytes, 1 /* BPF_RB_NO_WAKEUP */);
}
