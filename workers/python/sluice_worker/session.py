"""One connection to the gateway, without input and output: what has been said and what it means.
The flavours (connection.py: blocking, aio.py: asyncio) feed it bytes and write what it gives."""

import collections
import sys

from . import wire
from .errors import ProtocolError, PublishRefused, Refused
from .message import Message

_UNKNOWN_FLAGS = 0xFF & ~(wire.DELIVER_REDELIVERED | wire.DELIVER_LAST | wire.DELIVER_MORE)
_SILENCE = 0.01
_REMEMBERED = 1024      # tags of late ones, and of those past their soft limit


class Session:
    def __init__(self, counts):
        self.counts = counts            # the worker's, which outlives connections
        self.queue = self.pool = self.node = ""
        self.prefetch = self.concurrency = self.max_message = self.max_result = 0
        self.time_limit = self.soft_time_limit = 0.0
        self.batches = self.external = self.gathers = False
        self.welcomed = self.draining = self.lost = False
        self.waiting = collections.deque()
        self.delivered = self.answered = 0
        self.soft, self.stale = collections.deque(maxlen=_REMEMBERED), collections.deque(maxlen=_REMEMBERED)
        self._stream = wire.Stream()
        self._refs, self._last_ref = {}, 0

    # -- what the messages call

    def send(self, data, now=False, answers=0):
        """Buffers; `now`: writes at once. On a lost connection an answer is stale, and counted."""
        raise NotImplementedError

    def is_stale(self, tag):
        return self.lost or tag in self.stale

    def soft_limit_passed(self, tag):
        return tag in self.soft

    def publishing(self, tag, told, topic, payload=b"", content_type=None, headers=(), retain=False,
                   confirm=True):
        """The frame, checked. `told` hears what became of it: True; False, nobody takes it; or an
        error. Without it a refusal is counted and said on stderr; without `confirm` nothing is known."""
        data, kind = wire.content(payload, content_type)
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"{topic!r} is no topic to publish to")
        if len(data) > self.max_message:
            raise ValueError(f"the payload is larger than max_message ({self.max_message})")
        ref = self._last_ref % 0xFFFFFFFF + 1 if confirm else 0
        made = wire.publish(ref, tag, topic, data, kind, headers, retain)
        if confirm:
            self._last_ref, self._refs[ref] = ref, (topic, told)
        return made

    def lose(self, error):
        """The connection is over: whatever is answered now is stale, and who waits is told."""
        self.lost = True
        refs, self._refs = self._refs, {}
        for _, told in refs.values():
            if told is not None:
                told(error)

    # -- what the flavours call

    @property
    def held(self):
        """Messages without an answer, the waiting ones too."""
        return self.delivered - self.answered

    def credit_used_up(self):
        """Nothing more comes before something is answered."""
        return self.prefetch > 0 and self.held >= self.prefetch

    @property
    def silence(self):
        """How long next_batch waits for one more; None: as long as it may. In a pool without batches the
        gateway measures how long messages take, and gives ahead what takes 100 ms: unless HELLO said that
        this worker gathers, long waits would be measured as work, and there would never be more than one
        at hand. Short ones let the batches grow with the load."""
        return None if self.batches or self.gathers else _SILENCE

    def gather(self, taken, most):
        """Moves waiting messages into the batch `taken`; true: it is complete. Its end is that of
        the pool's batch, or `most`, or that nothing more can come before it is answered: so it is
        behind a last attempt, too, which is delivered alone."""
        while self.waiting and len(taken) < most:
            last = self.waiting.popleft()
            taken.append(last)
            if not last.more if self.batches else last.last_attempt and last.attempt > 1:
                return True
        return len(taken) >= most or self.credit_used_up()

    def feed(self, data):
        self._stream.feed(data, self._deliver, self._control)

    def _deliver(self, data, at, after):
        body = at + wire.DELIVERY.size
        if after < body:
            raise ProtocolError("body-short")
        tag, attempt, max_attempts, flags = wire.DELIVERY.unpack_from(data, at)
        if tag == 0 or attempt == 0 or flags & _UNKNOWN_FLAGS:
            raise ProtocolError("flags-unknown" if tag and attempt else "attempt-zero" if tag else "tag-zero")
        record = data[body:after]
        self.delivered += 1
        self.waiting.append(Message(self, tag, attempt, max_attempts, flags, record, wire.read_record(record)))

    def _control(self, kind, body):
        if kind == wire.WELCOME:
            self._welcome(body)
        elif kind == wire.SOFT_LIMIT:
            self.soft.append(wire.tag_of(body))
        elif kind == wire.STALE:
            self.stale.append(wire.tag_of(body))
            self.counts.stale_answers += 1
        elif kind == wire.DRAIN:
            wire.nothing(body)
            self.draining = True
        elif kind == wire.PUBLISHED:
            self._published(*wire.read_published(body))
        elif kind == wire.ERROR:
            raise Refused(*wire.read_error(body))
        else:
            raise ProtocolError("type-unknown")

    def _published(self, ref, code, detail):
        topic, told = self._refs.pop(ref, ("", None))
        outcome = code == 0 if code in (0, wire.PUBLISHED_NOBODY) else PublishRefused(topic, code, detail)
        (told or self.counts.published)(outcome)

    def _welcome(self, body):
        (version, flags, _, self.prefetch, concurrency, limit, soft, self.max_message,
         self.max_result), (self.queue, self.pool, self.node) = wire.read_welcome(body)
        if version != wire.VERSION:
            raise ProtocolError("the gateway speaks another version")
        self.time_limit, self.soft_time_limit = limit / 1000, soft / 1000
        self.batches = flags & wire.WELCOME_BATCHES != 0
        self.external = flags & wire.WELCOME_EXTERNAL != 0
        self.concurrency = concurrency or 1
        self.welcomed = True


class Counts:
    """What a worker counts over all its connections."""

    def __init__(self):
        self.stale_answers = 0
        self.refused_publishes = self.unheard_publishes = 0

    def published(self, outcome):
        """What became of a publish that nobody waits for."""
        if outcome is False:
            self.unheard_publishes += 1
        elif outcome is not True:
            self.refused_publishes += 1
            print(f"sluice worker: a message's publish was not taken: {outcome}", file=sys.stderr)
