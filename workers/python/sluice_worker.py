"""Write a worker for a sluice pool of mode "socket". One file, standard library only.

    from sluice_worker import worker

    @worker.handler
    def handle(message):
        print(message.topic, message.json())

    worker.run()

What the handler returns is the result (None: no result) and the message is acked; an
exception is a failed attempt. `raise Retry(delay=5)`, `raise Release()` and
`raise Dead("why")` say more. Or as a loop, answering yourself:

    for message in worker.messages():
        message.ack()

Answers are buffered and written together: before the worker would wait for messages, when
64 KiB have gathered, when the oldest is 1 ms old as the next message is taken, and before a
message that may have been delivered before (so that, if it kills the worker, it alone is
charged). Answers may be given from any thread; those from other threads go out at once.

The bytes are specified in PROTOCOL.md beside this folder.
"""

import atexit
import collections
import datetime
import json as _json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback

__all__ = ["Dead", "GatewayGone", "Message", "ProtocolError", "Refused", "Release", "Retry",
           "Worker", "WorkerError", "worker"]

VERSION = 1
HELLO, ACK, RETRY, RELEASE, DEAD, PROGRESS, EXTEND, PUBLISH, BYE = range(0x01, 0x0A)
WELCOME, DELIVER, SOFT_LIMIT, STALE, DRAIN, ERROR, PUBLISHED = range(0x41, 0x48)

_FRAME_MAX = 1 << 30
_REASON_MAX = 1024
_NAME_MAX = 255
_READ_BYTES = 256 << 10
_FLUSH_BYTES = 64 << 10
_FLUSH_AGE = 0.001
_DELAY_BY_QUEUE = -1

_HEAD = struct.Struct("<IB")
_TAG_FRAME = struct.Struct("<IBQ")
_WELCOME = struct.Struct("<BBHIIIIII")
_DELIVER = struct.Struct("<QIIB")
_RECORD = struct.Struct("<BBBBBBHQQQQ8HII")
_PAIR = struct.Struct("<HH")

_PROTOCOLS = {1: "mqtt", 2: "mqtt", 3: "stomp", 4: "http", 5: "worker", 6: "schedule"}


class WorkerError(Exception):
    """Anything that ends the connection to the gateway."""


class GatewayGone(WorkerError):
    """The gateway has gone without saying DRAIN."""


class ProtocolError(WorkerError):
    """The gateway sent what is no frame."""


class Refused(WorkerError):
    """The gateway said ERROR; the text is its own."""


class Retry(Exception):
    """A failed attempt: again after `delay` seconds, or after the queue's backoff."""

    def __init__(self, reason="", delay=None):
        super().__init__(reason)
        self.reason, self.delay = reason, delay


class Release(Exception):
    """Not my fault: to another worker, not counted."""


class Dead(Exception):
    """Poison: to the dead letters at once."""

    def __init__(self, reason=""):
        super().__init__(reason)
        self.reason = reason


def _cut(text, limit):
    """UTF-8 of the text, cut at a character's start. NUL is not allowed on the wire."""
    data = str(text).replace("\0", "?").encode("utf-8", "replace")
    if len(data) > limit:
        data = data[:limit].decode("utf-8", "ignore").encode("utf-8")
    return data


def _text(data):
    return struct.pack("<H", len(data)) + data


def _strict(what, text):
    data = text.encode("utf-8")
    if len(data) > 0xFFFF or b"\0" in data:
        raise ValueError(f"{what} is too long or holds NUL")
    return data


def _frame(kind, *parts):
    body = b"".join(parts)
    if len(body) >= _FRAME_MAX:
        raise ValueError("the frame is too large")
    return _HEAD.pack(len(body) + 1, kind) + body


def _content(value, content_type):
    """Bytes and content type of a result or payload: bytes, text, or anything as JSON."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), content_type or ""
    if isinstance(value, str):
        return value.encode("utf-8"), content_type or "text/plain; charset=utf-8"
    data = _json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return data.encode("utf-8"), content_type or "application/json"


def _time(ms):
    if ms == 0:
        return None
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(
        milliseconds=ms)


class _Fields:
    """The record, taken apart when somebody first asks for a field."""

    __slots__ = ("protocol", "qos", "priority", "flags", "id", "accepted_at", "deliver_at",
                 "expires_at", "texts", "headers", "payload")

    def __init__(self, record):
        try:
            fixed = _RECORD.unpack_from(record)
        except struct.error:
            raise ProtocolError("record-malformed") from None
        (version, self.protocol, self.qos, self.priority, self.flags, _, count, self.id,
         self.accepted_at, self.deliver_at, self.expires_at) = fixed[:11]
        if version != 1 or _RECORD.size + sum(fixed[11:]) != len(record):
            raise ProtocolError("record-malformed")
        at, self.texts = _RECORD.size, []
        for length in fixed[11:19]:
            self.texts.append(record[at:at + length])
            at += length
        end = at + fixed[19]
        self.headers = self._pairs(record, at, end, count)
        self.payload = record[end:]

    @staticmethod
    def _pairs(record, at, end, count):
        pairs = []
        for _ in range(count):
            if at + _PAIR.size > end:
                raise ProtocolError("record-malformed")
            name, value = _PAIR.unpack_from(record, at)
            at += _PAIR.size
            pairs.append((record[at:at + name].decode("utf-8", "replace"),
                          record[at + name:at + name + value].decode("utf-8", "replace")))
            at += name + value
        if at != end:
            raise ProtocolError("record-malformed")
        return pairs


class Message:
    """One delivery. Answer it once: ack, retry, release or dead."""

    __slots__ = ("_worker", "_tag", "_record", "_fields", "_answered", "attempt", "max_attempts",
                 "redelivered", "last_attempt")

    def __init__(self, owner, tag, attempt, max_attempts, flags, record):
        self._worker = owner
        self._tag = tag
        self._record = record
        self._fields = None
        self._answered = False
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.redelivered = flags & 1 != 0
        self.last_attempt = flags & 2 != 0

    def __repr__(self):
        return f"<Message {self.id} {self.topic!r} attempt={self.attempt}>"

    def _get(self):
        if self._fields is None:
            self._fields = _Fields(self._record)
        return self._fields

    def _string(self, index):
        return self._get().texts[index].decode("utf-8", "replace")

    # -- what it says

    @property
    def id(self):
        """16 hex digits, unique per gateway."""
        return f"{self._get().id:016x}"

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
        return self._get().texts[4]

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
        return self._get().payload

    @property
    def headers(self):
        """Pairs in the publisher's order; names may repeat."""
        return self._get().headers

    @property
    def protocol(self):
        return _PROTOCOLS.get(self._get().protocol, "unknown")

    @property
    def qos(self):
        return self._get().qos

    @property
    def priority(self):
        return self._get().priority

    @property
    def retain(self):
        return self._get().flags & 1 != 0

    @property
    def accepted_at(self):
        """When the gateway took it, in UTC."""
        return _time(self._get().accepted_at)

    @property
    def deliver_at(self):
        return _time(self._get().deliver_at)

    @property
    def expires_at(self):
        return _time(self._get().expires_at)

    @property
    def queue(self):
        return self._worker.queue

    @property
    def answered(self):
        return self._answered

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

    def ack(self, result=None, content_type=None):
        """Done. The result (bytes, text, or anything as JSON) goes to reply_to."""
        if result is None:
            self._answer(_TAG_FRAME.pack(9, ACK, self._tag))
            return
        data, kind = _content(result, content_type)
        if len(data) > self._worker.max_result:
            raise ValueError(f"the result is larger than max_result ({self._worker.max_result})")
        self._answer(_frame(ACK, struct.pack("<Q", self._tag),
                            _text(_strict("content_type", kind)), data))

    def retry(self, delay=None, reason=""):
        """A failed attempt: again after `delay` seconds, or after the queue's backoff."""
        ms = _DELAY_BY_QUEUE if delay is None else int(delay * 1000)
        if delay is not None and ms < 0:
            raise ValueError("a delay is not negative")
        self._answer(_frame(RETRY, struct.pack("<Qq", self._tag, ms),
                            _text(_cut(reason, _REASON_MAX))))

    def release(self):
        """Not my fault: to another worker, not counted."""
        self._answer(_TAG_FRAME.pack(9, RELEASE, self._tag))

    def dead(self, reason=""):
        """Poison: to the dead letters at once."""
        self._answer(_frame(DEAD, struct.pack("<Q", self._tag), _text(_cut(reason, _REASON_MAX))))

    def _answer(self, frame):
        if self._answered:
            raise WorkerError("this message has had its answer")
        self._answered = True
        self._worker._send(frame)

    # -- while it is being worked on

    def progress(self, done):
        """0.0 to 1.0; written at once."""
        if not 0 <= done <= 1:
            raise ValueError("progress is between 0 and 1")
        self._worker._send(_frame(PROGRESS, struct.pack("<QH", self._tag, round(done * 1000))),
                           now=True)

    def extend(self, seconds):
        """The time limit is this far away from now on; written at once."""
        ms = int(seconds * 1000)
        if not 0 < ms <= 0xFFFFFFFF:
            raise ValueError("an extension is at least 1 ms and at most 49 days")
        self._worker._send(_frame(EXTEND, struct.pack("<QI", self._tag, ms)), now=True)

    def publish(self, topic, payload=b"", **more):
        """As Worker.publish, but sent together with this message's ack, and only then."""
        if self._answered:
            raise WorkerError("this message has had its answer")
        self._worker._publish(self._tag, topic, payload, **more)

    @property
    def soft_limit_passed(self):
        """Looks at the socket; true only in a worker made with soft_limit=True."""
        self._worker._look()
        return self._tag in self._worker._soft


class Worker:
    """The connection to the gateway. `worker` below is the one that most programs want."""

    def __init__(self, name="python", prefetch=0, soft_limit=False, fd=None):
        self.name, self.prefetch, self.soft_limit = name, prefetch, soft_limit
        self.queue = self.pool = self.node = ""
        self.concurrency = self.max_message = self.max_result = 0
        self.time_limit = self.soft_time_limit = 0.0
        self.stale_answers = 0
        self._fd = fd
        self._socket = None
        self._handler = None
        self._parts, self._have, self._need = [], 0, _HEAD.size
        self._waiting = collections.deque()
        self._soft = set()
        self._out = bytearray()
        self._oldest = 0.0
        self._lock = threading.RLock()
        self._reader = None
        self._draining = self._stopping = self._ended = False
        self._wake = (-1, -1)

    # -- what users call

    def handler(self, function):
        """Decorator: this function takes the messages."""
        self._handler = function
        return function

    def run(self, handler=None):
        """Hands messages to the handler until the gateway drains or SIGTERM comes."""
        handler = handler or self._handler
        if handler is None:
            raise WorkerError("no handler: write @worker.handler above a function")
        try:
            for message in self.messages():
                self._handle(handler, message)
        except WorkerError as error:
            print(f"sluice worker: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        self.close()

    def messages(self):
        """The messages, one by one, until the gateway drains or SIGTERM comes."""
        self.connect()
        while not self._stopping:
            if self._waiting:
                message = self._waiting.popleft()
                self._flush_if_due(message)
                yield message
            elif not self._fill():
                break
        self._ended = True
        self.flush()

    def publish(self, topic, payload=b"", **more):
        """Publishes at once. `more`: content_type, headers (dict or pairs), retain."""
        self._publish(0, topic, payload, **more)

    def flush(self):
        """Writes the buffered answers now."""
        with self._lock:
            while self._out:
                try:
                    sent = self._socket.send(self._out)
                except BlockingIOError:
                    select.select([], [self._socket], [])
                    continue
                except OSError as error:
                    self._out.clear()
                    self._last_words()
                    raise GatewayGone(f"the gateway has gone ({error.strerror})") from None
                del self._out[:sent]

    def stop(self):
        """No further message; for signal handlers and other threads."""
        self._stopping = True
        if self._wake[1] >= 0:
            os.write(self._wake[1], b"x")

    def close(self):
        """Writes what is buffered, says BYE (what has no answer goes back uncharged), closes."""
        self._ended = True
        self._finish()

    def __enter__(self):
        self.connect()
        return self

    def __exit__(self, kind, error, trace):
        # After an exception no BYE: the message at hand is to be charged.
        self._ended = self._ended or kind is None
        self._finish()

    # -- connecting

    def connect(self):
        """HELLO and WELCOME; called by run and messages."""
        if self._socket is not None:
            return
        self._socket = self._open()
        self._socket.setblocking(False)
        self._reader = threading.get_ident()
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        try:
            signal.signal(signal.SIGTERM, lambda number, frame: self.stop())
        except ValueError:
            pass  # Not the main thread: the program calls stop() itself.
        atexit.register(self._finish)
        self._send(_frame(HELLO, struct.pack("<BBHI", VERSION, 1 if self.soft_limit else 0, 0,
                                             self.prefetch), _text(_cut(self.name, _NAME_MAX))),
                   now=True)
        while not self.concurrency and self._fill():
            pass

    def _open(self):
        text = str(self._fd) if self._fd is not None else os.environ.get("SLUICE_FD")
        if text is None:
            self._by_hand('SLUICE_FD is not set: let a sluice pool with mode "socket" start me')
        try:
            opened = socket.socket(fileno=int(text))
            opened.set_inheritable(False)
            return opened
        except (ValueError, OSError):
            return self._by_hand(f"SLUICE_FD={text} is not an open socket")

    @staticmethod
    def _by_hand(why):
        print(f"sluice worker: {why}", file=sys.stderr)
        raise SystemExit(2)

    def _finish(self):
        if self._socket is None:
            return
        try:
            if self._ended:
                self._send(_frame(BYE))
            self.flush()
        except WorkerError:
            pass  # The gateway has gone, and with it whoever would care.
        self._socket.close()
        self._socket = None
        for end in self._wake:
            os.close(end)
        self._wake = (-1, -1)
        atexit.unregister(self._finish)

    # -- handing out

    def _handle(self, handler, message):
        try:
            result = handler(message)
            if not message.answered:
                message.ack(result)
        except Retry as error:
            self._unless_answered(message, lambda: message.retry(error.delay, error.reason))
        except Release:
            self._unless_answered(message, message.release)
        except Dead as error:
            self._unless_answered(message, lambda: message.dead(error.reason))
        except WorkerError:
            raise
        except Exception as error:
            traceback.print_exc()
            reason = traceback.format_exception_only(type(error), error)[-1].strip()
            self._unless_answered(message, lambda: message.retry(reason=reason))

    @staticmethod
    def _unless_answered(message, answer):
        if not message.answered:
            answer()

    # -- writing

    def _send(self, frame, now=False):
        with self._lock:
            if self._socket is None:
                raise GatewayGone("the connection is closed")
            if not self._out:
                self._oldest = time.monotonic()
            self._out += frame
            if now or len(self._out) >= _FLUSH_BYTES or threading.get_ident() != self._reader:
                self.flush()

    def _flush_if_due(self, message):
        if self._out and (message.redelivered or message.attempt > 1
                          or time.monotonic() - self._oldest >= _FLUSH_AGE):
            self.flush()

    def _publish(self, tag, topic, payload, content_type=None, headers=(), retain=False):
        self.connect()
        data, kind = _content(payload, content_type)
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"{topic!r} is no topic to publish to")
        if len(data) > self.max_message:
            raise ValueError(f"the payload is larger than max_message ({self.max_message})")
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        block = b"".join(self._pair(str(name), str(value)) for name, value in pairs)
        self._send(_frame(PUBLISH, struct.pack("<IBQ", 0, 1 if retain else 0, tag),
                          _text(_strict("topic", topic)), _text(_strict("content_type", kind)),
                          struct.pack("<HI", len(pairs), len(block)), block, data))

    @staticmethod
    def _pair(name, value):
        name, value = _strict("header name", name), _strict("header value", value)
        if not name:
            raise ValueError("a header has a name")
        return _PAIR.pack(len(name), len(value)) + name + value

    # -- reading

    def _fill(self):
        """Flushes, waits for bytes, takes the frames. False: nothing more will come."""
        self.flush()
        got = self._read()
        if got is None:
            if self._draining:
                return False
            raise GatewayGone("the gateway has gone")
        if got:
            self._take_frames()
            return True
        if self._draining or self._stopping:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        poll.poll()
        return True

    def _read(self):
        """True: bytes came; False: none are there; None: the end of the stream."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            return None
        self._parts.append(data)
        self._have += len(data)
        return True

    def _last_words(self):
        """The gateway closed while we were writing: perhaps it said why."""
        if threading.get_ident() == self._reader:
            while self._read():
                self._take_frames()

    def _look(self):
        if threading.get_ident() == self._reader and self._socket is not None and self._read():
            self._take_frames()

    def _take_frames(self):
        """A large frame's pieces are joined once, when all are there."""
        if self._have < self._need:
            return
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, end = 0, len(data)
        self._need = _HEAD.size
        while end - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(data, at)
            if not 0 < length <= _FRAME_MAX:
                raise ProtocolError("frame-too-large" if length else "frame-empty")
            after = at + 4 + length
            if after > end:
                self._need = after - at
                break
            if kind == DELIVER:
                self._deliver(data, at + 5, after)
            else:
                self._control(kind, data[at + 5:after])
            at = after
        self._have = end - at
        self._parts = [data[at:]] if self._have else []

    def _deliver(self, data, at, after):
        body = at + _DELIVER.size
        if after - body < _RECORD.size:
            raise ProtocolError("record-malformed")
        tag, attempt, max_attempts, flags = _DELIVER.unpack_from(data, at)
        self._waiting.append(Message(self, tag, attempt, max_attempts, flags, data[body:after]))

    def _control(self, kind, body):
        try:
            if kind == WELCOME:
                self._welcome(body)
            elif kind == SOFT_LIMIT:
                self._soft.add(struct.unpack("<Q", body)[0])
            elif kind == STALE:
                self.stale_answers += 1
            elif kind == DRAIN:
                self._draining = True
            elif kind == ERROR:
                raise Refused(f"the gateway refused this worker: {body[4:].decode('utf-8', 'replace')}")
            elif kind != PUBLISHED:
                raise ProtocolError("type-unknown")
        except struct.error:
            raise ProtocolError("body-short") from None

    def _welcome(self, body):
        (version, _, _, self.prefetch, concurrency, limit, soft, self.max_message,
         self.max_result) = _WELCOME.unpack_from(body)
        if version != VERSION:
            raise ProtocolError("the gateway speaks another version")
        self.time_limit, self.soft_time_limit = limit / 1000, soft / 1000
        names, at = [], _WELCOME.size
        for _ in range(3):
            (length,) = struct.unpack_from("<H", body, at)
            names.append(body[at + 2:at + 2 + length].decode("utf-8", "replace"))
            at += 2 + length
        self.queue, self.pool, self.node = names
        self.concurrency = concurrency or 1


worker = Worker()
