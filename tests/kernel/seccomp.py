"""Runs a command as if the kernel lacked a command of bpf(), which fails with EINVAL: `seccomp.py NUMBER COMMAND..`.

A kernel that does not know a command of bpf() answers just so. The filter is for the command and its children.
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
BPF_LD_W_ABS, BPF_JEQ, BPF_RET = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
SYS_BPF = 321
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
EINVAL = 22


def forbid(command: int) -> None:
    """Let a command of bpf() fail from now on."""
    program = b"".join(
        struct.pack("<HBBI", *instruction)
        for instruction in (
            (BPF_LD_W_ABS, 0, 0, NUMBER),
            (BPF_JEQ, 0, 3, SYS_BPF),
            (BPF_LD_W_ABS, 0, 0, FIRST_ARGUMENT),
            (BPF_JEQ, 0, 1, command),
            (BPF_RET, 0, 0, ERRNO | EINVAL),
            (BPF_RET, 0, 0, ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no filter of system calls could be set")


if __name__ == "__main__":
    forbid(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
