/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * bcc's ring buffer table counts in pages. */
#define PAGE_SIZE 4096
