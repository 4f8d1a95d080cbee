/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * The integer types that bcc's helpers and uapi headers expect of the kernel's own linux/types.h. */
#ifndef GOROSCOPE_LINUX_TYPES_H
#define GOROSCOPE_LINUX_TYPES_H

#define GOROSCOPE_INTEGER(bits, signed_type, unsigned_type)                                                            \
    typedef signed_type __s##bits;                                                                                     \
    typedef unsigned_type __u##bits;                                                                                   \
    typedef signed_type s##bits;                                                                                       \
    typedef unsigned_type u##bits;
GOROSCOPE_INTEGER(8, signed char, unsigned char)
GOROSCOPE_INTEGER(16, short, unsigned short)
GOROSCOPE_INTEGER(32, int, unsigned int)
GOROSCOPE_INTEGER(64, long long, unsigned long long)

typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __le16;
typedef __u32 __le32;
typedef __u64 __le64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef __u64 __aligned_u64 __attribute__((aligned(8)));
typedef unsigned long size_t;
typedef long ssize_t;
typedef unsigned long uintptr_t;
typedef int pid_t;
typedef _Bool bool;
enum { false = 0, true = 1 };

#define NULL ((void *)0)
#ifndef __bitwise
#define __bitwise
#endif
#endif
