"""STOMP clients as consumers: what becomes of their messages when they die, are silent, refuse or do
not read; what crosses over to MQTT and back; heart-beats under load, and graceful ends."""

import signal
import socket
import subprocess
import threading
import time
import unittest

import harness
import mqtt_raw
import stomp_drivers
import stomp_raw

BYTES = bytes(range(256)) + "grüße ☂".encode() + b"\0\0"
FAR = "60s"       # an ack_timeout that no test waits for
AT_ONCE_S = 5     # well under it, also on a machine that does much else
SMALL_BUFFER = 4096
RETRY = {"initial": "10ms", "factor": 1}


class ConsumerCase(harness.TestCase):
    def start(self, queues=None, **more):
        queues = queues or {"work": {}}
        for queue in queues.values():
            queue.setdefault("retry", RETRY)
            queue.setdefault("ack_timeout", FAR)
        self.gw = self.gateway(harness.config(queues, **more)).start()
        return self.gw

    def raw(self, **more):
        c = stomp_raw.Client(self.gw.stomp, **more)
        self.addCleanup(c.close)
        return c

    def mqtt(self, name="mqtt", version=5, **more):
        c = mqtt_raw.Client(self.gw.mqtt, name, version, **more)
        self.addCleanup(c.close)
        return c

    def consumer(self, queue="work", ack="client-individual", **more):
        c = self.raw()
        c.subscribe(f"/queue/{queue}", ack=ack, **more)
        return c

    def put(self, *bodies, queue="work"):
        c = self.raw()
        for body in bodies:
            c.put(f"/queue/{queue}", body)
        c.disconnect()

    def numbered(self, n, start=0):
        return [b"m%d" % i for i in range(start, start + n)]

    def dead(self):
        """Dead letters by payload; the gateway is stopped."""
        self.assertEqual(self.gw.stop(), 0)
        return {e["payload"]: e for e in harness.dump(self.gw.data) if e["state"] == "dead"}

    def assert_oldest_charged(self, messages):
        """The first of the numbered ones has failed once; the others went back as they were."""
        attempts = {m.body: (m["attempt"], m["redelivered"]) for m in messages}
        self.assertEqual(attempts, {body: ("2" if body == b"m0" else "1", "true") for body in attempts})


class Lost(ConsumerCase):
    def test_messages_of_a_killed_consumer_go_to_the_next_at_once(self):
        """A real client, killed with kill -9; the oldest message is charged to it, and no other."""
        self.start()
        victim = stomp_drivers.StompPy(self, self.gw, "1.2")
        victim.subscribe("/queue/work", "client-individual", prefetch_count=5)
        self.put(*self.numbered(5))
        self.assertEqual(victim.bodies(5), self.numbered(5))
        heir = self.consumer()
        self.assertEqual(heir.fence(), [])
        begun = time.monotonic()
        victim.kill()
        got = [heir.get(AT_ONCE_S) for _ in range(5)]
        took = time.monotonic() - begun
        print({"seconds_to_the_next_consumer": round(took, 4)}, flush=True)
        self.assertLess(took, AT_ONCE_S)
        self.assert_oldest_charged(got)
        self.assertEqual(heir.fence(), [])

    def test_messages_of_a_killed_consumer_go_to_a_pools_worker_at_once(self):
        busy = {"RECORD_WORK": "50000"}  # so that the victim has its share
        self.start(pools={"p": harness.recorder(self.folder, prefetch=1, env=busy)})
        victim = stomp_drivers.StompPy(self, self.gw, "1.2")
        victim.subscribe("/queue/work", "client-individual", prefetch_count=5)
        self.put(*self.numbered(12))
        victims = victim.bodies(5)
        self.gw.await_queue("work", lambda c: (c["ready"], c["leased"], c["delayed"]) == (0, 5, 0),
                            "the worker to have done the rest")
        before = len(self.worked())
        begun = time.monotonic()
        victim.kill()
        self.gw.await_empty("work", AT_ONCE_S)
        took = time.monotonic() - begun
        print({"seconds_to_a_worker": round(took, 4)}, flush=True)
        self.assertLess(took, AT_ONCE_S)
        started = {line[5].encode(): line[4] for line in self.worked()[before:] if line[0] == "S"}
        self.assertEqual(started, {body: "2" if body == victims[0] else "1" for body in victims})

    def test_a_lost_connection_gives_back_each_subscriptions_messages(self):
        """Of several subscriptions the oldest each is charged."""
        self.start({"one": {}, "two": {}})
        victim = self.raw()
        for queue in ("one", "two"):
            victim.subscribe(f"/queue/{queue}", id=queue, ack="client-individual")
            self.put(*self.numbered(3), queue=queue)
        for _ in range(6):
            victim.take()
        victim.close()
        for queue in ("one", "two"):
            heir = self.consumer(queue)
            self.assert_oldest_charged([heir.get(AT_ONCE_S) for _ in range(3)])

    def test_messages_of_a_silent_consumer_go_to_the_next_after_ack_timeout(self):
        """And the silent one is told and closed."""
        self.start({"work": {"ack_timeout": "500ms"}})
        silent = self.consumer(prefetch_count=3)
        begun = time.monotonic()
        self.put(*self.numbered(3))
        self.assertEqual([silent.take().body for _ in range(3)], self.numbered(3))
        heir = self.consumer()
        got = [heir.get() for _ in range(3)]
        took = time.monotonic() - begun
        self.assertGreater(took, 0.5)
        self.assertLess(took, 0.5 + AT_ONCE_S)
        self.assert_oldest_charged(got)
        headers, _ = silent.closed()
        self.assertEqual(headers["message"], "acknowledgement timeout")
        self.assertEqual(self.gw.counters("work")["timed_out"], 1)

    def test_acknowledging_goes_on_as_long_as_it_likes(self):
        """The time runs for the oldest only, and anew for the next: all together take longer than one may."""
        self.start({"work": {"ack_timeout": "500ms"}})
        c = self.consumer(prefetch_count=20)
        self.put(*self.numbered(20))
        held, begun = [c.take() for _ in range(20)], time.monotonic()
        for m in held:
            self.assertRaises(TimeoutError, c.read, 0.05)  # its work
            c.ack(m)
        self.assertGreater(time.monotonic() - begun, 0.5)
        self.gw.await_empty("work")
        self.assertEqual(self.gw.counters("work")["timed_out"], 0)

    def test_extend_renews_a_lease(self):
        """Of two that are silent the one that asked for more time keeps its message."""
        self.start({"work": {"ack_timeout": "500ms"}})
        patient, silent = self.consumer(prefetch_count=1), self.consumer(prefetch_count=1)
        self.put(*self.numbered(2))
        first, _ = patient.take(), silent.take()
        patient.nack(first, extend="60s")
        self.assertEqual(silent.closed()[0]["message"], "acknowledgement timeout")
        self.assertEqual(patient.fence(), [])
        patient.ack(first)
        self.assertEqual(patient.get()["attempt"], "2")
        self.gw.await_empty("work")
        c = self.gw.counters("work")
        self.assertEqual((c["acked"], c["timed_out"]), (2, 1))

    def test_a_lease_that_was_extended_ends_too(self):
        self.start()
        c = self.consumer()
        self.put(b"m0")
        begun = time.monotonic()
        c.nack(c.take(), extend="300ms")
        self.assertEqual(c.closed()[0]["message"], "acknowledgement timeout")
        self.assertGreater(time.monotonic() - begun, 0.3)
        self.assert_oldest_charged([self.consumer().get()])

    def test_a_dead_letter_tells_how_its_consumer_ended(self):
        self.start({q: {"max_attempts": 1, "ack_timeout": t} for q, t in
                    (("killed", FAR), ("silent", "200ms"), ("wrong", FAR), ("nacked", FAR), ("refused", FAR))})
        for queue in self.gw.config["queues"]:
            self.put(queue.encode(), queue=queue)
            c = self.consumer(queue)
            m = c.take()
            if queue == "killed":
                c.close()
            elif queue == "silent":
                c.closed()
            elif queue == "wrong":
                c.send(stomp_raw.frame("ACK", [("id", "no such name")]))
                c.closed()
            elif queue == "nacked":
                c.nack(m, reason="too late: in the day")
            else:
                c.nack(m, requeue="false", reason="poison")
            self.gw.event("message_dead", queue=queue)
            c.close()
        dead = self.dead()
        causes = {payload.decode(): e["failures"][-1]["cause"] for payload, e in dead.items()}
        self.assertEqual(causes, {"killed": "consumer_lost", "silent": "timeout", "wrong": "worker_fault",
                                  "nacked": "retry", "refused": "rejected"})
        self.assertIn("too late: in the day", dead[b"nacked"]["failures"][-1]["detail"])
        self.assertIn("poison", dead[b"refused"]["failures"][-1]["detail"])

    def test_a_goodbye_charges_nobody(self):
        """Even when all attempts but one are used."""
        self.start({"work": {"max_attempts": 1}})
        for end in ("disconnect", "unsubscribe"):
            self.put(*self.numbered(3))
            c = self.consumer()
            for _ in range(3):
                c.take()
            getattr(c, end)()
            heir = self.consumer()
            got = [heir.get(AT_ONCE_S) for _ in range(3)]
            self.assertEqual([(m.body, m["attempt"], m["redelivered"]) for m in got],
                             [(body, "1", "true") for body in self.numbered(3)])
            heir.disconnect()


class Answers(ConsumerCase):
    def test_nack_with_a_delay_waits_for_so_long(self):
        self.start()
        c = self.consumer()
        for delay, least in (("300ms", 0.3), ("200", 0.2)):
            self.put(b"m0")
            begun = time.monotonic()
            c.nack(c.take(), delay=delay)
            self.assertEqual(self.gw.counters("work")["delayed"], 1)
            self.assert_oldest_charged([c.get()])
            self.assertGreater(time.monotonic() - begun, least)

    def test_a_message_that_waits_for_its_retry_uses_no_credit(self):
        self.start({"work": {"retry": {"initial": "60s"}}})
        c = self.consumer(prefetch_count=1)
        self.put(*self.numbered(3))
        c.nack(c.take())
        self.assertEqual([c.get().body for _ in range(2)], self.numbered(2, 1))

    def test_prefetch_count_is_honoured(self):
        self.start()
        sender = self.raw()
        for destination, per_topic in (("/queue/work", False), ("/topic/prefetch", True)):
            with self.subTest(destination=destination):
                c = self.raw()
                c.subscribe(destination, ack="client-individual", prefetch_count=3)
                for body in self.numbered(10):
                    sender.put(destination, body)
                held = c.fence()
                self.assertEqual([m.body for m in held], self.numbered(3))
                c.ack(held[1])
                held += c.fence()
                self.assertEqual([m.body for m in held], self.numbered(4))
                for m in held[:1] + held[2:]:
                    c.ack(m)
                self.assertEqual([c.get().body for _ in range(6)], self.numbered(6, 4))
                self.assertEqual(c.fence(), [])

    def test_an_ack_from_before_a_reconnect_answers_nothing_that_came_after(self):
        """A worker that is done when its client has come back knows the old names only."""
        self.start()
        for version in ("1.0", "1.1", "1.2"):
            with self.subTest(version=version):
                self.put(b"first")
                c = self.raw(version=version)
                c.subscribe("/queue/work", ack="client")
                old = c.take()
                c.disconnect()
                other = self.consumer(ack="auto")
                self.assertEqual(other.take().body, b"first")
                other.disconnect()
                self.put(b"second")
                c = self.raw(version=version)
                c.subscribe("/queue/work", ack="client")
                self.assertEqual(c.take().body, b"second")
                c.ack(old)
                c.disconnect()
                other = self.consumer(ack="auto")
                self.assertEqual(other.take().body, b"second")
                other.disconnect()

    def test_auto_on_a_queue_is_at_most_once(self):
        """What was given is done with, whatever becomes of it."""
        self.start()
        c = self.consumer(ack="auto")
        self.put(*self.numbered(5))
        self.assertEqual([c.take().body for _ in range(5)], self.numbered(5))
        c.close()
        self.assertEqual(self.consumer().fence(), [])
        self.assertEqual(self.gw.counters("work")["acked"], 5)

    def test_two_consumers_share_a_queue(self):
        self.start()
        consumers = [self.consumer(prefetch_count=5) for _ in range(2)]
        self.put(*self.numbered(10))
        got = [[c.take() for _ in range(5)] for c in consumers]
        self.assertEqual(sorted(m.body for held in got for m in held), sorted(self.numbered(10)))
        for c, held in zip(consumers, got):
            for m in held:
                c.ack(m)
            self.assertEqual(c.fence(), [])
        self.gw.await_empty("work")

    def test_a_transaction_answers_what_it_took_even_into_a_full_queue(self):
        """It must not wait for room that only its own answer makes."""
        self.start({"work": {"max_messages": 3}})
        c = self.consumer(prefetch_count=1)
        self.put(*self.numbered(3))
        for _ in range(6):
            m = c.take()
            c.begin("t")
            c.put("/queue/work", m.body, transaction="t")
            c.settle("ACK", m, {"transaction": "t"})
            c.commit("t")
        counters = self.gw.counters("work")
        self.assertEqual((counters["acked"], counters["ready"] + counters["leased"]), (6, 3))

    def test_a_commit_that_answers_what_is_over_does_nothing(self):
        self.start({"work": {}, "done": {}})
        c = self.consumer()
        self.put(b"m0")
        m = c.take()
        c.begin("t")
        c.put("/queue/done", b"half", transaction="t")
        c.settle("ACK", m, {"transaction": "t"})
        c.unsubscribe()
        self.assertRaisesRegex(ConnectionError, "transaction failed", c.commit, "t")
        self.assertEqual(self.gw.counters("done")["accepted"], 0)
        self.assertEqual(self.consumer().get(AT_ONCE_S)["attempt"], "1")


class Across(ConsumerCase):
    """Between MQTT and STOMP."""

    def setUp(self):
        super().setUp()
        self.start()

    def check_from_mqtt(self, m):
        self.assertEqual(m.body, BYTES)
        wanted = {"content-type": "text/x", "correlation-id": "c:1", "reply-to": "/topic/back/1",
                  "content-length": str(len(BYTES)), "color": "grün:\n", "second": ""}
        self.assertEqual({k: m[k] for k in wanted}, wanted)
        self.assertAlmostEqual(int(m["expires"]) / 1000, time.time() + 3600, delta=30)

    def test_a_publish_of_mqtt_5_reaches_topic_subscribers_and_queue_consumers(self):
        """With its properties as headers."""
        topic, queue, sender = self.raw(), self.consumer(), self.mqtt()
        topic.subscribe("/topic/work/#", id="t")
        properties = {"content_type": "text/x", "correlation": "c:1", "response_topic": "back/1",
                      "message_expiry": 3600, "user": [("color", "grün:\n"), ("second", "")]}
        for qos in (0, 1, 2):
            sender.put("work/a/b.c", BYTES, qos, **properties)
            seen = topic.take()
            self.check_from_mqtt(seen)
            self.assertEqual((seen["destination"], seen["subscription"]), ("/topic/work/a/b.c", "t"))
            taken = queue.get()
            self.check_from_mqtt(taken)
            self.assertEqual((taken["destination"], taken["subscription"]), ("/topic/work/a/b.c", "1"))

    def test_a_publish_of_mqtt_3_1_1_reaches_them_too(self):
        topic, queue, sender = self.raw(), self.consumer(), self.mqtt(version=4)
        topic.subscribe("/topic/work.*")
        for qos in (0, 1, 2):
            sender.put("work/x", BYTES, qos)
            for m in (topic.take(), queue.get()):
                self.assertEqual((m.body, m["destination"], m["expires"]), (BYTES, "/topic/work/x", None))

    def test_a_publisher_cannot_forge_what_the_frame_says(self):
        topic, queue, sender = self.raw(), self.consumer(), self.mqtt()
        topic.subscribe("/topic/work/x")
        forged = [(name, "forged") for name in ("subscription", "message-id", "ack", "destination", "content-length",
                                                "attempt", "redelivered", "receipt", "transaction", "honest")]
        sender.put("work/x", b"x", user=forged)
        for m in (topic.take(), queue.get()):
            self.assertEqual({k for k, v in m.headers.items() if v == "forged"}, {"honest"})

    def test_a_send_reaches_mqtt_subscribers_unaltered(self):
        """In 5.0 with its headers as properties."""
        old, new = self.mqtt("old", 4), self.mqtt("new", 5)
        for c in (old, new):
            c.subscribe(("work/#", 1))
        expires = int((time.time() + 3600) * 1000)
        self.raw().put("/topic/work/a.b", BYTES, content_type="text/x", correlation_id="c:1",
                       reply_to="/topic/back/1", expires=expires, color="grün:\n", second="")
        for c in (old, new):
            m = c.get()
            self.assertEqual((m.topic, m.payload, m.retain), ("work/a.b", BYTES, False))
        p = m.properties
        self.assertEqual((p["content_type"], p["correlation"], p["response_topic"]), ("text/x", b"c:1", "back/1"))
        self.assertAlmostEqual(p["message_expiry"], 3600, delta=30)
        self.assertEqual([u for u in p["user"] if u[0] in ("color", "second")], [("color", "grün:\n"), ("second", "")])

    def test_what_is_retained_is_so_on_both_sides(self):
        sender, publisher = self.raw(), self.mqtt()
        sender.put("/topic/kept/stomp", b"s", retain="true")
        publisher.put("kept/mqtt", b"m", 1, retain=True)
        late = self.raw()
        late.subscribe("/topic/kept/+")
        self.assertEqual(sorted((m["destination"], m.body, m["retain"]) for m in (late.take(), late.take())),
                         [("/topic/kept/mqtt", b"m", "true"), ("/topic/kept/stomp", b"s", "true")])
        subscriber = self.mqtt("late")
        subscriber.subscribe(("kept/+", 1))
        self.assertEqual(sorted((m.topic, m.payload, m.retain) for m in (subscriber.get(), subscriber.get())),
                         [("kept/mqtt", b"m", True), ("kept/stomp", b"s", True)])
        publisher.put("kept/mqtt", b"live", 1, retain=True)
        live = late.take()
        self.assertEqual((live.body, live["retain"]), (b"live", None))
        sender.put("/topic/kept/stomp", b"", retain="true")
        last = self.raw()
        last.subscribe("/topic/kept/+")
        self.assertEqual([m.body for m in last.fence()], [b"live"])

    def test_what_has_expired_while_it_waited_is_not_given(self):
        sender = self.raw()
        for destination in ("/topic/soon", "/queue/work"):
            with self.subTest(destination=destination):
                c = self.raw()
                c.subscribe(destination, ack="client-individual", prefetch_count=1)
                sender.put(destination, b"first")
                expires = int(time.time() * 1000) + 200
                sender.put(destination, b"over", expires=expires)
                sender.put(destination, b"last", expires=expires + 3600 * 1000)
                first = c.take()
                self.assertRaises(TimeoutError, c.read, 0.3)  # the life of the second
                c.ack(first)
                last = c.get()
                self.assertEqual((last.body, last["expires"]), (b"last", str(expires + 3600 * 1000)))

    def test_a_request_of_stomp_is_answered_by_mqtt_5(self):
        """Over its temp-queue, which nobody else may read."""
        responder, asker = self.mqtt(), self.raw()
        responder.subscribe(("work/ask", 1))
        for i in range(3):
            asker.put("/topic/work.ask", b"%d" % i, reply_to="/temp-queue/answers", correlation_id=f"c{i}")
            m = responder.get()
            self.assertRegex(m.properties["response_topic"], r"^\$temp/[0-9a-f]{16}/answers$")
            self.assertEqual(responder.subscribe((m.properties["response_topic"], 1)), [0x87])
            self.assertEqual(responder.put(m.properties["response_topic"], BYTES, 1, content_type="text/x",
                                           correlation=m.properties["correlation"]), 0)
            reply = asker.take()
            self.assertEqual((reply.body, reply["correlation-id"], reply["content-type"]), (BYTES, f"c{i}", "text/x"))
            self.assertEqual(reply["subscription"], "/temp-queue/answers")
            self.assertEqual(reply["destination"], m.properties["response_topic"].replace("$temp", "/reply-queue"))

    def test_a_request_of_mqtt_5_is_answered_by_a_consumer_of_the_queue(self):
        asker, responder = self.mqtt(), self.consumer()
        asker.subscribe(("answers/me", 1))
        asker.put("work/ask", b"question", 1, response_topic="answers/me", correlation=b"\x63\x31")
        m = responder.take()
        responder.begin("t")
        responder.put(m["reply-to"], BYTES, correlation_id=m["correlation-id"], transaction="t")
        responder.settle("ACK", m, {"transaction": "t"})
        responder.commit("t")
        reply = asker.get()
        self.assertEqual((reply.payload, reply.properties["correlation"]), (BYTES, b"c1"))
        self.gw.await_empty("work")


class Slow(ConsumerCase):
    def test_who_does_not_read_a_topic_is_told_and_costs_nobody_else(self):
        self.start(limits={"session_queue": {"messages": 200, "bytes": "1MiB"}, "session_output": "64KiB"})
        for mode in ("auto", "client-individual"):
            with self.subTest(mode=mode):
                slow = self.raw(receive_buffer=SMALL_BUFFER)
                slow.subscribe("/topic/stream", ack=mode, prefetch_count=65535)
                reader, watcher, sender = self.raw(), self.mqtt(), self.raw()
                reader.subscribe("/topic/stream")
                watcher.subscribe(("stream", 1))
                pad = b"." * 10000
                for i in range(1000):
                    sender.put("/topic/stream", b"%d " % i + pad)
                    self.assertEqual(int(reader.take().body.split()[0]), i)
                    self.assertEqual(int(watcher.get().payload.split()[0]), i)
                self.assertEqual(slow.closed()[0]["message"], "slow consumer")
                for c in (reader, sender, watcher):
                    c.disconnect()

    def test_who_does_not_acknowledge_a_topic_is_told_too(self):
        self.start(limits={"session_queue": {"messages": 50, "bytes": "1MiB"}})
        c, sender = self.raw(), self.raw()
        c.subscribe("/topic/stream", ack="client", prefetch_count=10)
        for i in range(70):
            sender.put("/topic/stream", b"%d" % i)
        self.assertEqual([int(c.take().body) for _ in range(10)], list(range(10)))
        self.assertEqual(c.closed()[0]["message"], "slow consumer")

    def test_who_does_not_read_a_queue_takes_no_more_of_it(self):
        """And has what it took when it reads at last; the others have the rest."""
        self.start(limits={"session_output": "64KiB"})
        slow = self.raw(receive_buffer=SMALL_BUFFER)
        slow.subscribe("/queue/work", ack="client-individual", prefetch_count=65535)
        sender, pad, n = self.raw(), b"." * 20000, 300
        for i in range(n):
            sender.put("/queue/work", b"%d " % i + pad)
        held = self.gw.await_queue("work", lambda c: c["leased"] > 0 and c["ready"] > 0, "some to stay")["leased"]
        reader = self.consumer(prefetch_count=10)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        theirs = [int(reader.get().body.split()[0]) for _ in range(n - held)]
        mine = [int(slow.get().body.split()[0]) for _ in range(held)]
        self.assertEqual(sorted(mine + theirs), list(range(n)))
        self.gw.await_empty("work")


class UnderLoad(ConsumerCase):
    BEAT_MS = 500

    def start_beating(self):
        config = harness.config({"work": {"max_messages": 1000, "overflow": "drop_oldest"}})
        config["listeners"][1]["heart_beat"] = f"{self.BEAT_MS}ms"
        self.gw = self.gateway(config).start()
        return [self.raw(heart_beat=f"{self.BEAT_MS},{self.BEAT_MS}") for _ in range(3)]

    def beats(self, c, ended, gaps):
        """Ours leave in time; the times between what comes are kept."""
        last = sent = time.monotonic()
        c.socket.settimeout(self.BEAT_MS / 5000)
        while not ended.is_set():
            try:
                if not c.socket.recv(65536):
                    gaps.append(float("inf"))
                    return
                gaps.append(time.monotonic() - last)
                last += gaps[-1]
            except TimeoutError:
                pass
            if time.monotonic() - sent > self.BEAT_MS / 2500:
                c.send(b"\n")
                sent = time.monotonic()
        gaps.append(time.monotonic() - last)

    def test_heart_beats_hold_while_the_gateway_is_busy(self):
        clients, ended, gaps = self.start_beating(), threading.Event(), []
        threads = [threading.Thread(target=self.beats, args=(c, ended, gaps)) for c in clients]
        for t in threads:
            t.start()
        load = self.child(subprocess.Popen(
            [harness.binary(), "bench", "--protocol", "stomp", "--connect", str(self.gw.stomp), "--topic", "/queue/work",
             "--connections", "50", "--window", "100", "--seconds", "3", "--warmup", "0", "--quiet"],
            stdout=subprocess.DEVNULL))
        self.assertEqual(load.wait(harness.PATIENCE), 0)
        ended.set()
        for t in threads:
            t.join()
        print({"beats": len(gaps), "longest_gap_s": round(max(gaps), 3)}, flush=True)
        self.assertGreater(len(gaps), 3 * 4)
        self.assertLess(max(gaps), 2 * self.BEAT_MS / 1000)  # what a client may expect
        for c in clients:
            c.socket.settimeout(harness.PATIENCE)
            c.ask("BEGIN", [("transaction", "still there")])


class Stops(ConsumerCase):
    def test_a_stop_is_quick_with_consumers_that_hold_messages(self):
        """They are told, and nobody is charged."""
        self.start({"work": {"max_attempts": 1}}, drain_timeout="60s")
        consumers = [self.consumer(prefetch_count=5) for _ in range(4)]
        topics = [self.raw() for _ in range(4)]
        for c in topics:
            c.subscribe("/topic/#", ack="client")
        self.put(*self.numbered(30))
        for c in consumers:
            for _ in range(5):
                c.take()
        begun = time.monotonic()
        self.gw.signal(signal.SIGTERM)
        for c in consumers + topics:
            self.assertEqual(c.closed()[0]["message"], "server shutting down")
        self.assertEqual(self.gw.wait(), 0)
        took = time.monotonic() - begun
        print({"stopped_in_s": round(took, 3)}, flush=True)
        self.assertLess(took, AT_ONCE_S)
        left = harness.dump(self.gw.data)
        self.assertEqual(sorted(e["payload"] for e in left), sorted(self.numbered(30)))
        self.assertEqual({(e["state"], e["attempts"]) for e in left}, {("ready", 0)})


if __name__ == "__main__":
    unittest.main()
