/* What the programs without frame pointers share: functions that the compiler must leave as they are written. */
#define OWN __attribute__((noipa)) /* a frame of its own: not inlined, not cloned, nothing known about it */

/* Stays in one frame for ever: every sample has the same callers. */
OWN static void spin(void) {
    for (volatile unsigned long turns = 0;; turns++)
        ;
}

/* Some microseconds in a leaf that has no frame of its own. */
OWN static unsigned work(unsigned rounds) {
    unsigned total = rounds;
    for (unsigned i = 0; i < rounds; i++) {
        total = total * 31 + i;
        __asm__ volatile("" : "+r"(total));
    }
    return total;
}
