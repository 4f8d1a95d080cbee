/* Keeps all CPUs busy 20 calls deep, in code without frame pointers: the load for what a native frame costs.
 *
 * The chain through 256 functions is another one each time, and each frame is of another size, so that neither the
 * stacks nor the code they come from stay in the caches; the leaf reads memory at random for some microseconds.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 15 /* with the leaf and the frames below: 19 to 21 */
#define WORDS (1 << 20)

typedef uint64_t step_function(uint64_t, int);
static step_function *const steps[256];
static uint64_t memory[WORDS];

static __attribute__((noinline)) uint64_t leaf(uint64_t seed) {
    for (int i = 0; i < 400; i++)
        seed = seed * 6364136223846793005 + memory[(seed >> 40) % WORDS] + 1;
    return seed;
}

static uint64_t go_on(uint64_t seed, int depth) {
    return depth ? steps[seed >> 56](seed * 6364136223846793005 + 1, depth - 1) : leaf(seed);
}

#define STEP(n)                                                                                                        \
    static __attribute__((noinline)) uint64_t step_##n(uint64_t seed, int depth) {                                     \
        volatile char room[16 + (n % 13) * 24];                                                                        \
        room[n % 16] = (char)seed;                                                                                     \
        return go_on(seed ^ n, depth) + (uint64_t)room[n % 16];                                                        \
    }
#define FOUR(n) STEP(n##0) STEP(n##1) STEP(n##2) STEP(n##3)
#define SIXTEEN(n) FOUR(n##0) FOUR(n##1) FOUR(n##2) FOUR(n##3)
#define SIXTY_FOUR(n) SIXTEEN(n##0) SIXTEEN(n##1) SIXTEEN(n##2) SIXTEEN(n##3)
SIXTY_FOUR(10) SIXTY_FOUR(11) SIXTY_FOUR(12) SIXTY_FOUR(13)

#define NAME(n) step_##n,
#define NAME4(n) NAME(n##0) NAME(n##1) NAME(n##2) NAME(n##3)
#define NAME16(n) NAME4(n##0) NAME4(n##1) NAME4(n##2) NAME4(n##3)
#define NAME64(n) NAME16(n##0) NAME16(n##1) NAME16(n##2) NAME16(n##3)
static step_function *const steps[256] = {NAME64(10) NAME64(11) NAME64(12) NAME64(13)};

static void *work(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (;;)
        seed = go_on(seed * 2862933555777941757 + 3037000493, DEPTH);
    return NULL;
}

int main(void) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 1; i < cpus; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)(uintptr_t)i))
            return 1;
    }
    work(NULL);
}
