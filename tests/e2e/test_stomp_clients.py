"""STOMP clients that people use, in the versions that each of them speaks: they send, subscribe,
acknowledge and refuse in every ack mode, use transactions and heart-beats, have replies, and come
back after the gateway was killed."""

import signal
import unittest

import harness
import mqtt_raw
import stomp_drivers
import stomp_raw

BYTES = bytes(range(256)) + "grüße ☂".encode() + b"\0\0"
QUEUES = {"work": {"max_attempts": 5, "retry": {"initial": "10ms", "factor": 1}}, "done": {}}
HEADERS = {  # those that the version can carry
    "1.0": {"plain": "value", "colon": "a:b:c", "backslash": "back\\slash", "utf8": "grüße ☂"},
    "1.1": {"plain": "value", "colon": "a:b:c", "backslash": "back\\slash\\", "utf8": "grüße ☂",
            "newline": "one\ntwo\n", "empty": ""},
    "1.2": {"plain": "value", "colon": "a:b:c", "backslash": "back\\slash\\", "utf8": "grüße ☂",
            "newline": "one\ntwo", "return": "one\rtwo", "empty": ""},
}


class StompCase(harness.TestCase):
    kind, version = None, None  # a class of stomp_drivers.py

    def setUp(self):
        super().setUp()
        self.gw = self.gateway(harness.config(QUEUES)).start()

    def peer(self, **options):
        return self.kind(self, self.gw, self.version, **options)

    def raw(self):
        c = stomp_raw.Client(self.gw.stomp)
        self.addCleanup(c.close)
        return c

    def modes(self):
        return ("auto", "client") + (("client-individual",) if self.version != "1.0" else ())

    def each(self):
        """The mode in which an answer counts for one message, where there is such a one."""
        return self.modes()[-1]

    def numbered(self, n, start=0):
        return [b"m%d" % i for i in range(start, start + n)]

    def put(self, destination, bodies):
        c = self.raw()
        for body in bodies:
            c.put(destination, body)
        c.disconnect()

    def held(self, queue="work"):
        c = self.gw.counters(queue)
        return c["ready"], c["leased"], c["delayed"]

    def headers(self):
        return HEADERS[self.version]


class Sends:
    """Mixed into a class for each client, like those below."""

    def test_a_receipt_means_that_the_message_is_stored(self):
        peer = self.peer()
        for body in self.numbered(5):
            peer.send("/queue/work", body)
        self.gw.kill()
        self.gw.start()
        self.assertEqual(self.held(), (5, 0, 0))

    def test_bodies_arrive_unaltered(self):
        """Also NUL, nothing, and more than fits into one read."""
        peer, raw = self.peer(), self.raw()
        raw.subscribe("/topic/bytes/*")
        peer.subscribe("/topic/bytes/*")
        bodies = [BYTES, b"", b"\0", BYTES * 500]
        for i, body in enumerate(bodies):
            peer.send(f"/topic/bytes/{i}", body)
            m = raw.take()
            self.assertEqual((m["destination"], m.body), (f"/topic/bytes/{i}", body))
        self.assertEqual(peer.bodies(len(bodies)), bodies)
        for body in bodies:
            raw.put("/topic/bytes/raw", body)
        self.assertEqual(peer.bodies(2 * len(bodies)), 2 * bodies)

    def test_headers_arrive_unaltered(self):
        """With colons, newlines, backslashes and UTF-8, both ways."""
        peer, raw, wanted = self.peer(), self.raw(), self.headers()
        raw.subscribe("/topic/headers")
        peer.subscribe("/topic/headers")
        peer.send("/topic/headers", b"x", content_type="text/x", **wanted)
        raw.put("/topic/headers", b"x", content_type="text/x", **wanted)
        raws = [raw.take().headers for _ in range(2)]
        for got in raws + [m.headers for m in peer.messages(2)]:
            self.assertEqual({k: got.get(k) for k in wanted}, wanted)
            self.assertEqual(got["content-type"], "text/x")

    def test_a_transaction_is_done_whole_at_commit(self):
        """A message taken and one sent."""
        peer = self.peer()
        self.put("/queue/work", [b"in"])
        peer.subscribe("/queue/work", self.each())
        self.assertEqual(peer.bodies(1), [b"in"])
        peer.begin("t1")
        peer.send("/queue/done", b"out", transaction="t1")
        peer.ack(0, transaction="t1")
        self.assertEqual((self.held("work"), self.held("done")), ((0, 1, 0), (0, 0, 0)))
        peer.commit("t1")
        self.assertEqual((self.held("work"), self.held("done")), ((0, 0, 0), (1, 0, 0)))
        peer.subscribe("/queue/done", self.each(), id="s2")
        self.assertEqual(peer.bodies(2)[1], b"out")

    def test_an_aborted_transaction_leaves_nothing_behind(self):
        """And what it had acknowledged may be acknowledged anew."""
        peer = self.peer()
        self.put("/queue/work", [b"in"])
        peer.subscribe("/queue/work", self.each())
        peer.messages(1)
        peer.begin("t1")
        peer.send("/queue/done", b"out", transaction="t1")
        peer.ack(0, transaction="t1")
        peer.abort("t1")
        self.assertEqual((self.held("work"), self.held("done")), ((0, 1, 0), (0, 0, 0)))
        peer.ack(0)
        self.assertEqual((self.held("work"), self.gw.counters("work")["acked"]), ((0, 0, 0), 1))

    def test_a_transaction_that_was_not_committed_goes_with_its_client(self):
        peer = self.peer()
        self.put("/queue/work", [b"in"])
        peer.subscribe("/queue/work", self.each())
        peer.messages(1)
        peer.begin("t1")
        peer.send("/queue/done", b"out", transaction="t1")
        peer.ack(0, transaction="t1")
        peer.kill()
        raw = self.raw()
        raw.subscribe("/queue/work", ack="client-individual")
        self.assertEqual(raw.get().body, b"in")
        self.assertEqual(self.gw.counters("done")["accepted"], 0)

    def test_disconnect_is_answered_after_all_before_it(self):
        peer = self.peer()
        for body in self.numbered(50):
            peer.send("/queue/work", body, wait=False)
        peer.disconnect()
        self.assertEqual(self.held(), (50, 0, 0))


class Receives:
    def test_a_topic_is_received_in_every_ack_mode(self):
        peer, wanted = self.peer(), self.numbered(5)
        for i, mode in enumerate(self.modes()):
            with self.subTest(mode=mode):
                destination = f"/topic/modes.{i}"
                peer.subscribe(destination, mode, id=mode, prefetch_count=5)
                self.put(destination, wanted)
                got = peer.messages(10 * i + 5)[10 * i:]
                self.assertEqual([m.body for m in got], wanted)
                self.assertEqual({m.headers["destination"] for m in got}, {f"/topic/modes/{i}"})
                self.assertEqual({m.headers["subscription"] for m in got}, {mode})
                if mode == "client":
                    peer.ack(10 * i + 4)
                for n in range(5 if mode == "client-individual" else 0):
                    peer.ack(10 * i + n, wait=n == 4)
                self.put(destination, wanted)  # there is room for five unanswered ones: all are answered
                self.assertEqual(peer.bodies(10 * i + 10)[10 * i + 5:], wanted)
                peer.unsubscribe(mode, destination)

    def test_a_queue_is_consumed_in_every_ack_mode(self):
        """`auto` is at most once; `client` counts for all before; `client-individual` for one."""
        peer, wanted, seen = self.peer(), self.numbered(6), 0
        for mode in self.modes():
            with self.subTest(mode=mode):
                peer.subscribe("/queue/work", mode, id=mode)
                self.put("/queue/work", wanted)
                got = peer.messages(seen + 6)[seen:]
                self.assertEqual([m.body for m in got], wanted)
                self.assertEqual({(m.headers["attempt"], m.headers["redelivered"]) for m in got}, {("1", "false")})
                if mode == "client":
                    peer.ack(seen + 3)
                    self.assertEqual(self.held(), (0, 2, 0))
                    peer.ack(seen + 5)
                elif mode == "client-individual":
                    for n in (1, 4, 0, 5, 3):
                        peer.ack(seen + n, wait=n == 3)
                    self.assertEqual(self.held(), (0, 1, 0))
                    peer.ack(seen + 2)
                self.gw.await_empty("work")
                seen += 6
                peer.unsubscribe(mode, "/queue/work")
        self.assertEqual(self.gw.counters("work")["acked"], seen)

    def test_unsubscribe_ends_it_and_gives_back_what_was_not_answered(self):
        peer = self.peer()
        peer.subscribe("/topic/left", id="topic")
        self.put("/topic/left", [b"seen"])
        self.assertEqual(peer.bodies(1), [b"seen"])
        peer.unsubscribe("topic", "/topic/left")
        self.put("/topic/left", [b"not seen"])
        peer.subscribe("/queue/work", self.each(), id="queue")
        self.put("/queue/work", self.numbered(3))
        self.assertEqual(peer.bodies(4)[1:], self.numbered(3))
        peer.ack(1)
        peer.unsubscribe("queue", "/queue/work")
        raw = self.raw()
        raw.subscribe("/queue/work", ack="client-individual")
        got = [raw.get() for _ in range(2)]
        self.assertEqual([m.body for m in got], self.numbered(2, 1))
        self.assertEqual({(m["attempt"], m["redelivered"]) for m in got}, {("1", "true")})
        self.assertEqual(len(peer.messages()), 4)

    def test_a_request_has_its_reply_over_a_temp_queue(self):
        peer, raw = self.peer(), self.raw()
        raw.subscribe("/queue/work", ack="client-individual")
        peer.expect("/temp-queue/answers")
        for i in range(2):
            peer.send("/queue/work", b"question", reply_to="/temp-queue/answers", correlation_id=f"c{i}")
            m = raw.get()
            self.assertRegex(m["reply-to"], "^/reply-queue/[0-9a-f]{16}/answers$")
            raw.put(m["reply-to"], BYTES, correlation_id=m["correlation-id"])
            reply = peer.messages(i + 1)[i]
            self.assertEqual((reply.body, reply.headers["correlation-id"]), (BYTES, f"c{i}"))
            self.assertEqual(reply.headers["destination"], m["reply-to"])
            self.assertEqual(reply.headers["subscription"], "/temp-queue/answers")

    def test_an_error_says_what_was_wrong_and_is_the_end(self):
        peer = self.peer()
        peer.subscribe("/queue/nowhere", wait=False)
        message, text = peer.error()
        self.assertEqual(message, "invalid destination")
        self.assertIn("destination:/queue/nowhere", text)
        peer.told("lost")

    def test_nothing_acknowledged_is_lost_when_the_gateway_is_killed(self):
        """The client comes back by itself and goes on; what it acknowledged does not come again."""
        peer = self.peer(reconnect=True)
        peer.subscribe("/queue/work", self.each())
        self.put("/queue/work", self.numbered(20))
        self.assertEqual(peer.bodies(20), self.numbered(20))
        for n in range(8):
            peer.ack(n, wait=n == 7)
        peer.send("/queue/work", b"mine")
        self.gw.kill()
        peer.told("lost")
        self.gw.start()
        peer.told("connected", 1)
        peer.subscribe("/queue/work", self.each())
        peer.told("message", 21 + 12)
        mine = [m.body for m in peer.messages()[:21]].count(b"mine")
        rest = peer.messages(20 + mine + 13)[20 + mine:]
        self.assertEqual([m.body for m in rest], self.numbered(12, 8) + [b"mine"])
        self.assertEqual({m.headers["attempt"] for m in rest}, {"1"})
        for n in range(13):
            peer.ack(20 + mine + n, wait=n == 12)
        self.gw.await_empty("work")


class Refuses:
    """NACK came with 1.1."""

    def test_nack_is_a_failed_attempt_that_comes_again(self):
        peer = self.peer()
        peer.subscribe("/queue/work", "client-individual")
        self.put("/queue/work", [b"poor"])
        for attempt in (1, 2, 3):
            m = peer.messages(attempt)[attempt - 1]
            self.assertEqual((m.headers["attempt"], m.headers["redelivered"]),
                             (str(attempt), "false" if attempt == 1 else "true"))
            if attempt < 3:
                peer.nack(attempt - 1)
        peer.ack(2)
        c = self.gw.counters("work")
        self.assertEqual((c["acked"], c["retried"], c["dead"]), (1, 2, 0))

    def test_nack_with_requeue_false_is_the_end_of_a_message(self):
        peer = self.peer()
        peer.subscribe("/queue/work", "client-individual")
        self.put("/queue/work", [b"poison", b"fine"])
        peer.messages(2)
        peer.nack(0, requeue="false", reason="cannot read it")
        peer.ack(1)
        self.assertEqual(self.gw.stop(), 0)
        dead, = harness.dump(self.gw.data)
        self.assertEqual((dead["state"], dead["payload"], dead["attempts"]), ("dead", b"poison", 1))
        self.assertEqual(dead["failures"][-1]["cause"], "rejected")
        self.assertIn("cannot read it", dead["failures"][-1]["detail"])

    def test_cumulative_nack_counts_for_all_before_it(self):
        peer = self.peer()
        peer.subscribe("/queue/work", "client")
        self.put("/queue/work", self.numbered(4))
        peer.messages(4)
        peer.nack(2)
        again = peer.messages(7)[4:]
        self.assertEqual(sorted(m.body for m in again), self.numbered(3))
        self.assertEqual({m.headers["attempt"] for m in again}, {"2"})
        peer.ack(6)
        self.gw.await_empty("work")


class StompPy10(Sends, Receives, StompCase):
    kind, version = stomp_drivers.StompPy, "1.0"

    def test_a_subscription_without_an_id_goes_by_its_destination(self):
        peer = self.peer()
        peer.subscribe("/topic/without", id=None)
        self.put("/topic/without", [b"seen"])
        m = peer.messages(1)[0]
        self.assertEqual(m.body, b"seen")
        self.assertNotIn("subscription", m.headers)
        peer.unsubscribe(None, "/topic/without")
        self.put("/topic/without", [b"not seen"])
        peer.fence()
        self.assertEqual(len(peer.messages()), 1)


class StompPy11(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.StompPy, "1.1"


class StompPy12(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.StompPy, "1.2"


class Stompit10(Sends, Receives, StompCase):
    kind, version = stomp_drivers.Stompit, "1.0"


class Stompit11(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.Stompit, "1.1"


class Stompit12(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.Stompit, "1.2"


class StompJs10(Sends, Receives, StompCase):
    kind, version = stomp_drivers.StompJs, "1.0"


class StompJs11(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.StompJs, "1.1"

    def headers(self):
        """It escapes in 1.2 only."""
        return {k: v for k, v in HEADERS["1.1"].items() if not set(v) & set("\\\n:")}


class StompJs12(Sends, Receives, Refuses, StompCase):
    kind, version = stomp_drivers.StompJs, "1.2"


BEAT_MS = 300


class HeartBeats(harness.TestCase):
    """All clients that have them, at once."""

    def setUp(self):
        super().setUp()
        config = harness.config({})
        config["listeners"][1]["heart_beat"] = f"{BEAT_MS}ms"
        self.gw = self.gateway(config).start()
        self.peers = [kind(self, self.gw, version, beats=(BEAT_MS, BEAT_MS))
                      for kind in (stomp_drivers.StompPy, stomp_drivers.Stompit, stomp_drivers.StompJs)
                      for version in ("1.1", "1.2")]

    def test_they_keep_connections_on_which_nothing_else_happens(self):
        for peer in self.peers:
            with self.subTest(peer=type(peer).__name__, version=peer.version):
                self.assertEqual(peer.connected["heart-beat"], f"{BEAT_MS},{BEAT_MS}")
                peer.told("beat", 5)  # twice as long as the gateway would wait for the client's
                peer.fence()
                peer.disconnect()

    def test_a_client_that_stands_still_is_told_and_given_up(self):
        for peer in self.peers:
            peer.process.send_signal(signal.SIGSTOP)
        harness.wait_for(lambda: self.gw.summary()[""]["protocol_errors"] == len(self.peers),
                         "all to be given up")
        for peer in self.peers:
            with self.subTest(peer=type(peer).__name__, version=peer.version):
                peer.process.send_signal(signal.SIGCONT)
                peer.told("lost")

    def test_a_gateway_that_stands_still_is_noticed(self):
        self.gw.signal(signal.SIGSTOP)
        for peer in self.peers:
            with self.subTest(peer=type(peer).__name__, version=peer.version):
                peer.told("lost")
        self.gw.signal(signal.SIGCONT)


def setUpModule():
    stomp_drivers.FromNpm.installed()


if __name__ == "__main__":
    unittest.main()
