//go:build cgo

#include "native.h"
#include "_cgo_export.h"

static __attribute__((noinline)) int native_inner(int rounds) {
    volatile int total = 0;
    for (int i = 0; i < rounds; i++)
        total = total * 31 + i;
    return total;
}

__attribute__((noinline)) int native_work(int rounds) { return native_inner(rounds) + 1; }

__attribute__((noinline)) int native_callback(int rounds) { return calledFromC(rounds) + 1; }
