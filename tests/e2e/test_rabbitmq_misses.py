"""What a STOMP server easily gets wrong, byte by byte and in all versions: what an ERROR ends, what
is escaped and what is not, where a frame stops, in which order receipts come, what a transaction
holds, what may be too much. Most of these RabbitMQ's STOMP plugin is known to miss or has missed."""

import socket
import time
import unittest

import harness
from stomp_wire import VERSIONS, Raw, connect, frame, receipts

MAX_HEADERS, MAX_HEADER_BYTES, MAX_COMMAND = 128, 16 << 10, 16
MIB = 1 << 20

SEND_AFTER = frame("SEND\ndestination:/queue/work\nreceipt:after", b"after")
# In which versions it is wrong, and what is.
WRONG = [
    (VERSIONS, frame("PUBLISH\ndestination:/queue/work")),
    (VERSIONS, frame("MESSAGE\ndestination:/queue/work")),
    (VERSIONS, frame("send\ndestination:/queue/work")),
    (VERSIONS, connect()),
    (VERSIONS, frame("SEND\ndestination")),
    (VERSIONS, frame("SEND\n:/queue/work")),
    (VERSIONS, frame("SEND")),
    (VERSIONS, b"SEND\ndestination:/queue/work\nk:\xff\n\n\0"),
    (VERSIONS, b"SEND\ndestination:/queue/work\0"),
    (VERSIONS, frame("SEND\ndestination:/exchange/work")),
    (VERSIONS, frame("SEND\ndestination:work")),
    (VERSIONS, frame("SEND\ndestination:/queue/")),
    (VERSIONS, frame("SEND\ndestination:/queue/nobody")),
    (VERSIONS, frame("SEND\ndestination:/topic/work.*.#")),
    (VERSIONS, frame("SEND\ndestination:/topic/$SYS/x")),
    (VERSIONS, frame("SEND\ndestination:/queue/work\ntransaction:none")),
    (VERSIONS, frame("SEND\ndestination:/queue/work\ncontent-length:five", b"12345")),
    (VERSIONS, frame("SEND\ndestination:/queue/work\ncontent-length:2", b"123")),
    (VERSIONS, frame("BEGIN")),
    (VERSIONS, frame("BEGIN\ntransaction:t") * 2),
    (VERSIONS, frame("COMMIT\ntransaction:none")),
    (VERSIONS, frame("ABORT\ntransaction:none")),
    (VERSIONS, frame("SUBSCRIBE\nid:0")),
    (VERSIONS, frame("SUBSCRIBE\nid:0\ndestination:/queue/nobody")),
    (VERSIONS, frame("SUBSCRIBE\nid:0\ndestination:/queue/work\nack:perhaps")),
    (VERSIONS, frame("UNSUBSCRIBE\nid:none\ndestination:/queue/none")),
    (VERSIONS, frame("ACK\nid:one\nmessage-id:one\nsubscription:0")),
    (("1.0",), frame("NACK\nid:1-1\nmessage-id:1-1")),
    (("1.0",), frame("SUBSCRIBE\ndestination:/queue/work\nack:client-individual")),
    (("1.1", "1.2"), frame("NACK\nid:one\nmessage-id:one\nsubscription:0")),
    (("1.1", "1.2"), frame("SUBSCRIBE\ndestination:/queue/work")),
    (("1.1", "1.2"), frame("UNSUBSCRIBE\ndestination:/queue/work")),
    (("1.1", "1.2"), frame("BEGIN\ntransaction:t", b"body")),
    (("1.1", "1.2"), frame("SEND\ndestination:/queue/work\nk:a\\tb")),
    (("1.1",), frame("SEND\ndestination:/queue/work\nk:a\\rb")),
    (("1.1",), frame("ACK\nmessage-id:1-1")),
    (("1.2",), b"SEND\ndestination:/queue/work\nk:a\rb\n\n\0"),
    (("1.2",), frame("ACK\nmessage-id:1-1\nsubscription:0")),
]


class Errors(Raw):
    """An ERROR is the last frame, and the frame that it is about is the last that counts."""

    def test_nothing_after_a_wrong_frame_is_processed(self):
        """All in one segment: the wrong frame, and what would have been right without it."""
        self.start()
        for versions, wrong in WRONG:
            for version in versions:
                with self.subTest(version=version, wrong=wrong):
                    w = self.wire(version)
                    w.send(wrong + SEND_AFTER * 3)
                    left = w.frames()
                    self.assertEqual([f[0] for f in left], ["ERROR"], left)
                    self.assertNotIn("receipt-id", left[0][1])
                    w.close()
        self.assertEqual(self.accepted(), 0)

    def test_nothing_that_follows_an_error_later_is_processed(self):
        """A client that does not look goes on sending until it may not."""
        self.start()
        for version in VERSIONS:
            w = self.wire(version)
            w.send(frame("WRONG"))
            try:
                for _ in range(200):
                    w.send(SEND_AFTER)
            except (ConnectionError, BrokenPipeError):
                pass
            w.close()
        harness.wait_for(lambda: self.gw.summary()[""]["connections"] == 0, "the connections to go")
        self.assertEqual(self.accepted(), 0)

    def test_an_error_reaches_a_client_that_has_not_stopped_to_send(self):
        """Unread input does not turn the end into a reset that would destroy the ERROR."""
        self.start()
        for version in VERSIONS:
            for _ in range(10):
                w = self.wire(version)
                w.send(frame("WRONG") + SEND_AFTER * 5000)
                self.error(w, "unknown command")
                w.close()
        self.assertEqual(self.accepted(), 0)

    def test_what_stood_before_the_wrong_frame_counts(self):
        def claim(version):
            before = self.accepted()
            w = self.wire(version)
            w.send(frame("SEND\ndestination:/queue/work\nreceipt:1", b"1")
                   + frame("SEND\ndestination:/queue/work", b"2") + frame("WRONG\nreceipt:3"))
            left = w.frames()
            self.assertEqual(left[-1][0], "ERROR")
            self.assertNotEqual(left[-1][1].get("receipt-id"), "1")
            self.assertEqual(self.accepted(), before + 2)
        self.start()
        self.in_all(claim)

    def test_a_message_that_a_full_queue_refuses_ends_all_that_follows(self):
        self.start({"work": {}, "full": {"max_messages": 1, "overflow": "reject"}})
        w = self.wire("1.2")
        w.send(frame("SEND\ndestination:/queue/full\nreceipt:1", b"1"))
        self.assertEqual(w.take(len(receipts(1))), receipts(1))
        w.send(frame("SEND\ndestination:/queue/full\nreceipt:2", b"2") + SEND_AFTER)
        _, headers, _ = self.error(w, "quota exceeded")
        self.assertEqual(headers["receipt-id"], "2")
        self.assertEqual(self.accepted(), 0)
        w = self.wire("1.2")
        w.send(frame("BEGIN\ntransaction:t") + frame("SEND\ndestination:/queue/work\ntransaction:t", b"1")
               + frame("SEND\ndestination:/queue/full\ntransaction:t", b"2") + frame("COMMIT\ntransaction:t\nreceipt:3")
               + SEND_AFTER)
        _, headers, _ = self.error(w, "quota exceeded")
        self.assertEqual(headers["receipt-id"], "3")
        self.assertEqual(self.accepted(), 0)

    def test_an_error_is_told_by_its_frame(self):
        """message, receipt-id, the offending header lines; and a length that is true."""
        self.start()
        for version in VERSIONS:
            w = self.wire(version)
            w.send(frame("SEND\ndestination:/nowhere\nreceipt:r-7\nk:v", b"secret body"))
            _, headers, body = self.error(w, "invalid destination")
            self.assertEqual(headers["receipt-id"], "r-7")
            self.assertEqual(headers["content-type"], "text/plain")
            self.assertEqual(int(headers["content-length"]), len(body))
            for line in (b"> SEND\n", b"> destination:/nowhere\n", b"> receipt:r-7\n", b"> k:v\n"):
                self.assertIn(line, body)
            self.assertNotIn(b"secret", body)

    def test_a_passcode_is_in_no_error_and_no_log(self):
        self.start()
        for text in ("CONNECT\naccept-version:9\nhost:h\nlogin:joe\npasscode:hunter2",
                     "CONNECT\naccept-version:1.2\nlogin:joe\npasscode:hunter2\n\nbody",
                     "CONNECT\naccept-version:1.2\nhost:h\npasscode:hunter2\nheart-beat:x"):
            w = self.wire()
            w.send(frame(text))
            self.assertNotIn(b"hunter2", w.rest())
        self.assertEqual([l for l in self.gw.log.lines if "hunter2" in l], [])


class Connecting(Raw):
    def test_connect_is_not_unescaped_and_connected_not_escaped(self):
        """Also what would be no escape at all is text there."""
        self.start()
        for version in VERSIONS:
            for name in ("a\\cb", "a\\nb", "a\\\\b", "a\\tb", "a:b", "\\"):
                with self.subTest(version=version, name=name):
                    w = self.wire()
                    w.send(connect(version, f"client-id:{name}", "login:a\\xb"))
                    head = w.take(len(f"CONNECTED\nversion:{version}\nsession:{name}\n")).decode()
                    self.assertEqual(head, f"CONNECTED\nversion:{version}\nsession:{name}\n")
                    w.close()

    def test_the_first_frame_is_connect_or_nothing_is_processed(self):
        """No implicit CONNECT."""
        self.start()
        for first in (SEND_AFTER, frame("SUBSCRIBE\nid:0\ndestination:/queue/work"), frame("DISCONNECT"),
                      frame("BEGIN\ntransaction:t")):
            w = self.wire()
            w.send(first + connect() + SEND_AFTER)
            self.error(w, "not connected")
        self.assertEqual(self.accepted(), 0)

    def test_a_second_connect_ends_the_connection(self):
        def claim(version):
            w = self.wire(version)
            w.send(connect(version) + SEND_AFTER)
            self.error(w, "already connected")
        self.start()
        self.in_all(claim)
        self.assertEqual(self.accepted(), 0)

    def test_versions_are_agreed_on_or_refused_and_none_is_1_0(self):
        self.start()
        for offer, got in (("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.2"), ("1.0,1.1,2.0", "1.1"), ("1.2,1.1", "1.2"),
                           ("2.0,1.0", "1.0")):
            for command in ("CONNECT", "STOMP"):
                w = self.wire()
                w.send(connect(offer, command=command))
                command_got, headers, _ = w.frame()
                self.assertEqual((command_got, headers["version"]), ("CONNECTED", got))
                w.close()
        for offer in ("2.0", "", "1", "1.3", "x", "1.20"):
            w = self.wire()
            w.send(connect(offer) + SEND_AFTER)
            _, headers, _ = self.error(w, "unsupported version")
            self.assertEqual(headers["version"], "1.0,1.1,1.2")
        w = self.wire()
        w.send(frame("CONNECT") + frame("SEND\ndestination:/queue/work\nreceipt:a\\tb", b"1"))
        self.assertEqual(w.frame()[1]["version"], "1.0")
        self.assertEqual(w.take(len(receipts("a\\tb"))), receipts("a\\tb"))
        self.assertEqual(self.accepted(), 1)

    def test_the_server_names_itself_and_each_session(self):
        def claim(version):
            first, second = self.wire(version).connected[1], self.wire(version).connected[1]
            self.assertRegex(first["server"], r"^[^\s/:]+/[^\s/:]+$")
            self.assertTrue(first["session"])
            self.assertNotEqual(first["session"], second["session"])
        self.start()
        self.in_all(claim)

    def test_a_heart_beat_that_is_none_is_told_and_never_a_crash(self):
        self.start()
        for version in ("1.1", "1.2"):
            for bad in ("", "1", ",", "1,", ",1", "a,b", "-1,0", "0, 0", "1,2,3", "1.5,0", "4294967296,0", "1e3,0"):
                with self.subTest(version=version, bad=bad):
                    w = self.wire()
                    w.send(connect(version, f"heart-beat:{bad}") + SEND_AFTER)
                    self.error(w, "invalid header")
        self.assertEqual(self.accepted(), 0)

    def test_a_receipt_is_not_given_for_connect(self):
        def claim(version):
            w = self.wire()
            w.send(connect(version, "receipt:c") + frame("SEND\ndestination:/queue/work\nreceipt:1"))
            self.assertEqual(w.frame()[0], "CONNECTED")
            self.assertEqual(w.take(len(receipts(1))), receipts(1))
        self.start()
        self.in_all(claim)

    def test_clients_may_come_and_go_as_fast_as_they_can(self):
        """Each sends all it has in one segment and is gone; what it sent is processed."""
        self.start()
        talk = frame("SEND\ndestination:/queue/work", b"x") + frame("DISCONNECT")
        for i in range(600):
            with socket.create_connection(("127.0.0.1", self.gw.stomp), 30) as s:
                s.sendall(connect(VERSIONS[i % 3]) + talk)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
        self.gw.await_queue("work", lambda n: n["accepted"] == 600, "all of them")
        harness.wait_for(lambda: self.gw.summary()[""]["connections"] == 0, "the connections to go")

    def test_a_client_may_leave_without_a_word(self):
        """Frames that came complete are processed, half a frame is not."""
        self.start()
        for version in VERSIONS:
            w = self.wire(version)
            w.send(frame("SEND\ndestination:/queue/work", b"whole") + b"SEND\ndestination:/queue/work\n\nhalf")
            w.close()
        self.gw.await_queue("work", lambda n: n["accepted"] == 3, "the whole ones")
        harness.wait_for(lambda: self.gw.summary()[""]["connections"] == 0, "the connections to go")
        self.assertEqual(self.accepted(), 3)


class Bytes(Raw):
    """What is in a frame, and where it ends."""

    def test_ids_we_send_are_escaped(self):
        self.start()
        for version, id_on_wire in (("1.0", "a:b\\n\\c\\"), ("1.1", "a\\cb\\n\\\\\rc"),
                                    ("1.2", "a\\cb\\n\\\\c\\r\\\\")):
            with self.subTest(version=version):
                w = self.wire(version)
                want = receipts(id_on_wire)
                w.send(f"SEND\ndestination:/queue/work\nreceipt:{id_on_wire}\n\n\0".encode())
                self.assertEqual(w.take(len(want)), want)
                w.send(f"BEGIN\ntransaction:{id_on_wire}\nreceipt:{id_on_wire}\n\n\0".encode())
                self.assertEqual(w.take(len(want)), want)
                w.send(f"SEND\nreceipt:{id_on_wire}\n\n\0".encode())
                self.assertIn(f"\nreceipt-id:{id_on_wire}\n".encode(), w.rest())

    def test_a_frame_ends_with_nul_and_nothing_follows(self):
        """No line feed of ours: clients on small devices take it for the start of a frame."""
        def claim(version):
            w = self.wire(version)
            w.send(frame("SEND\ndestination:/queue/work\nreceipt:1") + frame("BEGIN\ntransaction:t\nreceipt:2")
                   + frame("DISCONNECT\nreceipt:3"))
            self.assertEqual(w.rest(), receipts(1, 2, 3))
        self.start()
        self.in_all(claim)

    def test_bodies_are_bytes_and_never_altered(self):
        """NUL where the length is told, line ends, all octets, nothing."""
        self.start()
        listener = self.listener("bytes/#")
        octets = bytes(range(256))
        for version in VERSIONS:
            w = self.wire(version)
            for body in (b"\0", b"\0\0\0", b"a\0SEND\n\n\0b", octets, b"\n", b"x\r\n\r\n", b"\\n\\c\\", b""):
                w.send(frame(f"SEND\ndestination:/topic/bytes/x\ncontent-length:{len(body)}", body))
                self.assertEqual(listener.get().payload, body)
            for body in (b"\n\nx\n", b"\xff\xfe", b"\\c", b" ", b"x" * 5000):
                w.send(frame("SEND\ndestination:/topic/bytes/x", body))
                self.assertEqual(listener.get().payload, body)

    def test_headers_go_with_the_message_whole_and_in_order(self):
        """No trimming, no loss of repeated ones; the protocol's own count once, the first of them."""
        self.start()
        listener = self.listener("first/#", "second/#")
        w = self.wire("1.2")
        w.send(frame("SEND\ndestination:/topic/first/x\ndestination:/topic/second/x\nk: v \n k:\nk:w\nr\\cs:t\\nu\n"
                     "content-type:a/b\ncontent-type:c/d\nreceipt:1\nreceipt:2\ncontent-length:3\ncontent-length:1",
                     b"abc"))
        m = listener.get()
        self.assertEqual((m.topic, m.payload), ("first/x", b"abc"))
        self.assertEqual(m.properties["content_type"], "a/b")
        self.assertEqual(m.properties["user"], [("k", " v "), (" k", ""), ("k", "w"), ("r:s", "t\nu")])
        self.assertEqual(w.take(len(receipts(1))), receipts(1))
        w.send(frame("DISCONNECT\nreceipt:3"))
        self.assertEqual(w.rest(), receipts(3))

    def test_lines_may_end_in_cr_lf_and_frames_in_many(self):
        def claim(version):
            w = self.wire()
            w.send(b"\r\n\n" + connect(version).replace(b"\n", b"\r\n") + b"\r\n\n\r\n"
                   + b"SEND\r\ndestination:/topic/lines/x\r\nk:v\r\nreceipt:1\r\n\r\nbody\r\n\0\r\n\n")
            self.assertEqual(w.frame()[0], "CONNECTED")
            self.assertEqual(w.take(len(receipts(1))), receipts(1))
            m = listener.get()
            self.assertEqual((m.payload, m.properties["user"]), (b"body\r\n", [("k", "v")]))
        self.start()
        listener = self.listener("lines/#")
        self.in_all(claim)

    def test_a_talk_in_single_bytes_is_the_same_talk(self):
        def claim(version):
            w = self.wire()
            talk = connect(version) + TALK
            for i in range(len(talk)):
                w.send(talk[i:i + 1])
            self.assertEqual(w.frame()[0], "CONNECTED")
            self.assertEqual(w.rest(), receipts(1, 2, 3, 4, 5))
        self.start()
        self.in_all(claim)
        self.assertEqual(self.accepted(), 2 * len(VERSIONS))


TALK = (frame("SEND\ndestination:/queue/work\nreceipt:1", b"x") + frame("BEGIN\ntransaction:t\nreceipt:2")
        + frame("SEND\ndestination:/queue/work\ntransaction:t\nreceipt:3", b"y")
        + frame("COMMIT\ntransaction:t\nreceipt:4") + frame("DISCONNECT\nreceipt:5"))


class Receipts(Raw):
    def test_receipts_come_in_the_order_of_their_frames(self):
        """One that is quick, or that nobody takes, does not overtake one that waits for the disk."""
        self.start()
        for version in VERSIONS:
            w = self.wire(version)
            talk, ids = b"", []
            for i in range(0, 350, 7):
                talk += (frame(f"SEND\ndestination:/queue/work\nreceipt:{i}", b"x" * (i * 10))
                         + frame("SEND\ndestination:/queue/work", b"without")
                         + frame(f"BEGIN\ntransaction:{i}\nreceipt:{i + 1}")
                         + frame(f"SEND\ndestination:/queue/work\ntransaction:{i}\nreceipt:{i + 2}", b"y")
                         + frame(f"COMMIT\ntransaction:{i}\nreceipt:{i + 3}")
                         + frame(f"BEGIN\ntransaction:{i}\nreceipt:{i + 4}")
                         + frame(f"ABORT\ntransaction:{i}\nreceipt:{i + 5}")
                         + frame(f"SEND\ndestination:/topic/nobody\nreceipt:{i + 6}", b"z"))
                ids += range(i, i + 7)
            w.send(talk + frame("DISCONNECT\nreceipt:bye"))
            self.assertEqual(w.rest(), receipts(*ids, "bye"))
        self.assertEqual(self.accepted(), 150 * len(VERSIONS))

    def test_receipt_means_stored(self):
        """Killed at once, it is there."""
        self.start()
        w = self.wire("1.2")
        w.send(frame("SEND\ndestination:/queue/work\nreceipt:1", b"kept"))
        w.take(len(receipts(1)))
        self.gw.kill()
        self.assertEqual([e["payload"] for e in harness.dump(self.gw.data)], [b"kept"])

    def test_disconnect_is_answered_and_nothing_after_it_is_read(self):
        def claim(version):
            before = self.accepted()
            w = self.wire(version)
            w.send(frame("SEND\ndestination:/queue/work", b"before") + frame("DISCONNECT\nreceipt:bye") + SEND_AFTER)
            self.assertEqual(w.rest(), receipts("bye"))
            self.assertEqual(self.accepted(), before + 1)
        self.start()
        self.in_all(claim)


class Transactions(Raw):
    SENT = frame("BEGIN\ntransaction:t") + frame("SEND\ndestination:/queue/work\ntransaction:t\nreceipt:1", b"1")

    def pending(self, version="1.2"):
        w = self.wire(version)
        w.send(self.SENT)
        self.assertEqual(w.take(len(receipts(1))), receipts(1))
        return w

    def test_nothing_of_a_transaction_is_there_before_its_commit(self):
        def claim(version):
            before = self.accepted()
            w = self.pending(version)
            self.assertEqual(self.accepted(), before)
            w.send(frame("SEND\ndestination:/queue/work\ntransaction:t", b"2")
                   + frame("COMMIT\ntransaction:t\nreceipt:2"))
            self.assertEqual(w.take(len(receipts(2))), receipts(2))
            self.assertEqual(self.accepted(), before + 2)
        self.start()
        self.in_all(claim)

    def test_a_transaction_ends_with_its_connection(self):
        """By ABORT, by DISCONNECT, by an ERROR, by loss."""
        self.start()
        for end in (frame("ABORT\ntransaction:t") + frame("DISCONNECT"), frame("DISCONNECT"), frame("WRONG"), b""):
            w = self.pending()
            if end:
                w.send(end)
                w.rest()
            w.close()
        harness.wait_for(lambda: self.gw.summary()[""]["connections"] == 0, "the connections to go")
        self.assertEqual(self.accepted(), 0)

    def test_names_are_of_one_connection(self):
        self.start()
        first, second = self.pending(), self.pending()
        stranger = self.wire("1.2")
        stranger.send(frame("COMMIT\ntransaction:t\nreceipt:9"))
        self.error(stranger, "unknown transaction")
        first.send(frame("COMMIT\ntransaction:t\nreceipt:2"))
        self.assertEqual(first.take(len(receipts(2))), receipts(2))
        self.assertEqual(self.accepted(), 1)
        second.send(frame("ABORT\ntransaction:t\nreceipt:2"))
        self.assertEqual(second.take(len(receipts(2))), receipts(2))
        self.assertEqual(self.accepted(), 1)

    def test_transactions_run_beside_each_other(self):
        self.start()
        w = self.wire("1.2")
        talk = b"".join(frame(f"BEGIN\ntransaction:{i}") for i in range(8))
        for n in range(5):
            talk += b"".join(frame(f"SEND\ndestination:/queue/work\ntransaction:{i}", b"%d" % n) for i in range(8))
        talk += b"".join(frame(f"{('COMMIT', 'ABORT')[i % 2]}\ntransaction:{i}\nreceipt:{i}") for i in range(8))
        w.send(talk)
        want = receipts(*range(8))
        self.assertEqual(w.take(len(want)), want)
        self.assertEqual(self.accepted(), 20)


class Endless(Raw):
    """What does not end is cut off at its limit, without waiting for its end."""

    def cut_off(self, version, head, filler, message):
        """Nothing after `filler` is needed for the gateway to see that it is too much."""
        w = self.wire(version)
        if head:
            w.send(head)
        w.send(filler)
        self.error(w, message, 10)
        w.close()

    def test_an_endless_command(self):
        self.start()
        for version in (None, *VERSIONS):
            self.cut_off(version, b"", b"A" * (MAX_COMMAND + 2), "command too long")

    def test_an_endless_header_line(self):
        self.start()
        for version in (None, *VERSIONS):
            for name in (b"", b"k:"):
                start = b"CONNECT\n" if version is None else b"SEND\n"
                self.cut_off(version, start + name, b"a" * (MAX_HEADER_BYTES + 2), "header too long")

    def test_endless_headers(self):
        """Of different names, and of the same."""
        self.start()
        for version in (None, *VERSIONS):
            start = b"CONNECT\n" if version is None else b"SEND\n"
            for same in (True, False):
                lines = b"".join(b"k%d:v\n" % (0 if same else i) for i in range(MAX_HEADERS + 1))
                self.cut_off(version, start, lines, "too many headers")

    def test_as_much_as_is_allowed_passes(self):
        self.start(limits={"max_message": "64KiB"})
        for version in VERSIONS:
            w = self.wire(version)
            head = b"SEND\ndestination:/queue/work\nreceipt:1\n"
            head += b"".join(b"k%d:v\n" % i for i in range(MAX_HEADERS - 4)) + b"content-length:65536\n"
            w.send(head + b"k:" + b"a" * (MAX_HEADER_BYTES - 2) + b"\n\n" + b"x" * 65536 + b"\0")
            self.assertEqual(w.take(len(receipts(1))), receipts(1))

    def test_an_endless_body(self):
        """An announced one is refused before a byte of it is sent."""
        self.start(limits={"max_message": "64KiB"})
        for version in VERSIONS:
            for length in ("65537", "9" * 19, "9" * 40):
                self.cut_off(version, b"", f"SEND\ndestination:/queue/work\ncontent-length:{length}\n\n".encode(),
                             "message too large")
            self.cut_off(version, b"SEND\ndestination:/queue/work\n\n", b"x" * 65537, "message too large")
        self.assertEqual(self.accepted(), 0)

    def test_a_frame_before_connected_is_cut_off_whatever_it_holds(self):
        self.start(limits={"partial_packet": "8KiB"})
        self.cut_off(None, b"", b"CONNECT\ncontent-length:8192\n\n", "frame too large")
        self.cut_off(None, b"CONNECT\n\n", b"x" * 8192, "frame too large")
        self.cut_off(None, b"CONNECT\n", b"".join(b"k%d:%0200d\n" % (i, 0) for i in range(40)), "frame too large")

    def test_memory_stays_bounded_whoever_goes_on(self):
        """Fifty clients at once, each with what never ends; none is read on."""
        self.start(limits={"partial_packet": "8KiB"})
        self.wire("1.2").close()
        before = self.rss()
        for version, head, filler in ((None, b"", b"A" * MIB), (None, b"CONNECT\nk:", b"a" * MIB),
                                      (None, b"CONNECT\n", b"k:v\n" * (MIB // 4)), ("1.2", b"", b"A" * MIB),
                                      ("1.2", b"SEND\nk:", b"a" * MIB), ("1.2", b"SEND\n", b"k:v\n" * (MIB // 4))):
            clients = [self.wire(version) for _ in range(50)]
            for w in clients:
                w.socket.settimeout(5)
                try:
                    w.send(head + filler)
                except (ConnectionError, socket.timeout):
                    pass
            for w in clients:
                w.close()
        grown = self.rss() - before
        print({"rss_growth": grown}, flush=True)
        self.assertLess(grown, 16 * MIB)
        self.wire("1.2")

    def rss(self):
        with open(f"/proc/{self.gw.process.pid}/status") as f:
            return next(int(l.split()[1]) << 10 for l in f if l.startswith("VmRSS"))


class HeartBeats(Raw):
    def test_a_silent_server_is_heard_in_time(self):
        """A line feed and nothing else."""
        self.start()
        clients = []
        for version in ("1.1", "1.2"):
            w = self.wire()
            w.send(connect(version, "heart-beat:0,1"))
            self.assertEqual(w.frame()[1]["heart-beat"], "10000,10000")
            clients.append((w, time.monotonic()))
        for w, begun in clients:
            self.assertEqual(w.take(1, 12), b"\n")
            self.assertLess(time.monotonic() - begun, 10)
            self.assertEqual(w.data, b"")


if __name__ == "__main__":
    unittest.main()
