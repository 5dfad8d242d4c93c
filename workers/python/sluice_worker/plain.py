"""The plain worker: verbs that block. One message at a time; the program may have more threads."""

import atexit
import os
import select
import signal
import time

from . import wire
from .base import HANDLED, BaseWorker, exit_for, outcome_of, shorter
from .connection import Connection
from .errors import WorkerError
from .message import Batch
from .soft import SoftLimit


class Worker(BaseWorker):
    """The connection to the gateway. `worker` in __init__.py is the one that most programs want."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self._soft = SoftLimit()
        self._wake = (-1, -1)
        self._ended = False
        self._before = {}

    # -- handler style

    def run(self, handler=None):
        """Hands messages to the handler until the gateway drains or SIGTERM comes. A worker that
        came by a `worker_socket` connects again until SIGTERM."""
        handler = self._to_serve(handler)
        try:
            while self._serve(handler):
                pass
        except (WorkerError, OSError) as error:
            exit_for(error)
        self.close()

    def _serve(self, handler):
        """One connection; true when there is to be another one."""
        try:
            self.connect()
            self._soft.watch(self._session)
            self._backoff.reset()
            self._hand_out(handler)
            error = None
        except (WorkerError, OSError) as trouble:
            error = trouble
        if error is None and (self._stopping or not self._place.external):
            return False
        self._disconnect(bye=error is None)
        self._pause(self._wait_before_next(error))
        return not self._stopping

    def _hand_out(self, handler):
        if handler.max is None:
            for message in self.messages():
                self._handle(handler.function, message)
        else:
            for batch in iter(lambda: self.next_batch(handler.max, handler.wait), None):
                self._handle(handler.function, batch)
        self._session.flush()
        self._ended = True

    def _handle(self, function, unit):
        soft = self._soft
        try:
            soft.unit = unit
            result = function(unit)
            soft.unit = None
            self._finished(unit, result)
        except HANDLED as error:
            soft.unit = None
            self._verdict(unit, error)

    # -- loop style

    def messages(self):
        """The messages, one by one, until the gateway drains or SIGTERM comes."""
        session = self.connect()
        waiting = session.waiting
        while not self._stopping:
            if waiting:
                message = waiting.popleft()
                if session._out:
                    session.flush_before(message)
                yield message
            elif session.draining:
                break
            else:
                session.until(lambda: waiting or session.draining or self._stopping)
        self._ended = True
        session.flush()

    def next(self):
        """The next message; None: the gateway drains, or SIGTERM came."""
        return self.next_within(None)

    def next_within(self, seconds):
        """The same, and None also when none came in that time (`drained` tells them apart)."""
        session = self.connect()
        if not self._some_within(session, seconds):
            return None
        message = session.waiting.popleft()
        session.flush_before(message)
        return message

    def next_batch(self, max=100, wait=1.0):
        """Waits for a message, then for up to `max` in all, at most `wait` seconds, or until the
        batch that the pool made is complete. None: the gateway drains, or SIGTERM came.
        In a pool without batches only a worker that `gathers` waits so long, others 10 ms for each."""
        self._waits_for_more |= wait > 0
        session = self.connect()
        if not self._some_within(session, None):
            return None
        end, taken = time.monotonic() + wait, []
        while not session.gather(taken, max) and not self.drained:
            before = len(session.waiting)
            if not session.until(lambda: len(session.waiting) > before or self.drained, shorter(end - time.monotonic(), session.silence)):
                break
        session.flush()
        return Batch(session, taken)

    def _some_within(self, session, seconds):
        """Whether a message waits, now or soon."""
        if not session.waiting and not self._stopping:
            session.until(lambda: session.waiting or session.draining or self._stopping, seconds)
        self._ended = not session.waiting and session.draining or self._stopping
        return bool(session.waiting) and not self._stopping

    # -- what stands for itself

    def publish(self, topic, payload=b"", content_type=None, headers=(), retain=False, confirm=True):
        """Publishes, and returns when the gateway has it: True; False: nobody takes that topic.
        PublishRefused when it does not want it.
        `confirm=False`: sends it and asks nothing."""
        session, answer = self.connect(), []
        if session.lost:
            raise session.failure
        session.send(session.publishing(0, answer.append, topic, payload, content_type, headers, retain, confirm))
        if not confirm:
            return True
        session.until(lambda: answer)
        return outcome_of(answer[0])

    def flush(self):
        """Writes the buffered answers now."""
        self._session.flush()

    def stop(self):
        """No further message; for signal handlers and other threads."""
        self._stopping = True
        self._look_up()

    # -- connecting and leaving

    def connect(self, worker_socket=None, token=None):
        """HELLO and WELCOME, unless it is connected; the other verbs call it."""
        if self._session is None:
            place = self._find(worker_socket, token)
            if self._wake[0] < 0:
                self._begin()
            opened, self._ended = place.open(), False
            self._session = Connection(self._counts, opened, self._wake[0], self._soft)
            self._greet(self._session, place)
        return self._session

    def _greet(self, session, place):
        session.send(self._hello(session, place), now=True)
        try:
            session.until(lambda: session.welcomed or self._stopping)
        except BaseException:
            self._disconnect(bye=False)
            raise

    def _begin(self):
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        signals = [signal.SIGTERM]
        if self._place.external and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signals.append(signal.SIGINT)
        try:
            for number in signals:
                self._before[number] = signal.signal(number, self._signalled)
        except ValueError:
            pass  # Not the main thread: the program calls stop() itself.
        atexit.register(self._finish)

    def _signalled(self, number, frame):
        """A second Ctrl-C does what the first would have done without a worker."""
        if number == signal.SIGINT and self._stopping:
            raise KeyboardInterrupt
        self.stop()

    def _look_up(self):
        if self._wake[1] >= 0:
            try:
                os.write(self._wake[1], b"x")
            except BlockingIOError:
                pass  # It is full of reasons to look up.

    def _pause(self, seconds):
        """Between two connections; SIGTERM ends it."""
        if not self._stopping:
            select.select([self._wake[0]] if self._wake[0] >= 0 else [], [], [], seconds)

    def close(self):
        """Writes what is buffered, says BYE (what has no answer goes back uncharged), closes."""
        self._ended = True
        self._finish()

    def _disconnect(self, bye):
        session, self._session = self._session, None
        if session is not None:
            if bye:
                session.send(wire.frame(wire.BYE))
            session.close()

    def _finish(self):
        self._soft.close(self._look_up)
        self._disconnect(self._ended)
        if self._wake[0] < 0:
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, before)
        self._before = {}
        for end in self._wake:
            os.close(end)
        self._wake = (-1, -1)
        atexit.unregister(self._finish)

    def __enter__(self):
        self.connect()
        return self

    def __exit__(self, kind, error, trace):
        # After an exception no BYE: the message at hand is to be charged.
        self._ended = self._ended or kind is None
        self._finish()
