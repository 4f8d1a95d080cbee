"""The two threads of a destination: one sends, one keeps the disk.

So neither a slow peer nor a slow disk stops those that offer. All decisions are `destination.py`'s; here is only
waiting.
"""

import threading
import time
from collections.abc import Callable

from exporters.delivery.destination import Destination, Stats
from exporters.delivery.outcome import Outcome, no_answer

Sender = Callable[[bytes], Outcome]
"""Sends one payload and tells what became of it. It bounds its own time; what it raises counts as no answer."""

_KEEP_EVERY = 1.0  # seconds; a failing destination's memory is on disk after this long at the latest
_LONGEST_SLEEP = 3600.0


class Worker:
    """Drives one destination until stop(). The threads are daemons: a send that hangs does not keep the process."""

    def __init__(self, destination: Destination, sender: Sender, clock: Callable[[], float] = time.monotonic) -> None:
        self.destination = destination
        self._sender = sender
        self._clock = clock
        self._wake_sender = threading.Event()
        self._wake_keeper = threading.Event()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        name = destination.name
        self._send_thread = threading.Thread(target=self._send_loop, name=f"send-{name}", daemon=True)
        self._keep_thread = threading.Thread(target=self._keep_loop, name=f"keep-{name}", daemon=True)

    def start(self) -> None:
        """Start both threads, once."""
        self._send_thread.start()
        self._keep_thread.start()

    def offer(self, payload: bytes, when: int | None = None) -> bool:
        """Take a payload (`when` in UNIX ns, now if None); False where it is dropped and counted. Never blocks."""
        taken = self.destination.offer(payload, when)
        self._wake_sender.set()
        if self.destination.crowded:
            self._wake_keeper.set()
        return taken

    def stats(self) -> Stats:
        """The destination's counters now; may wait for a disk operation."""
        return self.destination.stats(self._clock())

    def begin_stop(self, deadline: float) -> None:
        """Send what can be sent until `deadline` (of the clock), then end; returns at once."""
        self._deadline = deadline
        self._stopping.set()
        self._wake_sender.set()
        self._wake_keeper.set()

    def finish_stop(self) -> None:
        """Wait for the threads until the deadline, then spool the rest, that too which is still being sent."""
        for thread in (self._send_thread, self._keep_thread):
            if thread.ident is not None:
                thread.join(max(self._deadline - self._clock(), 0.0))
        self.destination.close()

    def stop(self, deadline: float) -> None:
        """Both of the above."""
        self.begin_stop(deadline)
        self.finish_stop()

    def _send_loop(self) -> None:
        while True:
            self._wake_sender.clear()
            now = self._clock()
            stopping = self._stopping.is_set()
            if stopping and (now >= self._deadline or not self.destination.healthy):
                return
            payload = self.destination.due(now)
            if isinstance(payload, float):
                if stopping:
                    return  # nothing is left, or a pause that is not worth waiting out
                self._wake_sender.wait(min(max(payload - now, 0.0), _LONGEST_SLEEP))
                continue
            try:
                outcome = self._sender(payload)
            except Exception as error:  # a sender's bug is this destination's trouble, not the agent's
                outcome = no_answer(f"the sender failed ({type(error).__name__})")
            self.destination.done(outcome, self._clock())

    def _keep_loop(self) -> None:
        while not self._stopping.is_set():
            self._wake_keeper.wait(_KEEP_EVERY)
            self._wake_keeper.clear()
            if not self._stopping.is_set():
                self.destination.keep()
