// Built by cgo: -O2, so without frame pointers.
#include "native.h"
#include "_cgo_export.h"

#include <pthread.h>
#include <stdlib.h>

#define OWN __attribute__((noipa))

OWN static unsigned work(unsigned rounds) {
    unsigned total = rounds;
    for (unsigned i = 0; i < rounds; i++) {
        total = total * 31 + i;
        __asm__ volatile("" : "+r"(total));
    }
    return total;
}
OWN static int native_inner(int n) { return (int)work(1000) + n; }
OWN int native_leaf(int n) { return native_inner(n) + 1; }
OWN int native_spin(int n) {
    for (;;)
        n += native_leaf(n);
    return n;
}
OWN static int compare(const void *left, const void *right) {
    return goCompare(*(const int *)left, *(const int *)right) + (left == right);
}
OWN int native_sort(int n) {
    int numbers[16];
    for (int i = 0; i < 16; i++)
        numbers[i] = i * n % 17;
    qsort(numbers, 16, sizeof(*numbers), compare);
    return numbers[0];
}
OWN int native_calls_back(int n) { return goCallback(n) + 1; }
OWN static int native_wide(int n) {
    volatile char space[5000];
    space[n & 4095] = 1;
    return native_calls_back(n) + space[9];
}
OWN int native_calls_back_deep(int n) { return native_wide(n) + 1; }
OWN static void *run_thread(void *n) {
    for (;;)
        *(int *)n += native_calls_back(*(int *)n) + 1;
    return n;
}
OWN int native_thread(int n) {
    pthread_t thread;
    pthread_create(&thread, 0, run_thread, &n);
    pthread_join(thread, 0);
    return n;
}
