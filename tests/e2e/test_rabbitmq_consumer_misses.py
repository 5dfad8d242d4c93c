"""What a STOMP server easily gets wrong with consumers, byte by byte and in all versions: what is
refused and what only ignored, which headers a publisher can forge, what an answer counts for, and
where a message goes that nobody answers. Most of these RabbitMQ's STOMP plugin is known to miss or
has missed."""

import time
import unittest

import harness
import mqtt_raw
from stomp_wire import VERSIONS, Raw, frame, receipts

MODES = [("1.0", "client"), ("1.1", "client"), ("1.1", "client-individual"), ("1.2", "client"),
         ("1.2", "client-individual")]
PATIENT = {"work": {"ack_timeout": "10m", "retry": {"initial": "1s", "jitter": 0}, "max_attempts": 3}}


class Consumers(Raw):
    def start(self, queues=None, **more):
        return super().start(PATIENT if queues is None else queues, **more)

    def consumer(self, version, destination="/queue/work", ack="client", *headers, name="s"):
        return self.wire(version).subscribe(destination, ack, *headers, name=name)

    def put(self, *bodies, destination="/queue/work", headers=""):
        """Sends, and sees them stored."""
        if not hasattr(self, "producer") or self.producer.gw is not self.gw:
            self.producer = self.wire("1.2")
            self.producer.gw = self.gw
        for body in bodies:
            self.producer.send(frame(f"SEND\ndestination:{destination}\nreceipt:put\n"
                                     f"content-length:{len(body)}{headers}", body))
            self.assertEqual(self.producer.take(len(receipts("put"))), receipts("put"))

    def await_counts(self, **wanted):
        return self.gw.await_queue("work", lambda n: all(n[k] == v for k, v in wanted.items()), f"{wanted}")


class Subscribing(Consumers):
    """A SUBSCRIBE is done as it was asked for, or refused; nothing of it is passed over in silence."""

    def refused(self, version, text, message):
        w = self.wire(version)
        w.send(frame(text) + frame("SEND\ndestination:/queue/work", b"after"))
        return self.error(w, message)

    def test_without_an_id_it_is_refused_but_in_1_0(self):
        self.start()
        for version in ("1.1", "1.2"):
            for destination in ("/queue/work", "/topic/a", "/temp-queue/a"):
                self.refused(version, f"SUBSCRIBE\ndestination:{destination}", "missing header")
        self.assertEqual(self.accepted(), 0)
        w = self.wire("1.0")
        w.send(frame("SUBSCRIBE\ndestination:/queue/work\nreceipt:s"))
        self.assertEqual(w.take(len(receipts("s"))), receipts("s"))
        self.put(b"x")
        self.assertNotIn("subscription", w.message())

    def test_what_is_not_understood_is_refused_and_not_ignored(self):
        self.start()
        for version in VERSIONS:
            for line, message in (("ack:Client", "invalid header"), ("ack:", "invalid header"),
                                  ("ack:true", "invalid header"),
                                  ("prefetch-count:0", "invalid header"), ("prefetch-count:many", "invalid header"),
                                  ("prefetch-count:-1", "invalid header"), ("prefetch-count:65536", "invalid header"),
                                  ("selector:a = 1", "not supported")):
                with self.subTest(version=version, line=line):
                    self.refused(version, f"SUBSCRIBE\nid:s\ndestination:/queue/work\n{line}", message)
            for line in ("durable:true", "persistent:true"):
                self.refused(version, f"SUBSCRIBE\nid:s\ndestination:/topic/a\n{line}", "not supported")
        self.assertEqual(self.accepted(), 0)

    def test_a_destination_that_is_none_makes_nothing(self):
        """The ERROR is there before the end, and there is no queue afterwards that was not before."""
        self.start()
        for version in VERSIONS:
            for destination in ("/queue/nobody", "/queue/", "/exchange/a", "/topic/", "/topic/a#", "/topic/#/a", "work",
                                "/temp-queue/", "/temp-queue/#", "/reply-queue/x"):
                with self.subTest(version=version, destination=destination):
                    w = self.wire(version)
                    w.send(frame(f"SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:r"))
                    left = w.frames()
                    self.assertEqual([(f[0], f[1]["receipt-id"]) for f in left], [("ERROR", "r")])
                    message = "not authorized" if "reply" in destination else "invalid destination"
                    self.assertEqual(left[0][1]["message"], message)
        w = self.wire("1.2")
        w.send(frame("SEND\ndestination:/queue/nobody", b"x"))
        self.error(w, "invalid destination")

    def test_an_id_is_taken_once(self):
        """The second ends the connection, and the first has done no harm to others."""
        self.start()
        for version in VERSIONS:
            w, other = self.consumer(version, "/topic/a", "auto"), self.consumer(version, "/topic/a", "auto")
            w.send(frame("SUBSCRIBE\nid:s\ndestination:/queue/work"))
            self.error(w, "duplicate subscription")
            self.put(b"x", destination="/topic/a")
            self.assertEqual(other.message().body, b"x")
            other.send(frame("UNSUBSCRIBE\nid:s\nreceipt:u"))
            self.assertEqual(other.take(len(receipts("u"))), receipts("u"))
            other.subscribe("/topic/a")

    def test_unsubscribe_names_a_subscription_and_ends_it(self):
        self.start()
        for version in VERSIONS:
            w = self.consumer(version, "/topic/a", "client", name="s")
            w.subscribe("/topic/a", "auto", name="t")
            w.send(frame("UNSUBSCRIBE\nid:s\nreceipt:u"))
            self.assertEqual(w.take(len(receipts("u"))), receipts("u"))
            self.put(b"1", b"2", destination="/topic/a")
            self.assertEqual([m["subscription"] for m in w.messages(2)], ["t", "t"])
            w.send(frame("UNSUBSCRIBE\nid:s"))
            self.error(w, "unknown subscription")


class Messages(Consumers):
    """What a MESSAGE says is the server's, whatever its publisher said."""

    def test_ids_and_headers_are_escaped(self):
        self.start()
        for version, name, value in (("1.0", "a:b\\n", "v:w\\c"), ("1.1", "a\\cb\\n\\\\\rc", "v\\cw\\n\\\\\rx"),
                                     ("1.2", "a\\cb\\n\\r\\\\", "v\\cw\\n\\r\\\\")):
            w = self.wire(version)
            w.subscribe("/topic/a/#", "auto", name=name)
            w.send(frame(f"SEND\ndestination:/topic/a/b\nk:{value}", b"x"))
            m = w.message()
            self.assertEqual((m["subscription"], m["k"], m["destination"]), (name, value, "/topic/a/b"))
            w.close()
        w = self.consumer("1.2", "/topic/a/#", "auto")
        w.send(frame("SEND\ndestination:/topic/a/b\\cc\\\\d\ncorrelation-id:1\\c2\nreply-to:/topic/r\\cs", b"x"))
        m = w.message()
        self.assertEqual((m["destination"], m["correlation-id"], m["reply-to"]),
                         ("/topic/a/b\\cc\\\\d", "1\\c2", "/topic/r\\cs"))

    FORGED = ["message-id", "ack", "subscription", "redelivered", "attempt", "destination", "content-length", "receipt",
              "transaction", "retain"]

    def test_a_publisher_cannot_forge_what_the_server_says(self):
        """By STOMP, where the text leaves the name to the user, or by MQTT, where all names are."""
        self.start()
        mqtt = mqtt_raw.Client(self.gw.mqtt, "forger", 5)
        self.addCleanup(mqtt.close)
        for version, mode in MODES:
            with self.subTest(version=version, mode=mode):
                w = self.consumer(version, ack=mode)
                self.put(b"x", headers="".join(f"\n{n}:forged" for n in self.FORGED if n not in (
                    "destination", "content-length", "receipt", "transaction", "retain")) + "\nown:1")
                mqtt.put("work/x", b"y", 1, user=[(n, "forged") for n in self.FORGED] + [("own", "2")])
                came = w.messages(2)
                for m, body, own in zip(came, (b"x", b"y"), "12"):
                    self.assertEqual([line for line in m.lines if "forged" in line], [])
                    self.assertEqual((m.body, m["own"], m["subscription"], m["attempt"], m["redelivered"]),
                                     (body, own, "s", "1", "false"))
                    w.answer("ACK", m.name, "receipt:r")
                    self.assertEqual(w.take(len(receipts("r"))), receipts("r"))
                w.close()
                self.await_counts(ready=0, leased=0, delayed=0)

    def test_each_header_is_there_once_and_nothing_follows_the_nul(self):
        self.start()
        for version, mode in MODES:
            w = self.consumer(version, ack=mode)
            self.put(b"body", b"", headers="\ncontent-type:text/plain\nk:1\nk:2")
            for body in (b"body", b""):
                m = w.message()
                self.assertEqual((m.body, m["content-type"], m.all("k")), (body, "text/plain", ["1", "2"]))
                own = [line.split(":")[0] for line in m.lines if not line.startswith("k:")]
                self.assertEqual(len(own), len(set(own)))
                self.assertEqual("ack" in own, version == "1.2")
                w.answer("ACK", m.name)
            w.fence()
            w.close()

    def test_bodies_are_bytes_and_never_altered(self):
        self.start()
        bodies = [b"", b"\0", b"\0\0a\0", bytes(range(256)), b"\n", b"x\r\n", b"\\n", b"y" * 100_000 + b"\0"]
        for version in VERSIONS:
            w = self.consumer(version, "/topic/work/x", "auto", name="t")
            w.subscribe("/queue/work", "auto", name="q")
            self.put(*bodies, destination="/topic/work/x")
            came = w.messages(2 * len(bodies))
            for name in ("t", "q"):
                mine = [m for m in came if m["subscription"] == name]
                self.assertEqual([m.body for m in mine], bodies)
                self.assertTrue(all("content-type" not in m for m in mine))
            w.close()

    def test_message_ids_are_never_the_same(self):
        """Nor are those of two copies of one message that are to be acknowledged, in 1.0 and 1.1."""
        self.start()
        for version, mode in MODES:
            w = self.consumer(version, "/topic/work/x", mode, name="t")
            w.subscribe("/topic/work/#", mode, name="u")
            w.subscribe("/queue/work", mode, name="q")
            self.put(b"1", b"2", destination="/topic/work/x")
            came = w.messages(6)
            self.assertEqual(len({m.name for m in came}), 6)
            self.assertEqual(len({m["message-id"][:16] for m in came}), 2)
            for m in came:
                w.answer("ACK", m.name, "receipt:r", subscription=m["subscription"])
                self.assertEqual(w.take(len(receipts("r"))), receipts("r"))
            self.await_counts(ready=0, leased=0)
            w.close()

    def test_a_message_says_how_often_it_was_tried(self):
        """Not only that it was: attempt counts, and the last one makes it a dead letter."""
        self.start({"work": {"retry": {"initial": "10ms", "jitter": 0}, "max_attempts": 3}})
        w = self.consumer("1.2")
        self.put(b"poison")
        seen = []
        for _ in range(3):
            m = w.message()
            seen.append((m["attempt"], m["redelivered"], m["message-id"]))
            w.answer("NACK", m["ack"])
        self.assertEqual([s[:2] for s in seen], [("1", "false"), ("2", "true"), ("3", "true")])
        self.assertEqual(len({s[2] for s in seen}), 1)
        self.await_counts(dead_now=1, ready=0, leased=0, delayed=0)


class Answers(Consumers):
    def test_client_answers_for_all_before_and_client_individual_for_one(self):
        """What is left when the consumer goes comes to the next one at once, and nothing else."""
        self.start()
        for version, mode in MODES:
            with self.subTest(version=version, mode=mode):
                w = self.consumer(version, ack=mode)
                self.put(b"1", b"2", b"3", b"4", b"5")
                came = w.messages(5)
                w.answer("ACK", came[2].name, "receipt:r")
                self.assertEqual(w.take(len(receipts("r"))), receipts("r"))
                left = [b"4", b"5"] if mode == "client" else [b"1", b"2", b"4", b"5"]
                self.await_counts(leased=len(left))
                w.send(frame("DISCONNECT"))
                w.rest()
                other = self.consumer(version, ack="auto")
                self.assertEqual(sorted(m.body for m in other.messages(len(left), 10)), left)
                other.fence()
                other.close()
                self.gw.await_empty("work")

    def test_a_late_or_repeated_ack_changes_nothing(self):
        """It is no reason to close: the client cannot know what it has lost meanwhile."""
        self.start()
        for version, mode in MODES:
            with self.subTest(version=version, mode=mode):
                w = self.consumer(version, ack=mode)
                self.put(b"1", b"2")
                first, second = w.messages(2)
                for _ in range(3):
                    w.answer("ACK", first.name)
                w.answer("ACK", second.name)
                if version != "1.0":
                    w.answer("NACK", first.name)
                w.send(frame("UNSUBSCRIBE\nid:s"))
                w.answer("ACK", second.name, "receipt:late")
                self.assertEqual(w.take(len(receipts("late"))), receipts("late"))
                self.await_counts(ready=0, leased=0, delayed=0, dead_now=0)
                w.close()

    def test_an_id_that_was_never_given_ends_the_connection(self):
        """Another connection's name is over for this one: nobody answers for another."""
        self.start()
        for version, mode in MODES:
            with self.subTest(version=version, mode=mode):
                w, thief = self.consumer(version, ack=mode), self.consumer(version, "/topic/a", mode)
                self.put(b"x")
                m = w.message()
                thief.answer("ACK", m.name, "receipt:stale")
                self.assertEqual(thief.take(len(receipts("stale"))), receipts("stale"))
                thief.close()
                self.await_counts(ready=0, leased=1)
                w.answer("ACK", m.name[:-1] + "2")
                self.error(w, "unknown delivery")
                self.await_counts(ready=0, delayed=1)  # charged to who was at fault
                other = self.consumer(version, ack="auto")
                self.assertEqual(other.message().body, b"x")
                other.close()

    def test_an_ack_may_carry_all_that_its_message_said(self):
        """Clients of 1.0 send the headers back as they came, a content-length without a body too."""
        self.start()
        w = self.consumer("1.0")
        self.put(b"body", headers="\ncontent-type:text/plain\nk:v")
        w.send(frame("\n".join(["ACK", *w.message().lines, "receipt:r"])))
        self.assertEqual(w.take(len(receipts("r"))), receipts("r"))
        self.await_counts(ready=0, leased=0)

    def test_a_nack_waits_for_its_backoff_and_blocks_nothing(self):
        """Not a message that goes round as fast as it can."""
        self.start()
        for version in ("1.1", "1.2"):
            w = self.consumer(version, ack="client-individual")
            self.put(b"bad")
            bad, begun = w.message(), time.monotonic()
            w.answer("NACK", bad.name)
            self.put(b"good")
            good = w.message()
            self.assertEqual(good.body, b"good")
            w.answer("ACK", good.name)
            again = w.message()
            self.assertEqual((again.body, again["attempt"], again["redelivered"]), (b"bad", "2", "true"))
            self.assertGreaterEqual(time.monotonic() - begun, 0.95)
            w.answer("NACK", again.name, "requeue:false", "reason:no use")
            self.await_counts(dead_now=1 if version == "1.1" else 2, leased=0, delayed=0)
            w.close()

    def test_a_nack_counts_for_as_many_as_an_ack(self):
        """For all before in client, unless they were answered already; for one in client-individual."""
        self.start()
        dead_now = 0
        for version, mode in MODES[1:]:
            w = self.consumer(version, ack=mode)
            self.put(b"1", b"2", b"3", b"4")
            came = w.messages(4)
            w.answer("ACK", came[0].name)
            w.answer("NACK", came[2].name, "requeue:false")
            w.answer("ACK", came[3].name)
            w.fence()
            dead, leased = (2, 0) if mode == "client" else (1, 1)
            dead_now += dead
            self.await_counts(leased=leased, ready=0, delayed=0, dead_now=dead_now)
            w.send(frame("UNSUBSCRIBE\nid:s"))
            w.fence()
            w.subscribe("/queue/work", "auto")
            self.assertEqual([m.body for m in w.messages(leased)], [b"2"] * leased)
            w.close()

    def test_no_more_than_the_prefetch_count_is_unanswered(self):
        """Without one it is bounded, too."""
        self.start()
        for i in range(100):
            self.put(b"%d" % i)
        for version, mode in MODES:
            for header, most in (("prefetch-count:1", 1), ("prefetch-count:7", 7), ("k:v", 64)):
                with self.subTest(version=version, mode=mode, most=most):
                    w = self.consumer(version, "/queue/work", mode, header)
                    came = w.messages(most)
                    w.fence()
                    self.await_counts(leased=most)
                    w.send(frame("UNSUBSCRIBE\nid:s\nreceipt:u"))
                    self.assertEqual(w.take(len(receipts("u"))), receipts("u"))
                    self.await_counts(leased=0, ready=100)
                    self.assertEqual([m["attempt"] for m in came], ["1"] * most)
                    w.close()

    def test_auto_keeps_nothing_for_an_answer(self):
        self.start()
        for version in VERSIONS:
            w = self.consumer(version, ack="auto")
            self.put(b"1", b"2")
            self.assertEqual([m.body for m in w.messages(2)], [b"1", b"2"])
            self.await_counts(ready=0, leased=0)
            w.close()

    def test_leases_go_back_at_once_however_a_consumer_ends(self):
        """By loss, DISCONNECT, UNSUBSCRIBE or an ERROR; who left in order, or had not begun, is not charged."""
        self.start({"work": {"ack_timeout": "10m", "retry": {"initial": "10ms", "jitter": 0}, "max_attempts": 9}})
        for version, mode in MODES:
            for end in (b"", frame("DISCONNECT"), frame("UNSUBSCRIBE\nid:s"), frame("WRONG")):
                with self.subTest(version=version, mode=mode, end=end):
                    self.put(b"1", b"2", b"3")
                    w = self.consumer(version, ack=mode)
                    w.messages(3)
                    other = self.wire(version)
                    w.send(end) if end else w.close()
                    other.subscribe("/queue/work", "auto")
                    attempts = {m.body: m["attempt"] for m in other.messages(3, 10)}
                    charged = "2" if end in (b"", frame("WRONG")) else "1"
                    self.assertEqual(attempts, {b"1": charged, b"2": "1", b"3": "1"})
                    other.close()
                    w.close()
        self.gw.await_empty("work")


class Transactions(Consumers):
    def test_an_ack_that_was_not_committed_was_none(self):
        """ABORT, DISCONNECT, an ERROR and loss give the message back; nothing of the SEND is there."""
        self.start({**PATIENT, "next": {}})
        for version, mode in MODES:
            for end in (frame("ABORT\ntransaction:t"), frame("DISCONNECT"), frame("WRONG"), b""):
                with self.subTest(version=version, mode=mode, end=end):
                    self.put(b"x")
                    w = self.consumer(version, ack=mode)
                    m = w.message()
                    w.send(frame("BEGIN\ntransaction:t") + frame("SEND\ndestination:/queue/next\ntransaction:t", b"y"))
                    w.answer("ACK", m.name, "transaction:t", "receipt:a")
                    self.assertEqual(w.take(len(receipts("a"))), receipts("a"))
                    self.await_counts(leased=1)
                    w.send(end) if end else w.close()
                    if end.startswith(b"ABORT"):
                        w.answer("ACK", m.name, "receipt:b")
                        self.assertEqual(w.take(len(receipts("b"))), receipts("b"))
                    else:
                        other = self.consumer(version, ack="auto")
                        self.assertEqual(other.message(10).body, b"x")
                        other.close()
                    self.gw.await_empty("work")
                    self.assertEqual(self.accepted("next"), 0)
                    w.close()

    def test_a_commit_moves_from_queue_to_queue_as_one(self):
        self.start({**PATIENT, "next": {}})
        for i, (version, mode) in enumerate(MODES, 1):
            self.put(b"1", b"2")
            w = self.consumer(version, ack=mode)
            for m in w.messages(2):
                w.send(frame("BEGIN\ntransaction:t") + frame("SEND\ndestination:/queue/next\ntransaction:t", m.body))
                w.answer("ACK", m.name, "transaction:t")
                w.send(frame("COMMIT\ntransaction:t\nreceipt:c"))
                self.assertEqual(w.take(len(receipts("c"))), receipts("c"))
            self.await_counts(ready=0, leased=0)
            self.assertEqual(self.accepted("next"), 2 * i)
            w.close()
        self.gw.kill()
        self.assertEqual([e["queue"] for e in harness.dump(self.gw.data)], ["next"] * 2 * len(MODES))

    def test_a_commit_for_what_is_gone_does_nothing(self):
        self.start({**PATIENT, "next": {}})
        for version, mode in MODES:
            self.put(b"x")
            w = self.consumer(version, ack=mode)
            m = w.message()
            w.send(frame("BEGIN\ntransaction:t") + frame("SEND\ndestination:/queue/next\ntransaction:t", b"y"))
            w.answer("ACK", m.name, "transaction:t")
            w.send(frame("UNSUBSCRIBE\nid:s") + frame("COMMIT\ntransaction:t\nreceipt:c"))
            _, headers, _ = self.error(w, "transaction failed")
            self.assertEqual(headers["receipt-id"], "c")
            self.assertEqual(self.accepted("next"), 0)
            other = self.consumer(version, ack="auto")
            self.assertEqual((m := other.message()).body, b"x")
            self.assertEqual(m["attempt"], "1")
            other.close()


class Replies(Consumers):
    def ask(self, w, name, *headers):
        w.send(frame("\n".join(["SEND", "destination:/queue/work", f"reply-to:/temp-queue/{name}", *headers]), b"?"))

    def test_a_reply_reaches_who_asked_by_the_name_that_was_asked_with(self):
        """Names are the client's own, two of them are two, and two clients may have the same."""
        self.start()
        for version in VERSIONS:
            server = self.consumer(version, ack="auto")
            first, second = self.wire(version), self.wire(version)
            asked = []
            for w, name in ((first, "a"), (first, "b"), (second, "a"), (first, "a")):
                self.ask(w, name, "correlation-id:7")
                asked.append(server.message())
            self.assertEqual(len({m["reply-to"] for m in asked}), 3)
            for i, m in enumerate(asked):
                where, which = m["reply-to"], m["correlation-id"]
                server.send(frame(f"SEND\ndestination:{where}\ncorrelation-id:{which}", b"%d" % i))
            answers = first.messages(3) + second.messages(1)
            self.assertEqual([(m["subscription"], m.body) for m in answers],
                             [("/temp-queue/a", b"0"), ("/temp-queue/b", b"1"), ("/temp-queue/a", b"3"),
                              ("/temp-queue/a", b"2")])
            self.assertTrue(all(m["correlation-id"] == "7" for m in answers))
            for w in (server, first, second):
                w.fence()
                w.close()

    def test_a_reply_destination_may_be_subscribed_to_by_its_owner_alone(self):
        self.start()
        for version in VERSIONS:
            server = self.consumer(version, ack="auto")
            owner = self.consumer(version, "/temp-queue/a", "auto", name="mine")
            self.ask(owner, "a")
            where = server.message()["reply-to"]
            for destination in (where, where.replace("/reply-queue/", "/topic/$temp/"), "/topic/$temp/#"):
                w = self.wire(version)
                w.send(frame(f"SUBSCRIBE\nid:s\ndestination:{destination}"))
                self.error(w, "not authorized")
            server.send(frame(f"SEND\ndestination:{where}", b"!"))
            m = owner.message()
            self.assertEqual((m["subscription"], m["destination"], m.body), ("mine", where, b"!"))
            server.close()
            owner.close()

    def test_an_answer_to_who_has_gone_is_nobodys(self):
        self.start()
        server, gone = self.consumer("1.2", ack="auto"), self.wire("1.2")
        self.ask(gone, "a")
        where = server.message()["reply-to"]
        gone.send(frame("DISCONNECT"))
        gone.rest()
        server.send(frame(f"SEND\ndestination:{where}\nreceipt:1", b"!"))
        self.assertEqual(server.take(len(receipts(1))), receipts(1))
        server.fence()


if __name__ == "__main__":
    unittest.main()
