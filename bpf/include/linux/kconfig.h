/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * bcc includes this before everything else; only these two options matter to it. */
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_X86_64 1
