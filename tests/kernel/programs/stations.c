/* Stations: `stations NAME` runs one of the scenarios below for ever. Those called spin_* end in spin(): all their
 * samples have the same callers. The others go round: each sample is somewhere on a path that the test knows.
 * Built without frame pointers; every function of ours that calls does something after the call, so none of them
 * becomes a jump. */
#define _GNU_SOURCE
#include <alloca.h>
#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "own.h"

static volatile unsigned sink;

/* ---- calls: prologues and epilogues, small frames and large ones, arguments on the stack ---- */

OWN static unsigned third(unsigned a, unsigned b) { return work(a & 15) + b; }
OWN static unsigned many(unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f, unsigned g,
                         unsigned h) {
    /* More values live across calls than there are callee-saved registers. */
    unsigned r = third(a, b), s = third(b, c), t = third(c, d), u = third(d, e), v = third(e, f), w = third(f, g);
    return r * s + t * u + v * w + a * b + c * d + e * f + g * h + third(g, h);
}
OWN static unsigned large(unsigned a) {
    volatile char space[40000];
    space[a & 1023] = (char)a;
    return many(a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7) + (unsigned)space[0];
}
OWN static unsigned sometimes(unsigned a) { /* the frame is set up on one of two ways only (shrink-wrapping) */
    if (a & 1)
        return a * 3;
    return large(a) + large(a + 1) + 1;
}
OWN static void calls(void) {
    for (unsigned i = 0;; i++)
        sink += sometimes(i);
}

OWN static unsigned odd(unsigned n);
OWN static unsigned even(unsigned n) { return n ? odd(n - 1) + n : 1; }
OWN static unsigned odd(unsigned n) { return n ? even(n - 1) * n : 2; }
OWN static void mutual(void) {
    for (;;)
        sink += even(40);
}

/* ---- realigned stacks and frames of unknown size ---- */

OWN static unsigned aligned(unsigned n) {
    _Alignas(64) volatile char block[128];
    block[n & 127] = (char)n;
    return work(n & 15) + (unsigned)block[5];
}
OWN static unsigned aligned_alloca(unsigned n) { /* realigned, and rsp is not known: all goes by the saved rbp */
    _Alignas(32) volatile char block[64];
    volatile char *more = alloca(n & 511);
    block[n & 63] = (char)n;
    if (n & 511)
        more[0] = 1;
    return aligned(n) + (unsigned)block[7];
}
OWN __attribute__((force_align_arg_pointer)) static unsigned forced(unsigned n) {
    volatile unsigned kept = n;
    return aligned_alloca(n) + kept;
}
OWN static unsigned sized(unsigned n) {
    volatile char array[(n & 255) + 1];
    array[0] = (char)n;
    return forced(n) + (unsigned)array[0];
}
OWN static void realigned(void) {
    for (unsigned i = 0;; i++)
        sink += sized(i);
}

OWN static unsigned spin_in_aligned(unsigned n) {
    _Alignas(64) volatile char block[128];
    volatile char *more = alloca(n + 100);
    block[3] = more[2] = 1;
    spin();
    return (unsigned)block[3];
}
OWN __attribute__((force_align_arg_pointer)) static unsigned spin_in_forced(unsigned n) {
    return spin_in_aligned(n) + 1;
}
OWN static void spin_realigned(void) { sink += spin_in_forced(7) + 1; }

/* ---- a call that is the last instruction: the return address is that of the next function ---- */

OWN __attribute__((noreturn)) static void spin_here(void) {
    for (;;)
        spin();
}
OWN __attribute__((noreturn)) static void never_returns(void) {
    sink++;
    spin_here();
}
OWN static void spin_noreturn(void) {
    sink++;
    never_returns();
}

/* ---- callbacks of the C library ---- */

OWN static int compare(const void *left, const void *right) {
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    sink += work(10);
    return a < b ? -1 : a > b;
}
OWN static void sorting(void) {
    static unsigned numbers[300], copy[300];
    for (unsigned i = 0; i < 300; i++)
        numbers[i] = i * 7919 % 301;
    for (;;) {
        for (unsigned i = 0; i < 300; i++)
            copy[i] = numbers[i];
        qsort(copy, 300, sizeof(*copy), compare);
    }
}
OWN static void searching(void) {
    static unsigned numbers[1000];
    for (unsigned i = 0; i < 1000; i++)
        numbers[i] = i;
    __typeof__(bsearch) *volatile search = bsearch; /* the header has it as an inline function */
    for (unsigned i = 0;; i = (i + 7) % 1000)
        sink += search(&i, numbers, 1000, sizeof(*numbers), compare) != 0;
}
OWN static int compare_spin(const void *left, const void *right) {
    spin();
    return left < right;
}
OWN static void spin_qsort(void) {
    unsigned numbers[3] = {3, 2, 1};
    qsort(numbers, 3, sizeof(*numbers), compare_spin);
    sink++;
}
OWN static void spin_atexit(void) { /* main returns, and the handler runs above __libc_start_call_main */
    atexit(spin);
}
OWN static void spin_in_once(void) {
    spin();
    sink++;
}
OWN static void *once_in_thread(void *unused) {
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    pthread_once(&control, spin_in_once);
    return unused;
}
OWN static void spin_thread(void) {
    pthread_t thread;
    pthread_create(&thread, 0, once_in_thread, 0);
    pthread_join(thread, 0);
    sink++;
}
OWN static void spin_in_destructor(void *unused) {
    (void)unused;
    spin();
    sink++;
}
static pthread_key_t key;
OWN static void *leave_thread(void *unused) {
    pthread_setspecific(key, &key);
    pthread_exit(unused);
}
OWN static void spin_thread_exit(void) { /* the destructor of a thread's own data, after pthread_exit unwound it */
    pthread_t thread;
    pthread_key_create(&key, spin_in_destructor);
    pthread_create(&thread, 0, leave_thread, 0);
    pthread_join(thread, 0);
    sink++;
}

/* ---- signals ---- */

OWN static void spin_in_handler(int number) {
    sink += (unsigned)number;
    spin();
    sink++;
}
OWN static void on_signal(int number) { sink += work(20) + (unsigned)number; }
static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(number, &action, 0);
}
OWN static void raise_second(int number) {
    raise(SIGUSR2);
    sink += (unsigned)number;
}
OWN static void spin_signals(void) { /* a handler on a stack of its own, interrupted by another signal */
    static char stack[65536];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};
    sigaltstack(&other, 0);
    handle(SIGUSR1, raise_second, SA_ONSTACK);
    handle(SIGUSR2, spin_in_handler, 0);
    raise(SIGUSR1);
    sink++;
}
OWN static void spin_timer(void) { /* interrupted wherever it was, in a function without a frame */
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    handle(SIGALRM, spin_in_handler, 0);
    setitimer(ITIMER_REAL, &soon, 0);
    for (;;)
        sink += work(1000000);
}
/* Interrupted at its first instruction: one byte before it is another function. */
__asm__(".text\n.p2align 4\n.type faulting,@function\nfaulting:\n.cfi_startproc\nud2\nret\n.cfi_endproc\n"
        ".size faulting,.-faulting\n");
void faulting(void);
OWN static void spin_fault(void) {
    handle(SIGILL, spin_in_handler, 0);
    faulting();
    sink++;
}
OWN static void raising(void) {
    handle(SIGUSR1, on_signal, 0);
    for (;;)
        sink += (unsigned)raise(SIGUSR1);
}
OWN static void interrupted(void) { /* handlers above every kind of instruction of `calls` */
    struct itimerval often = {.it_value = {.tv_usec = 700}, .it_interval = {.tv_usec = 700}};
    handle(SIGALRM, on_signal, SA_RESTART);
    setitimer(ITIMER_REAL, &often, 0);
    for (unsigned i = 0;; i++)
        sink += sometimes(i);
}

/* ---- the C library, its assembly, the vDSO, the dynamic loader, system calls ---- */

OWN static void clocks(void) {
    struct timespec now;
    struct timeval day;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        gettimeofday(&day, 0);
        sink += (unsigned)now.tv_nsec + (unsigned)day.tv_usec + (unsigned)time(0);
    }
}
OWN static void allocating(void) {
    static void *kept[256];
    for (unsigned i = 0;; i = (i * 5 + 1) & 255) {
        free(kept[i]);
        kept[i] = i & 1 ? malloc(16 + i * 40) : calloc(1 + i, 24);
        if (i % 16 == 0)
            kept[i] = realloc(kept[i], 100000 + i * 100);
    }
}
OWN static void memory(void) {
    static char from[8192], to[8192];
    memset(from, 'x', sizeof(from) - 1);
    for (unsigned i = 0;; i = (i + 61) & 4095) {
        memcpy(to, from + i, i);
        memmove(to + 3, to, i);
        sink += (unsigned)strlen(from + i) + (unsigned)memcmp(to, from, i) + (strchr(from, 'y') != 0);
        memset(to, (int)i, i);
    }
}
OWN static int formatted(char *to, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(to, size, format, arguments);
    va_end(arguments);
    return written;
}
OWN static void printing(void) {
    char text[200];
    for (unsigned i = 0;; i++)
        sink += (unsigned)formatted(text, sizeof(text), "%d %s %f %p %c", i, "word", i * 1.5, (void *)text, 'c');
}
OWN static void linkage(void) { /* with LD_BIND_NOT=1 each of these calls goes through the resolver */
    for (unsigned i = 0;; i++)
        sink += (unsigned)strtol("12", 0, 10) + (unsigned)toupper((int)i & 127) + (unsigned)getpagesize();
}
OWN static void loading(void) {
    /* One without code that runs when it is loaded: where it lies is known to nobody for so short a time. */
    for (;;) {
        void *library = dlopen(getenv("LIBRARY"), RTLD_NOW);
        sink += dlsym(library, "relay") != 0;
        dlclose(library);
    }
}
OWN static long enter(long number, long a, long b, long c) { return syscall(number, a, b, c) + 1; }
OWN static void system_calls(void) {
    static char buffer[65536];
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    static int word;
    for (;;) {
        sink += (unsigned)read(zero, buffer, sizeof(buffer)) + (unsigned)write(null, buffer, 10) + (unsigned)getppid();
        sink += (unsigned)enter(SYS_getpid, 0, 0, 0) + (unsigned)enter(SYS_read, zero, (long)buffer, 30000);
        sink += (unsigned)enter(SYS_futex, (long)&word, FUTEX_WAKE, 1);
    }
}

/* Two threads hand a turn to each other. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned turn;
OWN static void take_turns(unsigned mine) {
    pthread_mutex_lock(&mutex);
    while (turn != mine)
        pthread_cond_wait(&changed, &mutex);
    turn = !mine;
    sink += work(200);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    sink++;
}
OWN static void *other_thread(void *unused) {
    for (;;)
        take_turns(1);
    return unused;
}
OWN static void condition(void) {
    pthread_t thread;
    pthread_create(&thread, 0, other_thread, 0);
    for (;;)
        take_turns(0);
}

#define STATION(name)                                                                                                  \
    { #name, name }
static const struct {
    const char *name;
    void (*run)(void);
} stations[] = {
    STATION(calls),       STATION(mutual),         STATION(realigned),   STATION(spin_realigned), STATION(spin_noreturn),
    STATION(sorting),     STATION(searching),      STATION(spin_qsort),  STATION(spin_atexit),    STATION(spin_thread),
    STATION(spin_signals), STATION(spin_timer), STATION(spin_fault),     STATION(raising),
    STATION(interrupted), STATION(clocks),         STATION(allocating),  STATION(memory),         STATION(printing),
    STATION(linkage),         STATION(loading),        STATION(system_calls), STATION(condition), STATION(spin_thread_exit),
};

OWN int main(int argc, char **argv) {
    for (unsigned i = 0; argc > 1 && i < sizeof(stations) / sizeof(*stations); i++)
        if (!strcmp(argv[1], stations[i].name)) {
            stations[i].run();
            return 0;
        }
    return 2;
}
