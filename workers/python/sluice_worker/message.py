"""What a worker is given: a message, or a batch of them, with the answers it may have."""

import collections
import collections.abc
import datetime
import json as _json

from . import wire
from .errors import AlreadyAnswered

_PROTOCOLS = {1: "mqtt", 2: "mqtt", 3: "stomp", 4: "http", 5: "worker", 6: "schedule"}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_RETAIN = 1

# Places in the unpacked record.
_PROTOCOL, _QOS, _PRIORITY, _FLAGS, _ID, _ACCEPTED, _DELIVER_AT, _EXPIRES = 1, 2, 3, 4, 7, 8, 9, 10
_TEXTS = 11

Publish = collections.namedtuple("Publish", "topic payload content_type headers retain confirm",
                                 defaults=(b"", None, (), False, True))
Publish.__doc__ = """One message for `ack(publish=[...])`; a tuple or a dict of the same does as well."""


def _time(ms):
    return _EPOCH + datetime.timedelta(milliseconds=ms) if ms else None


def retry_delay(seconds):
    if seconds is None:
        return wire.DELAY_BY_QUEUE
    ms = int(seconds * 1000)
    if ms < 0:
        raise ValueError("a delay is not negative")
    return ms


def _extension(seconds):
    ms = int(seconds * 1000)
    if not 0 < ms <= 0xFFFFFFFF:
        raise ValueError("an extension is at least 1 ms and at most 49 days")
    return ms


class Message:
    """One delivery. Answer it once: ack, retry, release or dead."""

    # The record's fixed part has been read; the rest is when somebody asks for it.
    __slots__ = ("_session", "_tag", "_record", "_fixed", "_flags", "_answered", "attempt", "max_attempts")

    def __init__(self, session, tag, attempt, max_attempts, flags, record, fixed):
        self._session = session
        self._tag = tag
        self._record = record
        self._fixed = fixed
        self._flags = flags
        self._answered = False
        self.attempt = attempt
        self.max_attempts = max_attempts

    def __repr__(self):
        return f"<Message {self.id} {self.topic!r} attempt={self.attempt}>"

    def _bytes(self, index):
        fixed = self._fixed
        at = wire.RECORD.size + sum(fixed[_TEXTS:_TEXTS + index])
        return self._record[at:at + fixed[_TEXTS + index]]

    def _string(self, index):
        return self._bytes(index).decode("utf-8", "replace")

    # -- what it says

    @property
    def id(self):
        """16 hex digits, unique per gateway."""
        return f"{self._fixed[_ID]:016x}"

    @property
    def topic(self):
        return self._string(0)

    @property
    def client_id(self):
        return self._string(1)

    @property
    def user(self):
        return self._string(2)

    @property
    def content_type(self):
        return self._string(3)

    @property
    def correlation(self):
        """Bytes."""
        return self._bytes(4)

    @property
    def reply_to(self):
        return self._string(5)

    @property
    def job_id(self):
        return self._string(6)

    @property
    def dedup_id(self):
        return self._string(7)

    @property
    def payload(self):
        """Bytes, as the device sent them."""
        return self._record[len(self._record) - self._fixed[-1]:]

    @property
    def headers(self):
        """Pairs in the publisher's order; names may repeat."""
        return wire.read_headers(self._record, self._fixed)

    @property
    def protocol(self):
        return _PROTOCOLS.get(self._fixed[_PROTOCOL], "unknown")

    @property
    def qos(self):
        return self._fixed[_QOS]

    @property
    def priority(self):
        return self._fixed[_PRIORITY]

    @property
    def retain(self):
        return self._fixed[_FLAGS] & _RETAIN != 0

    @property
    def accepted_at(self):
        """When the gateway took it, in UTC."""
        return _time(self._fixed[_ACCEPTED])

    @property
    def deliver_at(self):
        return _time(self._fixed[_DELIVER_AT])

    @property
    def expires_at(self):
        return _time(self._fixed[_EXPIRES])

    @property
    def redelivered(self):
        """It may have been seen before."""
        return self._flags & wire.DELIVER_REDELIVERED != 0

    @property
    def last_attempt(self):
        return self._flags & wire.DELIVER_LAST != 0

    @property
    def more(self):
        """More of its batch follow (pools with batches)."""
        return self._flags & wire.DELIVER_MORE != 0

    @property
    def queue(self):
        return self._session.queue

    @property
    def answered(self):
        return self._answered

    @property
    def stale(self):
        """It is no longer this worker's: its time was over, or the connection is. What is answered
        now changes nothing."""
        return self._session.is_stale(self._tag)

    def text(self, encoding="utf-8"):
        return self.payload.decode(encoding)

    def json(self):
        return _json.loads(self.payload)

    def header(self, name, default=None):
        """The first header of that name."""
        for key, value in self.headers:
            if key == name:
                return value
        return default

    # -- answers

    def ack(self, result=None, content_type=None, publish=()):
        """Done. The result (bytes, text, or anything as JSON) goes to reply_to; what is to be
        published is committed together with the ack: after any crash both happened or neither."""
        data = wire.tagged(wire.ACK, self._tag) if result is None else self._with(result, content_type)
        if publish:
            data = b"".join(self._tied(p) for p in publish) + data
        self._answer(data)

    def retry(self, delay=None, reason=""):
        """A failed attempt: again after `delay` seconds, or after the queue's backoff."""
        self._answer(wire.retry(self._tag, retry_delay(delay), reason))

    def release(self):
        """Not my fault: to another worker, not counted."""
        self._answer(wire.tagged(wire.RELEASE, self._tag))

    def dead(self, reason=""):
        """Poison: to the dead letters at once."""
        self._answer(wire.dead(self._tag, reason))

    def _with(self, result, content_type):
        data, kind = wire.content(result, content_type)
        if len(data) > self._session.max_result:
            raise ValueError(f"the result is larger than max_result ({self._session.max_result})")
        return wire.ack_result(self._tag, data, kind)

    def _tied(self, publish):
        publish = Publish(**publish) if isinstance(publish, dict) else Publish(*publish)
        return self._session.publishing(self._tag, None, *publish)

    def _answer(self, data):
        if self._answered:
            raise AlreadyAnswered
        self._answered = True
        self._session.send(data, answers=1)

    # -- while it is being worked on

    def progress(self, done):
        """0.0 to 1.0; written at once."""
        if not 0 <= done <= 1:
            raise ValueError("progress is between 0 and 1")
        self._session.send(wire.progress(self._tag, round(done * 1000)), now=True)

    def extend(self, seconds):
        """The time limit is this far away from now on; written at once."""
        self._session.send(wire.extend(self._tag, _extension(seconds)), now=True)

    def publish(self, topic, payload=b"", content_type=None, headers=(), retain=False, confirm=True):
        """Is published together with this message's ack, and only then. One that is refused is
        counted and said on stderr (`confirm=False`: is not)."""
        if self._answered:
            raise AlreadyAnswered
        self._session.send(self._session.publishing(
            self._tag, None, topic, payload, content_type, headers, retain, confirm))

    @property
    def soft_limit_passed(self):
        """True from the soft time limit on, in a worker that asked for it (see Worker)."""
        return self._session.soft_limit_passed(self._tag)

    def _late(self):
        """The same, as far as the gateway's frames have been read."""
        return self._tag in self._session.soft


class Batch(collections.abc.Sequence):
    """Messages that were taken together. Answer all at once, or some of them one by one before:
    what is said here is for those that have no answer yet."""

    __slots__ = ("_session", "_messages")

    def __init__(self, session, messages):
        self._session = session
        self._messages = messages

    def __len__(self):
        return len(self._messages)

    def __getitem__(self, index):
        return self._messages[index]

    def __iter__(self):
        return iter(self._messages)

    def __repr__(self):
        return f"<Batch of {len(self._messages)}>"

    @property
    def answered(self):
        """Each of them."""
        return all(m._answered for m in self._messages)

    def ack(self):
        """Done, all of them, in one frame."""
        tags = [m._tag for m in self._open()]
        if tags:
            self._session.send(wire.acks(tags), answers=len(tags))

    def retry(self, delay=None, reason=""):
        """A failed attempt of each: again after `delay` seconds, or after the queue's backoff."""
        ms = retry_delay(delay)
        self._each(lambda tag: wire.retry(tag, ms, reason))

    def release(self):
        """Not my fault: to another worker, not counted."""
        self._each(lambda tag: wire.tagged(wire.RELEASE, tag))

    def dead(self, reason=""):
        """Poison: to the dead letters at once."""
        self._each(lambda tag: wire.dead(tag, reason))

    def extend(self, seconds):
        """The batch has one clock: its limit is this far away from now on; written at once."""
        ms = _extension(seconds)
        for message in self._messages:
            if not message._answered:
                self._session.send(wire.extend(message._tag, ms), now=True)
                break

    @property
    def soft_limit_passed(self):
        return self._messages[0].soft_limit_passed or self._late()

    def _late(self):
        return any(m._late() for m in self._messages)

    def _open(self):
        """Those without an answer; they have one from now on."""
        mine = [m for m in self._messages if not m._answered]
        for message in mine:
            message._answered = True
        return mine

    def _each(self, make):
        frames = [make(m._tag) for m in self._open()]
        if frames:
            self._session.send(b"".join(frames), answers=len(frames))
