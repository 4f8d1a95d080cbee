/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * The one macro of it that bcc's histograms name. */
#define roundup_pow_of_two(n) (1UL << (64 - __builtin_clzl((n) - 1)))
