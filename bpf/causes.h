/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
 * The one list of what can go wrong with a sample. C includes it, bpf/causes.py parses it.
 * Ids are never reused. One line an entry: id, name, sentence.
 *
 * LOSS: counted in the per-CPU array `losses`, in samples unless the sentence says otherwise.
 * STOP: why the walk of a user stack ended; kept in the stack itself and shown as a marker frame at its root.
 */
#define LOSSES(LOSS)                                                                                                   \
    LOSS(0, counts_full, "the count map was full: the sample is missing")                                              \
    LOSS(1, counts_busy, "the count map was locked by an interrupted update: the sample is missing")                   \
    LOSS(2, stack_ring_full, "the stack ring buffer was full: the sample is kept without its stack")                   \
    LOSS(3, event_ring_full, "the event ring buffer was full: a process is known later (counted in events)")           \
    LOSS(4, processes_full, "the process table was full: the sample is kept without its user stack")                   \
    LOSS(5, tail_call_failed, "a program of the chain was not there: the sample is missing")                           \
    LOSS(6, missed_ticks, "the timer did not fire in time (interrupts off, or the virtual machine not running)")       \
    LOSS(7, waiting_full, "the table of waiting threads was full: a wait is missing (counted in waits)")               \
    LOSS(8, waits_full, "the map of waits was full: a wait is missing (counted in waits)")                             \
    LOSS(9, clock_back, "a wait would have ended before it began: it is missing (counted in waits)")                   \
    LOSS(10, switch_missed, "the kernel did not tell when a wait ended: it is missing (counted in waits)")

#define STOPS(STOP)                                                                                                    \
    STOP(0, complete, "the outermost frame was reached")                                                               \
    STOP(1, depth, "deeper than 127 frames")                                                                           \
    STOP(2, no_mapping, "a return address lies in no executable mapping")                                              \
    STOP(3, no_rows, "the unwind rows of this code were not there")                                                    \
    STOP(4, unsupported, "the code saves its caller in a way that the walker does not know")                           \
    STOP(5, bad_read, "the stack memory could not be read")                                                            \
    STOP(6, bad_frame, "the frame pointer does not lead to a caller")                                                  \
    STOP(7, new_process, "the process had just appeared: its mappings were not known yet")                             \
    STOP(8, no_goroutine, "the goroutine that ran on this thread could not be read")                                   \
    STOP(9, no_registers, "the user registers could not be read")                                                      \
    STOP(10, no_frame_info, "code without call frame information: callers may be missing")                             \
    STOP(11, no_kernel_reads, "walked by frame pointers: this kernel does not let its memory be read")
