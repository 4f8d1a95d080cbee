/* Two threads with names of their own do the same work. */
#define _GNU_SOURCE
#include <pthread.h>

__attribute__((noinline, noclone)) static unsigned work(unsigned n) {
    volatile unsigned total = 0;
    for (unsigned i = 0; i < n; i++)
        total += i;
    return total;
}

static void *run(void *name) {
    pthread_setname_np(pthread_self(), name);
    for (;;)
        work(100000);
}

int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], 0, run, "left-hand");
    pthread_create(&threads[1], 0, run, "right-hand");
    pthread_join(threads[0], 0);
}
