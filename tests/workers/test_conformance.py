"""The conformance of the Python SDKs, plain and asyncio, as README.md says: every recorded frame is
understood or written as its text says, every fault ends the connection, at every split."""

import asyncio
import contextlib
import io
import signal
import unittest

from recorded import FRAMES, Gateway, as_bytes, load, tagged

import sluice_worker as sdk
import sluice_worker.aio as aio
from sluice_worker import wire
from sluice_worker.session import Counts, Session

ROWS, FAULTS = load("frames.txt"), load("faults.txt")
OF_GATEWAY = {name: row for name, row in ROWS.items() if row[0] == "gateway"}


# ---- what the gateway says ----

class Recorder(Session):
    """Describes what it is fed, in the words of frames.txt."""

    def __init__(self):
        super().__init__(Counts())
        self.said = []

    def _control(self, kind, body):
        try:
            super()._control(kind, body)
        except sdk.Refused as error:
            self.said.append(f"ERROR code={error.code} text={error.text}")
            return
        self.said.append({
            wire.WELCOME: lambda: self.describe_welcome(body),
            wire.SOFT_LIMIT: lambda: f"SOFT_LIMIT tag={self.soft[-1]}",
            wire.STALE: lambda: f"STALE tag={self.stale[-1]}",
            wire.DRAIN: lambda: "DRAIN",
            wire.PUBLISHED: lambda: "PUBLISHED ref={} code={} detail={}".format(*wire.read_published(body)),
        }[kind]())

    def _deliver(self, *where):
        super()._deliver(*where)
        self.said.append(describe(self.waiting[-1]))

    def describe_welcome(self, body):
        return (f"WELCOME version={body[0]} flags={self.batches + 2 * self.external} prefetch={self.prefetch}"
                f" concurrency={self.concurrency} time_limit={self.time_limit * 1000:.0f}"
                f" soft={self.soft_time_limit * 1000:.0f} max_message={self.max_message}"
                f" max_result={self.max_result} queue={self.queue} pool={self.pool} node={self.node}")


def describe(m):
    flags = m.redelivered + 2 * m.last_attempt + 4 * m.more
    words = [f"DELIVER tag={m._tag} attempt={m.attempt} max={m.max_attempts} flags={flags} id={m.id}"
             f" protocol={m.protocol}"]
    words += [f"{name}={value}" for name, value in (
        ("topic", m.topic), ("client", m.client_id), ("user", m.user), ("type", m.content_type),
        ("correlation", len(m.correlation)), ("reply_to", m.reply_to), ("job", m.job_id),
        ("dedup", m.dedup_id)) if value]
    words += [f"{name}={value}" for name, value in m.headers]
    return " ".join([*words, f"payload={m.text()}"])


class Understood(unittest.TestCase):
    def setUp(self):
        silence = contextlib.ExitStack()
        silence.enter_context(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(silence.close)

    def fed(self, stream, step):
        recorder = Recorder()
        for at in range(0, len(stream), step):
            recorder.feed(stream[at:at + step])
        return recorder.said

    def test_each_row_of_a_gateway_is_what_its_text_says(self):
        for name, (_, frame, says) in OF_GATEWAY.items():
            with self.subTest(name):
                self.assertEqual(self.fed(frame, len(frame)), [says])

    def test_the_rows_as_one_stream_are_the_same_at_every_split(self):
        stream = b"".join(frame for _, frame, _ in OF_GATEWAY.values())
        wanted = [says for _, _, says in OF_GATEWAY.values()]
        for step in range(1, len(stream) + 1):
            self.assertEqual(self.fed(stream, step), wanted, f"{step} bytes per read")

    def test_each_fault_ends_the_connection(self):
        for name, (who, frame, _) in FAULTS.items():
            if who != "gateway":
                continue
            with self.subTest(name):
                greeting = [] if name.startswith("welcome") else ["welcome"]
                self.assertIsInstance(plain_end(*greeting, frame), sdk.ProtocolError)
                self.assertIsInstance(asyncio.run(aio_end(*greeting, frame)), sdk.ProtocolError)


def plain_end(*frames):
    """What ends a plain worker that is told this."""
    gateway = Gateway()
    gateway.send(*frames)
    worker = sdk.Worker(fd=gateway.worker_end.detach())
    try:
        worker.next_within(0)
        worker.next()
    except sdk.WorkerError as error:
        return error
    finally:
        worker._finish()
        gateway.close()


async def aio_end(*frames):
    gateway = Gateway()
    gateway.send(*frames)
    worker = aio.Worker(fd=gateway.worker_end.detach())
    try:
        return await worker.next()
    except sdk.WorkerError as error:
        return error
    finally:
        await worker.close()
        gateway.close()


# ---- what a worker says ----

def batch_of(first, *more):
    return sdk.Batch(first._session, [first, *more])


# Each row of a worker by the verb that writes it: of the message with tag 7 and its two neighbours.
# What is a coroutine in asyncio is awaited there.
VERBS = {
    "ack": lambda w, m, n, o: m.ack(),
    "ack-text": lambda w, m, n, o: m.ack("21.5"),
    "ack-json": lambda w, m, n, o: m.ack({"ok": True}),
    "ack-empty-result": lambda w, m, n, o: m.ack(b""),
    "acks": lambda w, m, n, o: batch_of(m, n, o).ack(),
    "acks-one": lambda w, m, n, o: batch_of(m).ack(),
    "retry": lambda w, m, n, o: m.retry(),
    "retry-later": lambda w, m, n, o: m.retry(delay=5, reason="the database is away"),
    "retry-longest-reason": lambda w, m, n, o: m.retry(delay=0, reason="x" * 1023 + "€" * 9),
    "release": lambda w, m, n, o: m.release(),
    "dead": lambda w, m, n, o: m.dead("no number in it: ü"),
    "progress": lambda w, m, n, o: m.progress(0.4),
    "extend": lambda w, m, n, o: m.extend(30),
    "publish": lambda w, m, n, o: w.publish("alerts/t", b"hot", confirm=False),
    "publish-full": lambda w, m, n, o: m.publish(
        "alerts/t", {"t": 91}, retain=True, confirm=False,
        headers=[("priority", 9), ("site", "a"), ("site", "b")]),
}
HELLOS = {
    "hello": {"prefetch": 16, "soft_limit": True},
    "hello-plain": {},
    "hello-gathers": {"gathers": True},
    "hello-token": {"token": "s3cret"},
}
REFS = ("publish-ref", "publish-with")   # the third and the fourth that want an answer
BYE = ("bye",)


class Written(unittest.TestCase):
    """Both flavours are asked by the same words; `self.plain` and `self.aio` run them."""

    def setUp(self):
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))

    def plain(self, verb, **more):
        gateway = Gateway()
        gateway.send("welcome", *(tagged("deliver-bare", tag) for tag in (7, 8, 9)))
        with sdk.Worker(name="demo", fd=gateway.worker_end.detach()) as worker:
            messages = [worker.next() for _ in range(3)]
            verb(worker, *messages)
            worker.flush()
            return self.without_hello(gateway)

    def aio(self, verb):
        return asyncio.run(self.aio_written(verb))

    async def aio_written(self, verb):
        gateway = Gateway()
        gateway.send("welcome", *(tagged("deliver-bare", tag) for tag in (7, 8, 9)))
        async with aio.Worker(name="demo", fd=gateway.worker_end.detach()) as worker:
            messages = [await worker.next() for _ in range(3)]
            made = verb(worker, *messages)
            if made is not None:
                await made
            await worker.flush()
            return self.without_hello(gateway)

    def without_hello(self, gateway):
        got = gateway.received()
        self.assertTrue(got.startswith(FRAMES["hello-plain"]))
        gateway.close()
        return got[len(FRAMES["hello-plain"]):]

    def test_each_row_of_a_worker_is_what_a_verb_writes(self):
        for name, verb in VERBS.items():
            with self.subTest(name):
                self.assertEqual(self.plain(verb), FRAMES[name])
                self.assertEqual(self.aio(verb), FRAMES[name])

    def test_refs_count_the_publishes_that_want_an_answer(self):
        def verb(worker, message, *others):
            for _ in range(3):
                others[0].publish("a")
            message.ack(publish=[("results/t", b"22", "text/plain")])
        other, wanted = tagged("publish-ref", 0), as_bytes(["publish-with", "ack"])
        for flavour in (self.plain, self.aio):
            got = flavour(verb)
            third = got[2 * len(other):3 * len(other)]
            self.assertEqual(third[:10] + bytes(8) + third[18:], FRAMES["publish-ref"])
            self.assertEqual(got[3 * len(other):], wanted)

    def test_hello_says_who_comes(self):
        for name, more in HELLOS.items():
            with self.subTest(name):
                self.assertEqual(wire.hello("demo", more.get("prefetch", 0), more.get("soft_limit", False),
                                            more.get("token"), more.get("gathers", False)), FRAMES[name])

    def test_bye_is_said_on_closing(self):
        gateway = Gateway()
        gateway.send("welcome")
        sdk.Worker(name="demo", fd=gateway.worker_end.detach()).__enter__().close()
        self.assertEqual(gateway.read(len(as_bytes(["hello-plain", "bye"]))), as_bytes(["hello-plain", "bye"]))
        gateway.close()

    def test_no_row_is_unknown(self):
        known = {*VERBS, *HELLOS, *REFS, *BYE}
        self.assertEqual({name for name, row in ROWS.items() if row[0] == "worker"}, known)


if __name__ == "__main__":
    unittest.main()
