"""The same verbs for asyncio.

    from sluice_worker.aio import worker

    @worker.handler
    async def handle(message):
        await store(message.json())

    worker.run()

As many messages are worked on at once as the pool's `concurrency` says, each in a task of its own.
What waits is awaited (next, next_batch, publish); answers wait for nothing and are plain calls.
They are written together at the end of the loop's turn.
"""

import asyncio
import collections
import signal
import types

from . import wire
from .base import ENDS, HANDLED, BaseWorker, exit_for, outcome_of, shorter
from .errors import GatewayGone, SoftTimeLimit, WorkerError
from .message import Batch
from .session import Session


_FLUSH_AGE = 0.001


class Connection(Session, asyncio.Protocol):
    def __init__(self, counts, on_soft_limit):
        super().__init__(counts)
        self.failure = None
        self._loop = asyncio.get_running_loop()
        self._transport = None
        self._out, self._soon, self._later = [], None, None
        self._waiters = collections.deque()
        self._on_soft_limit = on_soft_limit
        self._closed = self._loop.create_future()

    # -- writing

    def send(self, data, now=False, answers=0):
        if self.lost:
            self.counts.stale_answers += answers
            return
        self.answered += answers
        self._out.append(data)
        if now or not self.waiting:
            self._soon = self._soon or self._loop.call_soon(self.flush)
        elif self._later is None:
            self._later = self._loop.call_later(_FLUSH_AGE, self.flush)

    def flush(self):
        """Together, because a message is there that can be worked on first; but soon."""
        for handle in filter(None, (self._soon, self._later)):
            handle.cancel()
        self._soon = self._later = None
        if self._out:
            data, self._out = self._out, []
            self._transport.write(b"".join(data))

    # -- reading

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        if self.failure is not None:
            return
        soft = len(self.soft)
        try:
            self.feed(data)
        except WorkerError as error:
            self._fail(error)
            self._transport.abort()
        if len(self.soft) != soft:
            self._on_soft_limit()
        self.look_up()

    def connection_lost(self, error):
        self._fail(GatewayGone("the gateway has gone"))
        if not self._closed.done():
            self._closed.set_result(None)

    def _fail(self, error):
        if self.failure is None:
            self.failure = error
            self.lose(error)
            self.look_up()

    # -- waiting

    def look_up(self):
        """Whoever waits looks at the state again."""
        waiters, self._waiters = self._waiters, collections.deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, ready):
        while not ready():
            if self.failure is not None:
                raise self.failure
            if self._out and not self.waiting:
                self.flush()
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    async def close(self, bye):
        if bye:
            self.send(wire.frame(wire.BYE))
        self.flush()
        self._transport.close()
        await self._closed


class Worker(BaseWorker):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self._tasks = {}                # what is worked on: message or batch -> _Work
        self._function = None           # the handler, while messages are taken one by one
        self._loop = self._stopped = None
        self._signals = ()

    # -- handler style

    def run(self, handler=None):
        """Hands messages to the handler until the gateway drains or SIGTERM comes. A worker that
        came by a `worker_socket` connects again until SIGTERM."""
        try:
            asyncio.run(self.serve(handler))
        except ENDS as error:
            exit_for(error)

    async def serve(self, handler=None):
        """The same in a loop that runs already; errors are raised."""
        handler = self._to_serve(handler)
        try:
            while await self._serve(handler):
                pass
        finally:
            await self.close()

    async def _serve(self, handler):
        """One connection; true when there is to be another one."""
        try:
            await self.connect()
            self._backoff.reset()
            await (self._each(handler) if handler.max is None else self._batches(handler))
            error = None
        except ENDS as trouble:
            error = trouble
        if error is None and (self._stopping or not self._place.external):
            return False
        await self._disconnect(bye=error is None)
        await self._pause(self._wait_before_next(error))
        return not self._stopping

    async def _each(self, handler):
        session = self._session
        self._function = handler.function

        def over():
            return self._stopping or session.draining and not session.waiting

        while not over():
            self._start_more(session)
            await session.until(lambda: over() or session.waiting and self._has_room(session))
        await session.until(lambda: not self._tasks)

    async def _batches(self, handler):
        batch = await self.next_batch(handler.max, handler.wait)
        while batch is not None:
            self._start(handler.function, batch)
            await self._session.until(lambda: not self._tasks)
            batch = await self.next_batch(handler.max, handler.wait)

    def _has_room(self, session):
        return len(self._tasks) < session.concurrency

    def _start_more(self, session):
        while session.waiting and self._has_room(session) and not self._stopping:
            self._start(self._function, _taken(session))

    def _start(self, function, unit):
        work = _Work(unit)
        self._tasks[unit] = work
        work.task = self._loop.create_task(self._handle(function, work))

    async def _handle(self, function, work):
        unit = work.unit
        try:
            made = function(unit)
            if hasattr(made, "send") and self.soft_time_limit > 0:
                made = await work.drive(made)
            elif hasattr(made, "__await__"):
                made = await made
            self._finished(unit, made)
        except asyncio.CancelledError as error:
            if self._session is None:
                raise  # The whole program is being cancelled.
            self._verdict(unit, error)
        except HANDLED as error:
            self._verdict(unit, error)
        finally:
            del self._tasks[unit]
            self._next_please()

    def _next_please(self):
        """A task has ended: the next begins; when there is none, the one who waits looks up."""
        session = self._session
        if session is not None:
            if self._function is not None and session.waiting:
                self._start_more(session)
            if not self._tasks or self._stopping:
                session.look_up()

    def _soft_limits(self):
        """The gateway has said SOFT_LIMIT: the tasks that it is about hear of it."""
        for work in list(self._tasks.values()):
            if work.unit._late() and not work.unit.answered:
                work.interrupt()

    # -- loop style

    async def messages(self):
        """The messages, one by one, until the gateway drains or SIGTERM comes."""
        await self.connect()
        while True:
            message = await self.next()
            if message is None:
                return
            yield message

    async def next(self):
        """The next message; None: the gateway drains, or SIGTERM came."""
        session = await self.connect()
        if not session.waiting and not self.drained:
            await session.until(lambda: session.waiting or self.drained)
        return _taken(session) if session.waiting and not self._stopping else None

    async def next_within(self, seconds):
        """The same, and None also when none came in that time (`drained` tells them apart)."""
        session = await self.connect()
        await _within(session.until(lambda: session.waiting or self.drained), seconds)
        return _taken(session) if session.waiting and not self._stopping else None

    async def next_batch(self, max=100, wait=1.0):
        """Waits for a message, then for up to `max` in all, at most `wait` seconds, or until the
        batch that the pool made is complete. None: the gateway drains, or SIGTERM came.
        In a pool without batches only a worker that `gathers` waits so long, others 10 ms for each."""
        self._waits_for_more |= wait > 0
        session = await self.connect()
        await session.until(lambda: session.waiting or self.drained)
        if not session.waiting or self._stopping:
            return None
        taken, end = [], self._loop.time() + wait
        while not session.gather(taken, max) and not self.drained:
            before = len(session.waiting)
            changed = session.until(lambda: len(session.waiting) > before or self.drained)
            if not await _within(changed, shorter(end - self._loop.time(), session.silence)):
                break
        session.flush()
        return Batch(session, taken)

    # -- what stands for itself

    async def publish(self, topic, payload=b"", content_type=None, headers=(), retain=False, confirm=True):
        """Publishes, and returns when the gateway has it: True; False: nobody takes that topic.
        PublishRefused when it does not want it. `confirm=False`: sends it and asks nothing."""
        session = await self.connect()
        if session.lost:
            raise session.failure
        answer = self._loop.create_future()
        told = lambda outcome: answer.done() or answer.set_result(outcome)  # noqa: E731
        session.send(session.publishing(0, told, topic, payload, content_type, headers, retain, confirm))
        return outcome_of(await answer) if confirm else True

    async def flush(self):
        """Writes the buffered answers now."""
        if self._session is not None:
            self._session.flush()

    def stop(self):
        """No further message. From other threads: loop.call_soon_threadsafe(worker.stop)."""
        self._stopping = True
        if self._session is not None:
            self._session.look_up()
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    # -- connecting and leaving

    async def connect(self, worker_socket=None, token=None):
        """HELLO and WELCOME, unless it is connected; the other verbs call it."""
        if self._session is None:
            place = self._find(worker_socket, token)
            self._begin()
            opened = place.open()
            opened.setblocking(False)
            _, self._session = await self._loop.create_unix_connection(
                lambda: Connection(self._counts, self._soft_limits), sock=opened)
            await self._greet(self._session, place)
        return self._session

    async def _greet(self, session, place):
        session.send(self._hello(session, place))
        session.flush()
        try:
            await session.until(lambda: session.welcomed or self._stopping)
        except BaseException:
            await self._disconnect(bye=False)
            raise

    def _begin(self):
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop, self._stopped = loop, loop.create_future()
        signals = (signal.SIGTERM, signal.SIGINT) if self._place.external else (signal.SIGTERM,)
        try:
            for number in signals:
                loop.add_signal_handler(number, self.stop)
            self._signals = signals
        except (ValueError, RuntimeError):
            self._signals = ()  # Not the main thread: the program calls stop() itself.

    async def _pause(self, seconds):
        """Between two connections; SIGTERM ends it."""
        await asyncio.wait([self._stopped], timeout=seconds)

    async def close(self):
        """Writes what is buffered, says BYE (what has no answer goes back uncharged), closes."""
        await self._disconnect(bye=True)
        for number in self._signals:
            self._loop.remove_signal_handler(number)
        self._signals, self._loop = (), None

    async def _disconnect(self, bye):
        session, self._session = self._session, None
        if session is not None:
            await session.close(bye and not session.lost)

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, kind, error, trace):
        # After an exception no BYE: the message at hand is to be charged.
        if kind is not None:
            await self._disconnect(bye=False)
        await self.close()


class _Work:
    """One handler's run. SoftTimeLimit is thrown in where it waits: the task is cancelled, and the
    CancelledError is turned into it on its way in, so the handler sees it as in the plain style."""

    __slots__ = ("unit", "task", "_told", "_due", "_begun")

    def __init__(self, unit):
        self.unit, self.task = unit, None
        self._told = self._due = self._begun = False

    def interrupt(self):
        """Once; any other cancellation (a timeout's) is what it is."""
        if not self._told:
            self._told = self._due = True
            if self._begun:
                self.task.cancel()

    @types.coroutine
    def drive(self, coroutine):
        self._begun = True
        step, value = (coroutine.throw, SoftTimeLimit()) if self._due else (coroutine.send, None)
        self._due = False
        while True:
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = coroutine.send, (yield awaited)
            except BaseException as error:  # noqa: B902 (all of them are the coroutine's)
                step, value = coroutine.throw, self._translated(error)

    def _translated(self, error):
        if not self._due or not isinstance(error, asyncio.CancelledError):
            return error
        self._due = False
        if hasattr(self.task, "uncancel"):
            self.task.uncancel()
        return SoftTimeLimit()


def _taken(session):
    """The next message; what may kill this worker is started alone, after all older answers."""
    message = session.waiting.popleft()
    if message.attempt > 1 or message.redelivered:
        session.flush()
    return message


async def _within(waiting, seconds):
    """False: the time is over."""
    try:
        await asyncio.wait_for(waiting, seconds)
        return True
    except asyncio.TimeoutError:
        return False


worker = Worker()
