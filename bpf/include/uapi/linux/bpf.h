/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * bcc brings its own copy of what is needed from here. */
