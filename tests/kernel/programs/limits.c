/* Stacks with something special about them: `limits NAME`. Built without frame pointers. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "own.h"

static volatile unsigned sink;

/* Without unwind information, and with rbp as a register like any other: as it was called, 0, or an address in the
 * stack that looks like a frame. Calls what rdi points to. */
__asm__(".text\n.p2align 4\n.type hides,@function\nhides:\n"
        "push %rbp\nsub $32,%rsp\nmov %rsi,%rbp\ncall *%rdi\nadd $32,%rsp\npop %rbp\nret\n.size hides,.-hides\n");
void hides(void (*function)(void), unsigned long rbp);
OWN static void above(void) {
    spin();
    sink++;
}
OWN static void hidden_odd(void) {
    hides(above, 12345);
    sink++;
}
OWN static void hidden_zero(void) {
    hides(above, 0);
    sink++;
}
OWN static void hidden_frame(void) { /* a word that is no address, then 0, where rbp points to */
    volatile unsigned long words[4] = {1, 0, 0, 0};
    hides(above, (unsigned long)words);
    sink += (unsigned)words[0];
}
OWN static void hidden_leaf(void) { /* the leaf itself has no unwind information, and no frame */
    extern void hidden_spin(unsigned long rbp);
    hidden_spin(0);
    sink++;
}
__asm__(".text\n.p2align 4\n.type hidden_spin,@function\nhidden_spin:\n"
        "push %rbp\nmov %rdi,%rbp\n1: jmp 1b\npop %rbp\nret\n.size hidden_spin,.-hidden_spin\n");

OWN static unsigned deeper(unsigned depth) {
    if (depth)
        return deeper(depth - 1) ^ sink; /* volatile: or the compiler makes it a loop */
    spin();
    return 0;
}
OWN static void deep(void) { sink += deeper(300) + 1; }
OWN static void just(void) { sink += deeper(117) + 1; } /* 127 frames, with those below main */

/* Generated code with a frame pointer: push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret */
OWN static void generated(void) {
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    void *memory = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, code, sizeof(code));
    ((void (*)(void (*)(void)))memory)(above);
    sink++;
}

/* Calls through many libraries: each of them calls the next (relay.c). */
struct relay {
    unsigned (*call)(struct relay *);
};
OWN static unsigned end_of_relay(struct relay *unused) {
    for (;;)
        sink += work(1000) + (unused != 0);
    return sink;
}
static struct relay relays[128];
OWN static void run_relay(const char *folder, unsigned libraries) {
    char path[4096];
    for (unsigned i = 0; i < libraries; i++) {
        snprintf(path, sizeof(path), "%s/relay%u.so", folder, i);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        relays[i].call = library ? (unsigned (*)(struct relay *))dlsym(library, "relay") : 0;
        if (!relays[i].call)
            exit(3);
    }
    relays[libraries].call = end_of_relay;
    sink += relays[0].call(relays) + 1;
}
OWN static void relay(char **arguments) { run_relay(arguments[0], (unsigned)atoi(arguments[1])); }
OWN static void late(char **arguments) { /* loads them only when something comes in */
    char line;
    sink += (unsigned)read(0, &line, 1);
    relay(arguments);
    sink++;
}

static ucontext_t main_context, other_context;
OWN static void coroutine(void) { /* not on the thread's stack; what makecontext laid below it may have no rows */
    spin();
    sink++;
}
OWN static void contexts(void) {
    static char stack[65536];
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = stack;
    other_context.uc_stack.ss_size = sizeof(stack);
    other_context.uc_link = &main_context;
    makecontext(&other_context, coroutine, 0);
    swapcontext(&main_context, &other_context);
    sink++;
}

OWN int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } places[] = {{"hidden_odd", hidden_odd},   {"hidden_zero", hidden_zero}, {"hidden_frame", hidden_frame},
                  {"hidden_leaf", hidden_leaf}, {"deep", deep},               {"just", just},
                  {"generated", generated},     {"contexts", contexts}};
    for (unsigned i = 0; argc > 1 && i < sizeof(places) / sizeof(*places); i++)
        if (!strcmp(argv[1], places[i].name))
            places[i].run();
    if (argc > 3 && !strcmp(argv[1], "relay"))
        relay(argv + 2);
    if (argc > 3 && !strcmp(argv[1], "late"))
        late(argv + 2);
    return 2;
}
