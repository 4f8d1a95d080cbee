/* Reads /dev/zero without end, by a system call made in a function of its own that has a frame. */
#include <fcntl.h>
#include <sys/syscall.h>

#define OWN __attribute__((noinline, noclone))

static char buffer[1 << 16];

OWN static long enter(long number, long a, long b, long c) {
    long result;
    void *volatile frame = __builtin_frame_address(0); /* a leaf without a frame would lose its caller */
    (void)frame;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
OWN static long read_zeros(int descriptor) { return enter(SYS_read, descriptor, (long)buffer, sizeof(buffer)) + 1; }

int main(void) {
    int descriptor = open("/dev/zero", O_RDONLY);
    for (;;)
        read_zeros(descriptor);
}
