"""The Python SDK against a gateway that lives in the test (a socketpair), with the recorded
frames of frames.txt: what it writes is compared byte by byte with what the C side writes."""

import contextlib
import io
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SDK = ROOT / "workers" / "python"
sys.path.insert(0, str(SDK))

import sluice_worker as sdk  # noqa: E402


def load_frames():
    frames = {}
    for line in (HERE / "frames.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, hexed, _ = line.split(" | ", 3)
            frames[name] = bytes.fromhex(hexed)
    return frames


FRAMES = load_frames()


def deliver(tag, attempt=1, flags=0, payload=b"21.5"):
    frame = bytearray(FRAMES["deliver-bare"])
    frame[5:22] = struct.pack("<QIIB", tag, attempt, 5, flags)
    record_id, payload_length = 22 + 8, 22 + 60
    frame[record_id:record_id + 8] = struct.pack("<Q", tag)
    frame[payload_length:payload_length + 4] = struct.pack("<I", len(payload))
    frame += payload
    frame[0:4] = struct.pack("<I", len(frame) - 4)
    return bytes(frame)


def tagged(name, tag):
    return FRAMES[name][:5] + struct.pack("<Q", tag)


class Gateway:
    def __init__(self):
        self.socket, self.worker_end = socket.socketpair()

    def send(self, *frames):
        self.socket.sendall(b"".join(FRAMES[f] if isinstance(f, str) else f for f in frames))

    def received(self):
        """What is there now."""
        data = b""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while True:
                got = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
                if not got:
                    break
                data += got
        return data

    def close(self):
        self.socket.close()


class SdkTest(unittest.TestCase):
    def setUp(self):
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
        wanted = b"".join(FRAMES[n] if isinstance(n, str) else n for n in names)
        self.assertEqual(self.gateway.received(), wanted)


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
            self.worker._look()
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
        message = next(self.worker.messages())
        with self.assertRaises(sdk.ProtocolError):
            message.topic

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
        self.worker.publish("alerts/t", b"hot")
        self.worker.flush()
        self.expect("publish")

    def test_publish_with_everything_tied_to_a_message(self):
        message = self.one_message()
        message.publish("alerts/t", {"t": 91}, retain=True,
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


if __name__ == "__main__":
    unittest.main()
