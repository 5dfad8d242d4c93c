"""What the plain and the asyncio worker have in common."""

import sys
import traceback

from . import wire
from .errors import Dead, GatewayGone, NoGateway, Refused, Release, Retry, SoftTimeLimit, WorkerError
from .session import Counts
from .where import Backoff, Place

# After these an external worker comes back; others would only happen again.
_PASSING = (GatewayGone, ConnectionError, FileNotFoundError)


def again(error):
    """Whether to try once more; None: the gateway said DRAIN."""
    if isinstance(error, Refused):
        return error.code == Refused.STORE
    return error is None or isinstance(error, _PASSING)


class Handler:
    """A handler of messages, or of batches."""

    def __init__(self, function, max=None, wait=None):
        self.function, self.max, self.wait = function, max, wait


class BaseWorker:
    def __init__(self, name="python", prefetch=0, soft_limit=None, fd=None, worker_socket=None, token=None,
                 gathers=None):
        """`prefetch`: at most so many messages at hand (0: as the pool has it). `soft_limit`: ask to be
        told (None: in handler style). `gathers`: tell the gateway that messages are waited for before
        any is answered (None: with a batch_handler that waits, or when such a next_batch connects). Where the gateway is: `fd`, or `worker_socket` and `token`;
        else the environment: SLUICE_FD, or SLUICE_SOCKET and SLUICE_TOKEN."""
        self.name, self.soft_limit = name, soft_limit
        self.gathers, self._waits_for_more = gathers, False
        self._wanted = prefetch
        self._where = fd, worker_socket, token
        self._place = None
        self._counts = Counts()
        self._session = None
        self._handler = None
        self._serves = False
        self._backoff = Backoff()
        self._stopping = False

    def handler(self, function):
        """Decorator: this function takes the messages, one by one."""
        self._handler = Handler(function)
        return function

    def batch_handler(self, function=None, *, max=100, wait=1.0):
        """Decorator: this function takes Batches, of at most `max` messages, for which it waits at
        most `wait` seconds from the first on."""
        def named(function):
            self._handler = Handler(function, max, wait)
            return function
        return named if function is None else named(function)

    # -- what is known about the connection

    def _of_session(name, otherwise):  # noqa: N805 (makes the properties below)
        return property(lambda self: getattr(self._session, name, otherwise))

    queue = _of_session("queue", "")
    pool = _of_session("pool", "")
    node = _of_session("node", "")
    concurrency = _of_session("concurrency", 0)
    max_message = _of_session("max_message", 0)
    max_result = _of_session("max_result", 0)
    time_limit = _of_session("time_limit", 0.0)
    soft_time_limit = _of_session("soft_time_limit", 0.0)
    batches = _of_session("batches", False)
    external = _of_session("external", False)

    del _of_session

    @property
    def prefetch(self):
        """What is asked for, and what it is once connected."""
        return self._session.prefetch if self._session is not None else self._wanted

    @prefetch.setter
    def prefetch(self, count):
        self._wanted = count

    @property
    def drained(self):
        """Nothing more will come."""
        return self._stopping or self._session is not None and self._session.draining

    @property
    def stale_answers(self):
        """Answers that came too late, or for which the connection was lost, and changed nothing."""
        return self._counts.stale_answers

    @property
    def refused_publishes(self):
        """Publishes that were tied to an ack and not taken; the ack was."""
        return self._counts.refused_publishes

    @property
    def unheard_publishes(self):
        """Publishes that were tied to an ack and that nobody takes."""
        return self._counts.unheard_publishes

    # -- connecting

    def _find(self, worker_socket=None, token=None):
        if worker_socket is not None:
            self._where = None, worker_socket, token
            self._place = None
        if self._place is None:
            self._place = Place(*self._where)
        return self._place

    def _soft_limit_wanted(self):
        return self._serves if self.soft_limit is None else self.soft_limit

    def _hello(self, session, place):
        """The frame; the session is told what it says about gathering."""
        session.gathers = self._waits_for_more if self.gathers is None else self.gathers
        return wire.hello(self.name, self._wanted, self._soft_limit_wanted(),
                          place.token if place.external else None, session.gathers)

    def _wait_before_next(self, error):
        """Seconds until the next try; what is no passing trouble is raised."""
        if self._stopping or not (self._place and self._place.external and again(error)):
            raise error
        wait = self._backoff.wait()
        print(f"sluice worker: {error or 'the gateway drains'}; again in {wait:.1f} s", file=sys.stderr)
        return wait

    def _to_serve(self, function):
        handler = Handler(function) if function is not None else self._handler
        if handler is None:
            raise WorkerError("no handler: write @worker.handler above a function")
        self._serves = True
        self._waits_for_more |= bool(handler.wait)
        return handler

    # -- what a handler's end means

    @staticmethod
    def _verdict(unit, error):
        """The answer for an exception of the handler; `unit` is a message or a batch."""
        if isinstance(error, Retry):
            answer = lambda: unit.retry(error.delay, error.reason)  # noqa: E731
        elif isinstance(error, Release):
            answer = unit.release
        elif isinstance(error, Dead):
            answer = lambda: unit.dead(error.reason)  # noqa: E731
        else:
            traceback.print_exception(type(error), error, error.__traceback__)
            reason = traceback.format_exception_only(type(error), error)[-1].strip()
            answer = lambda: unit.retry(reason=reason)  # noqa: E731
        if not unit.answered:
            answer()

    @staticmethod
    def _finished(unit, result):
        if not unit.answered:
            unit.ack() if result is None else unit.ack(result)


def outcome_of(told):
    if isinstance(told, BaseException):
        raise told
    return told


def shorter(wait, silence):
    return wait if silence is None else min(wait, silence)


def exit_for(error):
    """How a program ends whose worker cannot go on."""
    print(f"sluice worker: {error}", file=sys.stderr)
    raise SystemExit(2 if isinstance(error, NoGateway) else 1) from None


HANDLED = (Exception, SoftTimeLimit)
ENDS = (WorkerError, OSError)
