/* Burns CPU in leaf, called by named functions in a known order, until it is killed; in the process's own child
 * where the first argument is "fork". */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))

OWN static unsigned leaf(unsigned n) {
    volatile unsigned total = 0;
    for (unsigned i = 0; i < n; i++)
        total = total * 31 + i;
    return total;
}
OWN static unsigned third(unsigned n) { return leaf(n) + 1; }
OWN static unsigned second(unsigned n) { return third(n) + 1; }
OWN static unsigned first(unsigned n) { return second(n) + 1; }

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "fork") && fork())
        for (;;)
            pause();
    if (argc > 2 && !strcmp(argv[1], "rounds")) {
        for (int rounds = atoi(argv[2]); rounds > 0; rounds--)
            first(1000000);
        return 7;
    }
    for (;;)
        first(100000);
}
