"""SoftTimeLimit, raised in a plain handler that is in the middle of something.

The gateway's clock is the only clock: it says SOFT_LIMIT on the socket, which nobody reads while
the handler works. So a thread looks now and then whether the handler still has the message that
it had a moment ago, and only then reads in its place. When the frame is there it sends the main
thread a signal: that ends a system call that waits (sleep, recv, a lock), which an asynchronous
exception (PyThreadState_SetAsyncExc) would not, and Python runs the signal's handler in the main thread
between two of its steps, where raising is sound. The signal is SIGURG, because its default is to
be ignored: one that comes late, or in a child of the handler, hurts nobody. It is sent again until the
exception has been raised, since a signal may fall between the last look and the call that waits.

A message that takes no longer than a look costs nothing of this. A C extension that neither
returns nor gives up its lock is not interrupted, as by no signal; then the hard limit comes.
"""

import signal
import threading

from .errors import SoftTimeLimit

_GLANCES_PER_LIMIT = 4      # what is seen by two of them is looked for, long before its limit
_LOOK = 1.0                 # at the socket, unless something comes
_AGAIN = 0.05               # between two signals, and when another thread reads


class SoftLimit:
    def __init__(self):
        self.unit = None        # the message or batch that the handler has
        self.busy = False       # the main thread is inside the SDK
        self.held_up = False    # it was, when the signal came
        self._connection = None
        self._main = None
        self._before = None
        self._thread = None
        self._over = threading.Event()

    def watch(self, connection):
        """From now on, when the pool has a soft limit and this is the main thread."""
        self._connection = connection
        if self._main is None and connection.soft_time_limit > 0 \
                and threading.current_thread() is threading.main_thread():
            self._main = threading.get_ident()
            self._before = signal.signal(signal.SIGURG, self._signalled)
            self._over.clear()
            self._thread = threading.Thread(target=self._look_on, name="sluice soft limit", daemon=True)
            self._thread.start()

    def close(self, wake):
        """Ends the thread; `wake` ends its wait at the socket."""
        self.unit = None
        if self._thread is None:
            return
        self._over.set()
        wake()
        self._thread.join()
        self._thread = None
        if threading.get_ident() == self._main:
            signal.signal(signal.SIGURG, self._before or signal.SIG_DFL)
        self._main = None

    def check(self):
        """In the main thread, where nothing is half done: raises what is due, once."""
        self.held_up = False
        unit = self.unit
        if unit is not None and unit._late() and not unit.answered:
            self.unit = None
            raise SoftTimeLimit

    def _signalled(self, number, frame):
        if self.busy:
            self.held_up = True
        else:
            self.check()

    # -- the thread

    def _look_on(self):
        last = None
        while not self._over.wait((self._connection.soft_time_limit or 60) / _GLANCES_PER_LIMIT):
            while last is not None and last is self.unit and not self._over.is_set():
                self._look_for(last)
            last = self.unit

    def _look_for(self, unit):
        if unit._late() or not self._connection.look(_LOOK):
            self._over.wait(_AGAIN)
        if unit._late() and unit is self.unit:
            signal.pthread_kill(self._main, signal.SIGURG)
