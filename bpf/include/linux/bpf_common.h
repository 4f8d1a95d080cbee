/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * Fields of a BPF instruction's opcode (Documentation/bpf/standardization/instruction-set.rst): bits 0-2 the class,
 * then for loads bits 3-4 the size and 5-7 the mode, for arithmetic bits 4-7 the operation and bit 3 the source. */
#ifndef GOROSCOPE_LINUX_BPF_COMMON_H
#define GOROSCOPE_LINUX_BPF_COMMON_H

enum { BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC };
#define BPF_CLASS(code) ((code) & 7)

enum { BPF_W = 0, BPF_H = 1 << 3, BPF_B = 2 << 3 };
#define BPF_SIZE(code) ((code) & (3 << 3))

enum { BPF_IMM = 0, BPF_ABS = 1 << 5, BPF_IND = 2 << 5, BPF_MEM = 3 << 5, BPF_LEN = 4 << 5, BPF_MSH = 5 << 5 };
#define BPF_MODE(code) ((code) & (7 << 5))

enum {
    BPF_ADD = 0,
    BPF_SUB = 1 << 4,
    BPF_MUL = 2 << 4,
    BPF_DIV = 3 << 4,
    BPF_OR = 4 << 4,
    BPF_AND = 5 << 4,
    BPF_LSH = 6 << 4,
    BPF_RSH = 7 << 4,
    BPF_NEG = 8 << 4,
    BPF_MOD = 9 << 4,
    BPF_XOR = 10 << 4
};
enum { BPF_JA = 0, BPF_JEQ = 1 << 4, BPF_JGT = 2 << 4, BPF_JGE = 3 << 4, BPF_JSET = 4 << 4 };
#define BPF_OP(code) ((code) & (15 << 4))

enum { BPF_K = 0, BPF_X = 1 << 3 };
#define BPF_SRC(code) ((code) & (1 << 3))
#define BPF_MAXINSNS 4096
#endif
