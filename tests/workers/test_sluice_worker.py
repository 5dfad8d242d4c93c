"""The plain Python SDK against a gateway that lives in the test. What it writes is compared byte by
byte with the recorded frames; test_conformance.py goes through all of those."""

import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from recorded import (FRAMES, SDK, Gateway, Listener, acks, as_bytes, deliver, hello, not_for_ever, published, tagged,
                      welcome)

import sluice_worker as sdk


class SdkTest(unittest.TestCase):
    def setUp(self):
        not_for_ever(self)
        self.gateway = Gateway()
        self.worker = sdk.Worker(name="demo", fd=self.gateway.worker_end.detach())
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.addCleanup(self.gateway.close)
        self.addCleanup(self.worker._finish)

    def connected(self, *frames):
        self.gateway.send("welcome", *frames)
        self.worker.connect()
        self.assertEqual(self.gateway.received(), FRAMES["hello-plain"])
        return self.worker

    def one_message(self, frame="deliver-bare"):
        self.connected(frame)
        return next(self.worker.messages())

    def run_with(self, handler):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.worker.run(handler)
        return errors.getvalue()

    def expect(self, *names):
        self.assertEqual(self.gateway.received(), as_bytes(names))


class Life(SdkTest):
    def test_hello_and_welcome_are_exchanged(self):
        self.worker.prefetch, self.worker.soft_limit = 16, True
        self.gateway.send("welcome")
        self.worker.connect()
        self.expect("hello")
        self.assertEqual((self.worker.queue, self.worker.pool, self.worker.node),
                         ("telemetry", "ingest", "gw-1"))
        self.assertEqual((self.worker.time_limit, self.worker.soft_time_limit), (60.0, 50.0))
        self.assertEqual((self.worker.concurrency, self.worker.max_result), (1, 65536))
        self.worker.close()
        self.expect("bye")

    def test_drain_finishes_what_was_delivered(self):
        self.connected(deliver(1), deliver(2), "drain")
        seen = []
        self.run_with(lambda m: seen.append(m.id))
        self.assertEqual(seen, [f"{1:016x}", f"{2:016x}"])
        self.expect(tagged("ack", 1), tagged("ack", 2), "bye")

    def test_sigterm_finishes_the_current_message_and_gives_the_rest_back(self):
        self.connected(deliver(1), deliver(2))
        self.run_with(lambda m: os.kill(os.getpid(), signal.SIGTERM))
        self.expect(tagged("ack", 1), "bye")

    def test_sigterm_while_waiting_ends_the_worker(self):
        self.connected()
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        self.run_with(lambda m: None)
        self.expect("bye")

    def test_a_gateway_that_is_gone_is_not_a_drain(self):
        self.connected()
        self.gateway.close()
        with self.assertRaises(SystemExit) as end:
            self.run_with(lambda m: None)
        self.assertEqual(end.exception.code, 1)

    def test_a_refusal_carries_the_gateways_words(self):
        self.gateway.send("error")
        with self.assertRaisesRegex(sdk.Refused, "type-unknown"):
            self.worker.connect()

    def test_a_refusal_is_seen_although_writing_failed_first(self):
        message = self.one_message()
        self.gateway.send("error")
        self.gateway.close()
        message.ack()
        with self.assertRaisesRegex(sdk.Refused, "type-unknown"):
            self.worker.flush()

    def test_bytes_that_are_no_frame_end_the_connection(self):
        for bad in (b"\1\0\0\0\2", b"\0\0\0\0\0", b"\xff\xff\xff\xff\x42", b"\2\0\0\0\x42x"):
            with self.subTest(bad=bad):
                self.setUp()
                self.connected()
                self.gateway.send(bad)
                with self.assertRaises(sdk.ProtocolError):
                    next(self.worker.messages())

    def test_after_an_exception_in_a_loop_no_bye_is_said(self):
        self.gateway.send("welcome", deliver(1))
        with self.assertRaises(KeyError):
            with self.worker as w:
                for _ in w.messages():
                    raise KeyError
        self.expect("hello-plain")

    def test_by_hand_it_says_what_is_missing_and_exits_2(self):
        environment = {k: v for k, v in os.environ.items() if k != "SLUICE_FD"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        example = SDK / "examples" / "print_telemetry.py"
        ended = subprocess.run([sys.executable, str(example)], env=environment, check=False,
                               capture_output=True, text=True)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("SLUICE_FD is not set", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr)


class Reading(SdkTest):
    def test_every_field_of_a_message_can_be_asked_for(self):
        m = self.one_message("deliver-full")
        self.assertEqual(m.id, "00000020000000a0")
        self.assertEqual((m.topic, m.client_id, m.user), ("site/1/t", "dev-1", "ann"))
        self.assertEqual((m.content_type, m.correlation), ("application/json", b"\1\2"))
        self.assertEqual((m.reply_to, m.job_id, m.dedup_id), ("r/1", "j-1", "d-1"))
        self.assertEqual((m.protocol, m.qos, m.priority, m.retain), ("stomp", 2, 9, True))
        self.assertEqual(m.payload, b'{"t":21.5}')
        self.assertEqual((m.text(), m.json()), ('{"t":21.5}', {"t": 21.5}))
        self.assertEqual((m.attempt, m.max_attempts, m.redelivered, m.last_attempt), (5, 5, True, True))
        self.assertEqual(m.headers, [("k", "v"), ("k", "w"), ("unit", "°C")])
        self.assertEqual((m.header("k"), m.header("none"), m.header("none", 1)), ("v", None, 1))
        self.assertEqual(m.accepted_at.isoformat(), "2023-11-14T22:13:20.123000+00:00")
        self.assertEqual(m.deliver_at.timestamp(), 1700000001)
        self.assertEqual(m.expires_at.timestamp(), 1700000002)
        self.assertEqual(m.queue, "telemetry")

    def test_a_bare_message_has_empty_fields(self):
        m = self.one_message()
        self.assertEqual((m.topic, m.client_id, m.payload, m.headers), ("t", "", b"", []))
        self.assertEqual((m.deliver_at, m.redelivered, m.last_attempt), (None, False, False))

    def test_a_delivery_is_taken_at_any_split(self):
        self.connected()
        messages = self.worker.messages()
        frame = FRAMES["deliver-full"]
        for cut in range(1, len(frame)):
            self.gateway.send(frame[:cut])
            self.assertIsNone(self.worker.next_within(0))
            self.gateway.send(frame[cut:])
            self.assertEqual(next(messages).payload, b'{"t":21.5}')

    def test_a_large_message_is_joined(self):
        self.connected()
        payload = bytes(range(256)) * 12000
        sender = threading.Thread(target=self.gateway.send, args=(deliver(1, payload=payload), deliver(2)))
        sender.start()
        messages = self.worker.messages()
        self.assertEqual(next(messages).payload, payload)
        self.assertEqual(next(messages).id, f"{2:016x}")
        sender.join()

    def test_a_damaged_record_is_a_protocol_error(self):
        frame = bytearray(FRAMES["deliver-full"])
        frame[22 + 60] ^= 1
        self.connected(bytes(frame))
        with self.assertRaises(sdk.ProtocolError):
            next(self.worker.messages())

    def test_soft_limit_and_stale_are_noticed(self):
        m = self.one_message()
        self.assertFalse(m.soft_limit_passed)
        self.gateway.send("soft-limit", "stale")
        self.assertTrue(m.soft_limit_passed)
        self.assertEqual(self.worker.stale_answers, 1)


class Answers(SdkTest):
    def check(self, name, call):
        message = self.one_message()
        call(message)
        with self.assertRaises(sdk.WorkerError):
            message.ack()
        self.worker.flush()
        self.expect(name)

    def test_ack(self):
        self.check("ack", lambda m: m.ack())

    def test_ack_with_text(self):
        self.check("ack-text", lambda m: m.ack("21.5"))

    def test_ack_with_json(self):
        self.check("ack-json", lambda m: m.ack({"ok": True}))

    def test_ack_with_empty_result(self):
        self.check("ack-empty-result", lambda m: m.ack(b""))

    def test_retry(self):
        self.check("retry", lambda m: m.retry())

    def test_retry_later(self):
        self.check("retry-later", lambda m: m.retry(delay=5, reason="the database is away"))

    def test_longest_reason_is_cut_between_characters(self):
        self.check("retry-longest-reason", lambda m: m.retry(delay=0, reason="x" * 1023 + "€" * 9))

    def test_release(self):
        self.check("release", lambda m: m.release())

    def test_dead(self):
        self.check("dead", lambda m: m.dead("no number in it: ü"))

    def test_progress_and_extend_are_written_at_once(self):
        message = self.one_message()
        message.progress(0.4)
        self.expect("progress")
        message.extend(30)
        self.expect("extend")
        for wrong in (lambda: message.progress(1.1), lambda: message.extend(0),
                      lambda: message.retry(delay=-1)):
            self.assertRaises(ValueError, wrong)

    def test_publish(self):
        self.connected()
        self.worker.publish("alerts/t", b"hot", confirm=False)
        self.worker.flush()
        self.expect("publish")

    def test_publish_with_everything_tied_to_a_message(self):
        message = self.one_message()
        message.publish("alerts/t", {"t": 91}, retain=True, confirm=False,
                        headers=[("priority", 9), ("site", "a"), ("site", "b")])
        self.worker.flush()
        self.expect("publish-full")

    def test_what_the_gateway_would_refuse_is_not_sent(self):
        message = self.one_message()
        for call in (lambda: self.worker.publish(""), lambda: self.worker.publish("a/+"),
                     lambda: self.worker.publish("#"), lambda: self.worker.publish("a\0"),
                     lambda: self.worker.publish("a", headers={"": 1}),
                     lambda: self.worker.publish("a", bytes((1 << 20) + 1)),
                     lambda: message.ack(bytes(65537))):
            self.assertRaises(ValueError, call)
        self.worker.flush()
        self.expect()

    def test_answers_from_another_thread_go_out_at_once(self):
        message = self.one_message()
        thread = threading.Thread(target=message.ack)
        thread.start()
        thread.join()
        self.expect("ack")

    def test_answers_wait_until_a_suspect_is_handed_out(self):
        self.connected(deliver(1), deliver(2, attempt=2))
        messages = self.worker.messages()
        next(messages).ack()
        self.expect()
        next(messages)
        self.expect(tagged("ack", 1))


class Handlers(SdkTest):
    def outcome(self, handler):
        self.connected("deliver-bare", "drain")
        return self.run_with(handler)

    def test_a_result_is_sent(self):
        self.outcome(lambda m: {"ok": True})
        self.expect("ack-json", "bye")

    def test_retry_can_be_raised(self):
        def handler(message):
            raise sdk.Retry("the database is away", delay=5)
        self.outcome(handler)
        self.expect("retry-later", "bye")

    def test_release_can_be_raised(self):
        def handler(message):
            raise sdk.Release
        self.outcome(handler)
        self.expect("release", "bye")

    def test_dead_can_be_raised(self):
        def handler(message):
            raise sdk.Dead("no number in it: ü")
        self.outcome(handler)
        self.expect("dead", "bye")

    def test_an_exception_is_a_failed_attempt_with_its_last_line(self):
        errors = self.outcome(lambda m: {}["unit"])
        self.assertIn("Traceback", errors)
        reason = b"KeyError: 'unit'"
        body = struct.pack("<QqH", 7, -1, len(reason)) + reason
        self.expect(struct.pack("<IB", len(body) + 1, 3) + body, "bye")

    def test_a_result_that_is_too_large_is_a_failed_attempt(self):
        self.outcome(lambda m: bytes(65537))
        self.assertIn(b"larger than max_result", self.gateway.received())

    def test_an_own_answer_is_left_alone(self):
        self.outcome(lambda m: m.release())
        self.expect("release", "bye")

    def test_the_decorator_names_the_handler(self):
        self.worker.handler(lambda m: None)
        self.outcome(None)
        self.expect("ack", "bye")

    def test_an_answer_given_twice_is_a_typed_error_and_the_first_one_counts(self):
        def handler(message):
            message.ack()
            message.retry()
        self.assertIn("AlreadyAnswered", self.outcome(handler))
        self.expect("ack", "bye")


class Publishing(SdkTest):
    """On its own a publish waits for PUBLISHED; with an ack it is one step."""

    def answered_with(self, *frames):
        """A publish while the gateway answers so: its outcome."""
        self.gateway.send(*frames)
        try:
            return self.worker.publish("a")
        finally:
            self.gateway.received()

    def test_it_returns_when_the_gateway_has_it(self):
        self.connected()
        self.assertIs(self.answered_with(published(1)), True)
        self.assertIs(self.answered_with(published(2, code=6)), False)

    def test_a_refusal_is_a_typed_error(self):
        self.connected()
        self.answered_with(published(1))
        self.answered_with(published(2))
        with self.assertRaisesRegex(sdk.PublishRefused, "wildcard") as raised:
            self.answered_with("published-refused")
        self.assertEqual((raised.exception.topic, raised.exception.code), ("a", 1))

    def test_messages_that_come_meanwhile_wait(self):
        self.connected()
        self.answered_with(deliver(1), published(1), deliver(2))
        self.assertEqual([self.worker.next().id for _ in range(2)], [f"{t:016x}" for t in (1, 2)])

    def test_a_thread_publishes_while_the_main_thread_waits_for_messages(self):
        self.connected()
        outcomes = []

        def publish_twice():
            for ref in (1, 2):
                outcomes.append(self.worker.publish("a"))
            self.gateway.send("drain")

        def answer():
            for ref in (1, 2):
                self.gateway.read(len(FRAMES["publish-ref"]))
                self.gateway.send(published(ref), deliver(ref))
        threads = [threading.Thread(target=t) for t in (publish_twice, answer)]
        for t in threads:
            t.start()
        seen = [m.id for m in self.worker.messages()]
        for t in threads:
            t.join()
        self.assertEqual((outcomes, len(seen)), ([True, True], 2))

    def test_the_ack_and_what_it_publishes_are_written_together(self):
        message = self.one_message()
        message.ack("done", publish=[("a", b"1"), {"topic": "b", "payload": b"2", "retain": True},
                                     sdk.Publish("c", b"3", confirm=False)])
        self.worker.flush()
        got = self.gateway.received()
        kinds, tags, at = [], [], 0
        while at < len(got):
            length, kind = struct.unpack_from("<IB", got, at)
            kinds.append(kind)
            tags.append(struct.unpack_from("<Q", got, at + (10 if kind == 8 else 5))[0])
            at += 4 + length
        self.assertEqual((kinds, tags), ([8, 8, 8, 2], [7, 7, 7, 7]))

    def test_a_refused_publish_of_an_ack_is_counted_and_said(self):
        message = self.one_message()
        message.ack(publish=[("a", b""), ("b", b"")])
        self.gateway.send(published(1, code=2), published(2, code=6), "drain")
        errors = self.run_with(lambda m: None)
        self.assertIn("a: a queue refused it", errors)
        self.assertEqual((self.worker.refused_publishes, self.worker.unheard_publishes), (1, 1))

    def test_an_ack_that_cannot_be_whole_is_not_begun(self):
        message = self.one_message()
        for publish in ([("a", b""), ("b/#", b"")], [("a", bytes((1 << 20) + 1))]):
            self.assertRaises(ValueError, message.ack, publish=publish)
        message.ack()
        self.worker.flush()
        self.expect("ack")


class Batches(SdkTest):
    def tags(self, batch):
        return [int(m.id, 16) for m in batch]

    def test_a_batch_ends_where_the_pools_batch_ends(self):
        self.gateway.send("welcome-batches", deliver(1, flags=4), deliver(2, flags=4), deliver(3), deliver(4))
        batch = self.worker.next_batch(max=100, wait=30)
        self.assertEqual(self.tags(batch), [1, 2, 3])
        self.gateway.received()
        batch.ack()
        self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [4])
        self.expect(acks(1, 2, 3))

    def test_without_batches_of_the_pool_it_is_full_or_its_time_is_over(self):
        self.connected(deliver(1), deliver(2), deliver(3))
        self.assertEqual(self.tags(self.worker.next_batch(max=2, wait=30)), [1, 2])
        self.assertEqual(self.tags(self.worker.next_batch(max=2, wait=0)), [3])

    def test_without_batches_of_the_pool_silence_ends_the_wait(self):
        """Or the wait itself would be measured as work, and the gateway would give one at a time."""
        self.connected(deliver(1), deliver(2))
        begun = time.monotonic()
        self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [1, 2])
        self.assertLess(time.monotonic() - begun, 20)

    def test_it_does_not_wait_for_more_than_prefetch_allows(self):
        """Not even where it waits as long as it may: the pool's batch is larger, or the worker gathers."""
        for name, flags in (("welcome-batches", 4), ("welcome", 0)):
            with self.subTest(name):
                self.setUp()
                self.gateway.send(welcome(name, prefetch=2), deliver(1, flags=flags), deliver(2, flags=flags))
                begun = time.monotonic()
                self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [1, 2])
                self.assertLess(time.monotonic() - begun, 20)

    def test_what_is_held_counts_for_what_prefetch_allows(self):
        self.gateway.send(welcome("welcome-batches", prefetch=2), deliver(1), deliver(2, flags=4))
        held, begun = self.worker.next(), time.monotonic()
        self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [2])
        self.assertLess(time.monotonic() - begun, 20)
        held.ack()
        self.gateway.send(deliver(3))
        self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [3])

    def test_nothing_is_waited_for_behind_a_last_attempt(self):
        self.worker.gathers = True
        self.gateway.send("welcome", deliver(1, attempt=5, flags=2))
        begun = time.monotonic()
        self.assertEqual(self.tags(self.worker.next_batch(max=100, wait=30)), [1])
        self.assertLess(time.monotonic() - begun, 20)

    def gathered(self, batches):
        """The second message comes after more than the silence that ends other batches."""
        self.gateway.send("welcome", deliver(1))
        threading.Timer(0.05, self.gateway.send, (deliver(2), deliver(3), "drain")).start()
        return [self.tags(b) for b in batches]

    def test_a_worker_that_gathers_waits_as_long_as_it_may(self):
        taken = self.gathered(iter(lambda: self.worker.next_batch(max=2, wait=30), None))
        self.assertEqual(taken, [[1, 2], [3]])
        self.assertEqual(self.gateway.received()[:19], FRAMES["hello-gathers"])

    def test_one_that_shall_not_gather_does_not_say_so_and_does_not_wait(self):
        self.worker.gathers = False
        taken = self.gathered(iter(lambda: self.worker.next_batch(max=2, wait=30), None))
        self.assertEqual(taken, [[1], [2, 3]])
        self.assertEqual(self.gateway.received()[:19], FRAMES["hello-plain"])

    def test_a_handler_of_batches_that_waits_gathers_and_others_do_not(self):
        for wait, gathers in ((None, False), (0, False), (1, True)):
            self.gateway.send("welcome", "drain")
            (self.worker.handler if wait is None else self.worker.batch_handler(wait=wait))(lambda unit: None)
            self.run_with(None)
            self.assertEqual(self.gateway.received()[:19], hello(soft=True, gathers=gathers))
            self.setUp()

    def test_next_batch_without_a_wait_does_not_gather(self):
        self.gateway.send("welcome", deliver(1))
        self.assertEqual(self.tags(self.worker.next_batch(max=2, wait=0)), [1])
        self.expect("hello-plain")

    def test_drain_ends_the_wait_early(self):
        self.connected(deliver(1), "drain")
        self.assertEqual(len(self.worker.next_batch(max=100, wait=30)), 1)
        self.assertIsNone(self.worker.next_batch(max=100, wait=30))

    def test_sigterm_ends_the_wait_early(self):
        self.connected(deliver(1))
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        batch = self.worker.next_batch(max=100, wait=30)
        self.assertIn(batch if batch is None else len(batch), (None, 1))

    def test_what_was_answered_before_is_not_answered_again(self):
        self.connected(deliver(1), deliver(2), deliver(3))
        batch = self.worker.next_batch(max=3)
        batch[1].dead("no number in it: ü")
        batch.ack()
        batch.ack()
        self.worker.flush()
        self.expect(tagged("dead", 2), acks(1, 3))

    def test_the_whole_batch_can_have_one_answer(self):
        for name, answer in (("retry-later", lambda b: b.retry(5, "the database is away")),
                             ("release", lambda b: b.release()), ("dead", lambda b: b.dead("no number in it: ü")),
                             ("extend", lambda b: b.extend(30))):
            with self.subTest(name):
                self.setUp()
                self.connected(deliver(1), deliver(2))
                answer(self.worker.next_batch(max=2))
                self.worker.flush()
                self.expect(*(tagged(name, t) for t in ((1,) if name == "extend" else (1, 2))))

    def handled(self, handler):
        self.worker.batch_handler(max=2, wait=30)(handler)
        self.connected(deliver(1), deliver(2), deliver(3), "drain")
        return self.run_with(None)

    def test_a_handler_of_batches_acks_them_by_returning(self):
        seen = []
        self.handled(lambda batch: seen.append(self.tags(batch)))
        self.assertEqual(seen, [[1, 2], [3]])
        self.expect(acks(1, 2), acks(3), "bye")

    def test_what_it_raises_is_for_those_without_an_answer(self):
        def handler(batch):
            batch[0].ack()
            raise sdk.Retry("the database is away", delay=5)
        self.handled(handler)
        self.expect(tagged("ack", 1), tagged("retry-later", 2), tagged("ack", 3), "bye")


class SoftLimits(SdkTest):
    """The pool's soft limit: raised in the handler's middle, once, and only for its message."""

    def limited(self, handler, *frames, soft=100):
        self.gateway.send(welcome(soft=soft), *frames)
        return self.run_with(handler)

    def frames_after_hello(self):
        got = self.gateway.received()
        self.assertEqual(got[5 + 1], 1, "handler style asks for SOFT_LIMIT")
        return got[len(FRAMES["hello-plain"]):]

    def late(self, tag):
        self.gateway.send(tagged("soft-limit", tag))

    def test_it_ends_a_system_call_that_waits(self):
        def handler(message):
            self.late(1)
            begun = time.monotonic()
            try:
                time.sleep(30)
            except sdk.SoftTimeLimit:
                self.assertLess(time.monotonic() - begun, 20)
                message.release()
                self.gateway.send("drain")
        self.limited(handler, deliver(1))
        self.assertEqual(self.frames_after_hello(), as_bytes([tagged("release", 1), "bye"]))

    def test_it_ends_a_loop_that_swallows_exceptions(self):
        def handler(message):
            self.late(1)
            self.gateway.send("drain")
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(0.001)
        self.assertIn("SoftTimeLimit", self.limited(handler, deliver(1)))
        self.assertIn(b"the soft time limit has passed", self.frames_after_hello())

    def test_it_ends_a_publish_that_waits_for_its_answer(self):
        def handler(message):
            self.late(1)
            self.gateway.send("drain")
            self.worker.publish("a")
        self.assertIn("SoftTimeLimit", self.limited(handler, deliver(1)))

    def test_what_is_being_written_is_written_whole(self):
        got = bytearray()

        def handler(message):
            self.late(1)
            self.gateway.send("drain")
            try:
                while True:
                    message.progress(0.4)
                    got.extend(self.gateway.received())
            except sdk.SoftTimeLimit:
                got.extend(self.gateway.received())
        self.limited(handler, deliver(1), soft=20)
        frames = bytes(got)[len(FRAMES["hello-plain"]):] + self.gateway.received()
        self.assertEqual(frames.replace(tagged("progress", 1), b""), as_bytes([tagged("ack", 1), "bye"]))

    def test_a_signal_in_the_middle_of_a_write_waits_for_its_end(self):
        def handler(message):
            session = self.worker._session
            put = session._put

            def interrupted(*frame):
                session.soft.append(1)
                signal.raise_signal(signal.SIGURG)
                put(*frame)
            session._put = interrupted
            try:
                message.progress(0.4)
            finally:
                session._put = put
                self.gateway.send("drain")
        self.assertIn("SoftTimeLimit", self.limited(handler, deliver(1), soft=50000))
        self.assertTrue(self.frames_after_hello().startswith(tagged("progress", 1)))

    def test_a_limit_of_an_other_message_is_not_this_ones(self):
        def handler(message):
            self.late(2)
            self.gateway.send("drain")
            time.sleep(0.2)
        self.limited(handler, deliver(1), soft=20)
        self.assertEqual(self.frames_after_hello(), as_bytes([tagged("ack", 1), "bye"]))

    def test_after_the_answer_it_is_not_raised(self):
        def handler(message):
            message.ack()
            self.late(1)
            self.gateway.send("drain")
            time.sleep(0.2)
        self.assertEqual(self.limited(handler, deliver(1), soft=20), "")

    def test_in_a_batch_the_limit_of_one_is_the_batchs(self):
        def handler(batch):
            self.late(2)
            self.gateway.send("drain")
            time.sleep(30)
        self.worker.batch_handler(max=2)(handler)
        self.assertIn("SoftTimeLimit", self.limited(None, deliver(1), deliver(2)))


class External(unittest.TestCase):
    """Workers that came by a `worker_socket`."""

    def setUp(self):
        not_for_ever(self)
        folder = tempfile.TemporaryDirectory(prefix="sluice-")
        self.addCleanup(folder.cleanup)
        self.listener = Listener(folder.name)
        self.addCleanup(self.listener.close)
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))

    def gateways(self, *scenes):
        """A thread that lets one worker in for each scene."""
        def play():
            for scene in scenes:
                gateway = self.listener.accept()
                scene(gateway)
                gateway.close()
        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 30)

    def worker(self, **more):
        return sdk.Worker(name="demo", soft_limit=False, worker_socket=self.listener.path, **more)

    def run_quietly(self, worker, handler):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            worker.run(handler)
        return errors.getvalue()

    def greeted(self, gateway, *frames, hello="hello-plain"):
        self.assertEqual(gateway.read(len(FRAMES[hello])), FRAMES[hello])
        gateway.send("welcome-external", *frames)

    def test_the_token_is_in_hello(self):
        worker = self.worker(token="s3cret")
        self.gateways(lambda g: self.greeted(g, hello="hello-token"))
        worker.connect()
        self.assertTrue(worker.external)
        worker.close()

    def test_environment_tells_where(self):
        worker = sdk.Worker(name="demo")
        before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.update(SLUICE_SOCKET=self.listener.path, SLUICE_TOKEN="s3cret")
        os.environ.pop("SLUICE_FD", None)
        self.gateways(lambda g: self.greeted(g, hello="hello-token"))
        worker.connect()
        worker.close()

    def test_it_comes_back_after_a_loss_and_after_a_drain(self):
        def lost(gateway):
            self.greeted(gateway, deliver(1))
            self.let_go.wait(30)

        def drained(gateway):
            self.greeted(gateway, deliver(1), "drain")
            wanted = as_bytes([tagged("ack", 1), "bye"])
            self.assertEqual(gateway.read(len(wanted)), wanted)

        def last(gateway):
            self.greeted(gateway)
            worker.stop()
        self.let_go = threading.Event()
        worker, seen = self.worker(), []

        def handler(message):
            seen.append(message)
            self.let_go.set()
            if len(seen) == 1:
                while not worker._session.failure:
                    worker._session.look(0.01)
        self.gateways(lost, drained, last)
        errors = self.run_quietly(worker, handler)
        self.assertEqual((len(seen), worker.stale_answers), (2, 1))
        self.assertTrue(seen[0].stale)
        self.assertIn("again in", errors)

    def test_a_refusal_for_good_ends_it(self):
        def refuse(gateway):
            gateway.read(len(FRAMES["hello-plain"]))
            gateway.send("error-denied")
        self.gateways(refuse)
        with self.assertRaises(SystemExit) as end:
            self.run_quietly(self.worker(), lambda m: None)
        self.assertEqual(end.exception.code, 1)

    def test_sigterm_ends_the_wait_for_a_gateway_that_is_away(self):
        self.listener.close()
        worker = self.worker()
        worker._backoff._next = 1000
        told = worker._pause
        worker._pause = lambda seconds: (os.kill(os.getpid(), signal.SIGTERM), told(seconds))
        self.assertIn("again in", self.run_quietly(worker, lambda m: None))

    def test_waits_double_up_to_a_limit_and_are_never_all_the_same(self):
        from sluice_worker.where import Backoff
        longest, shortest = Backoff(dice=lambda: 0), Backoff(dice=lambda: 1)
        self.assertEqual([longest.wait() for _ in range(8)], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        self.assertEqual([shortest.wait() for _ in range(3)], [0.05, 0.1, 0.2])
        longest.reset()
        self.assertEqual(longest.wait(), 0.1)


if __name__ == "__main__":
    unittest.main()
