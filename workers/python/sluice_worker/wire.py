"""The frames of PROTOCOL.md as bytes: numbers, encoders, and the reader of a stream."""

import json
import struct

from .errors import ProtocolError

VERSION = 1
HELLO, ACK, RETRY, RELEASE, DEAD, PROGRESS, EXTEND, PUBLISH, BYE, ACKS = range(0x01, 0x0B)
WELCOME, DELIVER, SOFT_LIMIT, STALE, DRAIN, ERROR, PUBLISHED = range(0x41, 0x48)

HELLO_SOFT_LIMIT = 1
HELLO_GATHERS = 2
WELCOME_BATCHES, WELCOME_EXTERNAL = 1, 2
DELIVER_REDELIVERED, DELIVER_LAST, DELIVER_MORE = 1, 2, 4
PUBLISH_RETAIN = 1
PUBLISHED_NOBODY = 6

REASON_MAX = 1024
NAME_MAX = 255
ACKS_MAX = 16384
FRAME_MAX = 1 << 30
DELAY_BY_QUEUE = -1
_LENGTH_SIZE = 4

HEAD = struct.Struct("<IB")
DELIVERY = struct.Struct("<QIIB")
RECORD = struct.Struct("<BBBBBBHQQQQ8HII")
_TAG_FRAME = struct.Struct("<IBQ")
_HELLO = struct.Struct("<BBHI")
_WELCOME = struct.Struct("<BBHIIIIII")
_RETRY = struct.Struct("<Qq")
_PUBLISH = struct.Struct("<IBQ")
_PUBLISHED = struct.Struct("<IB")
_BLOCK = struct.Struct("<HI")
_U64 = struct.Struct("<Q")
_LENGTH = struct.Struct("<H")
_PAIR = struct.Struct("<HH")


def cut(text, limit):
    """UTF-8 of the text, cut at a character's start. NUL is not allowed on the wire."""
    data = str(text).replace("\0", "?").encode("utf-8", "replace")
    if len(data) > limit:
        data = data[:limit].decode("utf-8", "ignore").encode("utf-8")
    return data


def strict(what, text):
    data = text.encode("utf-8")
    if len(data) > 0xFFFF or b"\0" in data:
        raise ValueError(f"{what} is too long or holds NUL")
    return data


def content(value, content_type):
    """Bytes and content type of a result or payload: bytes, text, or anything as JSON."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), content_type or ""
    if isinstance(value, str):
        return value.encode("utf-8"), content_type or "text/plain; charset=utf-8"
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return data.encode("utf-8"), content_type or "application/json"


# ---- what a worker says ----

def frame(kind, *parts):
    body = b"".join(parts)
    if len(body) >= FRAME_MAX:
        raise ValueError("the frame is too large")
    return HEAD.pack(len(body) + 1, kind) + body


def text(data):
    return _LENGTH.pack(len(data)) + data


def tagged(kind, tag):
    return _TAG_FRAME.pack(9, kind, tag)


def hello(name, prefetch, soft_limit, token=None, gathers=False):
    flags = (HELLO_SOFT_LIMIT if soft_limit else 0) | (HELLO_GATHERS if gathers else 0)
    parts = [_HELLO.pack(VERSION, flags, 0, prefetch), text(cut(name, NAME_MAX))]
    if token is not None:
        parts.append(text(strict("token", token)))
    return frame(HELLO, *parts)


def ack_result(tag, data, content_type):
    return frame(ACK, _U64.pack(tag), text(strict("content_type", content_type)), data)


def acks(tags):
    """One frame for many, more only when they are very many."""
    return b"".join(
        frame(ACKS, struct.pack(f"<{len(some)}Q", *some))
        for some in (tags[at:at + ACKS_MAX] for at in range(0, len(tags), ACKS_MAX)))


def retry(tag, delay_ms, reason):
    return frame(RETRY, _RETRY.pack(tag, delay_ms), text(cut(reason, REASON_MAX)))


def dead(tag, reason):
    return frame(DEAD, _U64.pack(tag), text(cut(reason, REASON_MAX)))


def progress(tag, per_mille):
    return frame(PROGRESS, struct.pack("<QH", tag, per_mille))


def extend(tag, ms):
    return frame(EXTEND, struct.pack("<QI", tag, ms))


def publish(ref, tag, topic, payload, content_type, headers, retain):
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    block = b"".join(_pair(str(name), str(value)) for name, value in pairs)
    return frame(PUBLISH, _PUBLISH.pack(ref, PUBLISH_RETAIN if retain else 0, tag),
                 text(strict("topic", topic)), text(strict("content_type", content_type)),
                 _BLOCK.pack(len(pairs), len(block)), block, payload)


def _pair(name, value):
    name, value = strict("header name", name), strict("header value", value)
    if not name:
        raise ValueError("a header has a name")
    return _PAIR.pack(len(name), len(value)) + name + value


# ---- what the gateway says ----

class Stream:
    """Cuts a stream into frames. A large frame's pieces are joined once, when all are there."""

    __slots__ = ("_parts", "_have", "_need")

    def __init__(self):
        self._parts, self._have, self._need = [], 0, _LENGTH_SIZE

    def feed(self, data, deliver, control):
        """Calls deliver(data, start of body, end) for each DELIVER, control(kind, body) else."""
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
        at, end = 0, len(data)
        self._need = _LENGTH_SIZE
        unpack = HEAD.unpack_from
        while end - at >= HEAD.size:
            length, kind = unpack(data, at)
            if not 0 < length <= FRAME_MAX:
                raise ProtocolError("frame-too-large" if length else "frame-empty")
            after = at + 4 + length
            if after > end:
                self._need = after - at
                break
            if kind == DELIVER:
                deliver(data, at + 5, after)
            else:
                control(kind, data[at + 5:after])
            at = after
        self._have = end - at
        self._parts = [data[at:]] if self._have else []
        if self._have == _LENGTH_SIZE and not any(data[at:]):
            raise ProtocolError("frame-empty")


def tag_of(body):
    if len(body) != _U64.size:
        raise ProtocolError("body-short" if len(body) < _U64.size else "body-long")
    (tag,) = _U64.unpack(body)
    if tag == 0:
        raise ProtocolError("tag-zero")
    return tag


def nothing(body):
    if body:
        raise ProtocolError("body-long")


def read_welcome(body):
    """(version, flags, zero, prefetch, concurrency, limit, soft, max_message, max_result), names"""
    fixed = _fixed(_WELCOME, body)
    if fixed[0] == 0:
        raise ProtocolError("version-zero")
    return fixed, _texts(body, _WELCOME.size, 3)


def read_published(body):
    """ref, code, detail"""
    return (*_fixed(_PUBLISHED, body), *_texts(body, _PUBLISHED.size, 1))


def read_error(body):
    """code, text"""
    return (*_fixed(_LENGTH, body), *_texts(body, _LENGTH.size, 1))


def _fixed(form, body):
    if len(body) < form.size:
        raise ProtocolError("body-short")
    return form.unpack_from(body)


def _texts(body, at, count):
    """So many texts, which end where the body ends."""
    found = []
    for _ in range(count):
        (length,) = _fixed(_LENGTH, body[at:at + 2])
        if len(body) < at + 2 + length:
            raise ProtocolError("body-short")
        found.append(_utf8(body[at + 2:at + 2 + length]))
        at += 2 + length
    nothing(body[at:])
    return found


def _utf8(data):
    try:
        if b"\0" not in data:
            return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise ProtocolError("text-not-utf8")


def read_record(record):
    """The fixed part of a message record, whose lengths are right."""
    if len(record) < RECORD.size:
        raise ProtocolError("record-malformed")
    fixed = RECORD.unpack_from(record)
    if fixed[0] != 1 or RECORD.size + sum(fixed[11:]) != len(record):
        raise ProtocolError("record-malformed")
    if fixed[6] or fixed[19]:
        for _ in _pairs_at(record, fixed):
            pass
    return fixed


def read_headers(record, fixed):
    return [(record[at:middle].decode("utf-8", "replace"), record[middle:end].decode("utf-8", "replace"))
            for at, middle, end in _pairs_at(record, fixed)]


def _pairs_at(record, fixed):
    """Where each header's name begins, its value begins, and it ends."""
    at = RECORD.size + sum(fixed[11:19])
    end = at + fixed[19]
    for _ in range(fixed[6]):
        if at + _PAIR.size > end:
            raise ProtocolError("record-malformed")
        name, value = _PAIR.unpack_from(record, at)
        at += _PAIR.size
        yield at, at + name, at + name + value
        at += name + value
    if at != end:
        raise ProtocolError("record-malformed")
