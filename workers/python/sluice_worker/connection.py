"""The blocking connection. Any thread may answer and publish; one at a time reads for all."""

import os
import select
import threading
import time

from .errors import GatewayGone, WorkerError
from .session import Session
from .wire import DELIVER_REDELIVERED

_READ_BYTES = 256 << 10
_FLUSH_BYTES = 64 << 10
_FLUSH_AGE = 0.001
_FEW = 31       # a mask: with every 32nd message at hand


class Connection(Session):
    """`thread` owns it: its answers are gathered, those of other threads go out at once.
    `wake` is a descriptor that becomes readable when somebody wants the waiting ones to look up.

    `soft` (soft.py) may raise SoftTimeLimit in the owner by a signal. It must not do so while
    bytes are on their way, so every step in here is `busy`; what was held up is raised at its end."""

    def __init__(self, counts, opened, wake, soft):
        super().__init__(counts)
        opened.setblocking(False)
        self._socket = opened
        self._wake = wake
        self._poll = select.poll()              # of the one who reads
        for end in (opened, wake):
            self._poll.register(end, select.POLLIN)
        self._thread = threading.get_ident()
        self._out, self._oldest = bytearray(), 0.0
        self._lock = threading.RLock()          # around what is written
        self._turn = threading.Condition()      # around who reads
        self._reading = self._broken = False
        self._soft = soft
        self.failure = None

    # -- writing

    def send(self, data, now=False, answers=0):
        soft = self._soft
        if threading.get_ident() != self._thread:
            self._put(data, True, answers)
            return
        soft.busy = True
        try:
            self._put(data, now, answers)
        finally:
            soft.busy = False
        if soft.held_up:
            soft.check()

    def _put(self, data, now, answers):
        with self._lock:
            if self.lost or self._broken:
                self.counts.stale_answers += answers
                return
            self.answered += answers
            out = self._out
            if not out:
                self._oldest = time.monotonic()
            out += data
            if now or len(out) >= _FLUSH_BYTES:
                self._write()

    def _write(self):
        """What cannot be written is found out by reading, where the gateway's last words are."""
        with self._lock:
            while self._out:
                try:
                    sent = self._socket.send(self._out)
                except BlockingIOError:
                    select.select([], [self._socket], [])
                    continue
                except OSError:
                    self._broken = True
                    self._out.clear()
                    return
                del self._out[:sent]

    def flush(self):
        """Writes the buffered answers now; says what has ended the connection."""
        self._write()
        if self._broken and not self.draining:
            self.until(lambda: False)

    def flush_before(self, message):
        """Before a message is started: the old answers, and all when it may kill this worker. Also
        when few messages are left, so that the gateway sends more while these are worked on."""
        if self._out and (len(self.waiting) & _FEW == 0 or message._flags & DELIVER_REDELIVERED or message.attempt > 1
                          or time.monotonic() - self._oldest >= _FLUSH_AGE):
            self._write()

    # -- reading

    def until(self, ready, seconds=None):
        """Reads, or waits for the thread that does, until ready() says so; False: time is over."""
        deadline = None if seconds is None else time.monotonic() + seconds
        mine = threading.get_ident() == self._thread
        done = None
        while done is None:
            if mine:
                self._soft.check()
                self._soft.busy = True
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                done = self._wait_once(ready, left)
            finally:
                if mine:
                    self._soft.busy = False
        return done

    def _wait_once(self, ready, left):
        """True, False: as until(); None: something has happened, look again."""
        if self._out:
            self._write()
        with self._turn:
            if ready():
                return True
            if self.failure is not None:
                raise self.failure
            if self._reading:
                self._turn.wait(left)
                return False if left == 0 else None
            self._reading = True
        self._read_turn(left)
        return None if left != 0 or ready() else False

    def look(self, seconds=0):
        """Takes what is there, or comes within that time. False: another thread reads anyway."""
        with self._turn:
            if self._reading or self.failure is not None:
                return False
            self._reading = True
        self._read_turn(seconds)
        return True

    def _read_turn(self, seconds):
        try:
            self._read(seconds)
        except WorkerError as error:
            self.fail(error)
        finally:
            with self._turn:
                self._reading = False
                self._turn.notify_all()

    def _read(self, seconds):
        if not self._take() and seconds != 0 and self._something_comes(seconds):
            self._take()

    def _something_comes(self, seconds):
        events = self._poll.poll(None if seconds is None else seconds * 1000)
        woken = any(fd == self._wake for fd, _ in events)
        if woken:
            os.read(self._wake, 64)
        return len(events) > woken

    def _take(self):
        """False: nothing is there."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            raise GatewayGone("the gateway has gone")
        self.feed(data)
        return True

    def soft_limit_passed(self, tag):
        if tag not in self.soft:
            mine = threading.get_ident() == self._thread
            self._soft.busy = mine or self._soft.busy
            try:
                self.look()
            finally:
                self._soft.busy = self._soft.busy and not mine
        return tag in self.soft

    # -- the end

    def fail(self, error):
        if self.failure is None:
            self.failure = error
            self.lose(error)

    def close(self):
        """Writes what is buffered, whatever the gateway thinks of it."""
        self._write()
        self.fail(GatewayGone("the connection is closed"))
        self._socket.close()
