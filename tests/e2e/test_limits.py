"""Limits speak each protocol's own words and cost nobody else his service: full queues that block,
refuse or drop, large messages, too many connections, queues that are not durable, QoS 0."""

import shutil
import socket
import time
import unittest

import harness
import mqtt_raw
import stomp_raw

QUOTA_EXCEEDED, PACKET_TOO_LARGE = 0x97, 0x95
FULL = {"max_messages": 3}


class LimitsCase(harness.TestCase):
    def start(self, queues=None, pools=None, **more):
        return self.gateway(harness.config(queues, pools, **more)).start()

    def mqtt(self, gw, version=4, name=None, **more):
        c = mqtt_raw.Client(gw.mqtt, name or f"v{version}", version, **more)
        self.addCleanup(c.close)
        return c

    def stomp(self, gw, **more):
        c = stomp_raw.Client(gw.stomp, **more)
        self.addCleanup(c.close)
        return c

    def fill(self, gw, n=3):
        c = mqtt_raw.Client(gw.mqtt, "filler")
        for i in range(1, n + 1):
            c.publish("work/x", b"fill %d" % i, 1, i)
            c.expect(mqtt_raw.PUBACK, i)
        c.disconnect()

    def assertClosed(self, client, seconds=10):
        with self.assertRaises((ConnectionError, OSError)):
            while True:
                client.read(seconds)


class Block(LimitsCase):
    """A pool whose worker waits for a file keeps the queue full for as long as the test wants."""

    def gate(self):
        script = 'while [ ! -e "$GATE" ]; do sleep 0.02; done'
        return {"p": harness.shell(script, env={"GATE": str(self.folder / "gate")})}

    def open_gate(self):
        (self.folder / "gate").touch()

    def test_puback_waits_and_pingreq_is_answered(self):
        for version in (4, 5):
            with self.subTest(version=version):
                self.folder.joinpath("gate").unlink(missing_ok=True)
                gw = self.start({"work": {**FULL, "overflow": "block"}}, self.gate())
                self.fill(gw)
                c = self.mqtt(gw, version)
                c.publish("work/x", b"one", 1, 7)
                c.publish("work/x", b"two", 2, 8)
                self.assertTrue(c.quiet(0.3))
                c.ping()
                c.expect(mqtt_raw.PINGRESP)
                other = self.mqtt(gw, 4, "other")
                other.publish("elsewhere/x", b"x", 1, 1)
                other.expect(mqtt_raw.PUBACK, 1)
                self.open_gate()
                self.assertEqual(c.expect(mqtt_raw.PUBACK, 7), 0)
                self.assertEqual(c.expect(mqtt_raw.PUBREC, 8), 0)
                c.disconnect()
                other.disconnect()
                gw.await_empty("work")
                self.assertEqual(gw.counters("work")["acked"], 5)
                self.assertEqual(gw.stop(), 0)
                gw.end()

    def test_a_receipt_waits(self):
        gw = self.start({"work": {**FULL, "overflow": "block"}}, self.gate())
        self.fill(gw)
        c = self.stomp(gw)
        c.send(stomp_raw.send("/topic/work/x", b"later", "r1"))
        with self.assertRaises(TimeoutError):
            c.read(0.3)
        self.open_gate()
        c.receipt("r1")

    def test_reading_stops_when_the_parking_is_full_and_nothing_is_lost(self):
        gw = self.start({"work": {**FULL, "overflow": "block"}}, self.gate(),
                        listeners=[{"bind": "127.0.0.1:0", "protocol": "mqtt", "receive_maximum": 10},
                                   {"bind": "127.0.0.1:0", "protocol": "stomp"}])
        self.fill(gw)
        c = self.mqtt(gw)
        c.send(b"".join(mqtt_raw.publish("work/x", b"p%d" % i, 1, i) for i in range(1, 101)))
        self.assertTrue(c.quiet(0.3))
        parked = gw.summary()[""]["publishes_parked"]
        self.assertLessEqual(parked, 10)
        self.open_gate()
        for i in range(1, 101):
            c.expect(mqtt_raw.PUBACK, i)
        gw.await_empty("work")
        self.assertEqual(gw.counters("work")["acked"], 103)

    def test_a_parked_publish_whose_client_went_is_forgotten_and_qos_0_is_kept(self):
        gw = self.start({"work": {**FULL, "overflow": "block"}}, self.gate())
        self.fill(gw)
        c = self.mqtt(gw)
        c.publish("work/x", b"qos0", 0)
        c.publish("work/x", b"qos1", 1, 1)
        harness.wait_for(lambda: gw.summary()[""]["publishes_parked"] == 2, "both to be parked")
        c.close()
        harness.wait_for(lambda: gw.summary()[""]["connections"] == 0, "the connection to go")
        self.open_gate()
        gw.await_queue("work", lambda n: n["acked"] == 4 and n["ready"] + n["leased"] == 0, "four")

    def test_a_blocked_session_resumes_and_is_not_doubled(self):
        """QoS 2, parked, connection lost, sent again with DUP: one message."""
        gw = self.start({"work": {**FULL, "overflow": "block"}}, self.gate())
        self.fill(gw)
        c = self.mqtt(gw, 4, "twice", clean=False)
        c.publish("work/x", b"once", 2, 5)
        harness.wait_for(lambda: gw.summary()[""]["publishes_parked"] == 1, "it to be parked")
        c.close()
        again = self.mqtt(gw, 4, "twice", clean=False)
        self.assertEqual(again.session_present, 1)
        again.publish("work/x", b"once", 2, 5, dup=True)
        self.open_gate()
        self.assertEqual(again.expect(mqtt_raw.PUBREC, 5), 0)
        again.publish("work/x", b"once", 2, 5, dup=True)
        self.assertEqual(again.expect(mqtt_raw.PUBREC, 5), 0)
        again.send(mqtt_raw.ack(mqtt_raw.PUBREL, 5))
        self.assertEqual(again.expect(mqtt_raw.PUBCOMP, 5), 0)
        gw.await_empty("work")
        self.assertEqual(gw.counters("work")["accepted"], 4)


class Reject(LimitsCase):
    QUEUE = {"work": {**FULL, "overflow": "reject", "reject_grace": "300ms"}}

    def test_mqtt_5_is_told_quota_exceeded_and_goes_on(self):
        gw = self.start(self.QUEUE)
        self.fill(gw)
        c = self.mqtt(gw, 5)
        c.publish("work/x", b"x", 1, 1)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), QUOTA_EXCEEDED)
        c.publish("work/x", b"x", 2, 2)
        self.assertEqual(c.expect(mqtt_raw.PUBREC, 2), QUOTA_EXCEEDED)
        c.publish("work/x", b"x", 0)
        c.ping()
        c.expect(mqtt_raw.PINGRESP)
        self.assertEqual(gw.counters("work")["accepted"], 3)
        self.assertEqual(gw.counters("work")["refused"], 3)

    def test_mqtt_311_gets_no_puback_and_is_closed_after_the_grace(self):
        for qos in (1, 2):
            with self.subTest(qos=qos):
                gw = self.start(self.QUEUE)
                self.fill(gw)
                c = self.mqtt(gw, 4)
                begun = time.monotonic()
                c.publish("work/x", b"x", qos, 1)
                with self.assertRaises(ConnectionError):
                    c.read(10)
                self.assertGreaterEqual(time.monotonic() - begun, 0.25)
                gw.end()
                self.assertEqual(len(harness.dump(gw.data)), 3)
                shutil.rmtree(gw.data)

    def test_stomp_gets_an_error_with_retry_after(self):
        gw = self.start(self.QUEUE)
        self.fill(gw)
        c = self.stomp(gw)
        c.send(stomp_raw.send("/queue/work", b"x", "r"))
        command, headers, _ = c.read()
        self.assertEqual(command, "ERROR")
        self.assertIn("retry-after", headers)
        self.assertEqual(headers.get("receipt-id"), "r")
        self.assertClosed(c)


class DropOldest(LimitsCase):
    def test_the_oldest_goes_and_the_new_one_is_acknowledged(self):
        gw = self.start({"work": {**FULL, "overflow": "drop_oldest"}})
        self.fill(gw, 5)
        self.assertEqual(gw.counters("work")["dropped"], 2)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual([e["payload"] for e in harness.dump(gw.data)], [b"fill 3", b"fill 4", b"fill 5"])


class Sizes(LimitsCase):
    LIMITS = {"limits": {"max_message": "64KiB"}}
    LARGE = b"x" * (64 * 1024 + 1)

    def test_the_largest_message_passes(self):
        gw = self.start(**self.LIMITS)
        for version in (4, 5):
            c = self.mqtt(gw, version)
            c.publish("work/x", self.LARGE[:-1], 1, 1)
            self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0)
        s = self.stomp(gw)
        s.send(stomp_raw.send("/topic/work/x", self.LARGE[:-1], "big"))
        s.receipt("big")

    def test_mqtt_5_is_told_packet_too_large(self):
        gw = self.start(**self.LIMITS)
        for qos in (0, 1, 2):
            c = self.mqtt(gw, 5)
            c.publish("work/x", self.LARGE, qos, 1)
            body = c.expect(mqtt_raw.DISCONNECT)
            self.assertEqual(body[0], PACKET_TOO_LARGE)
            self.assertClosed(c)

    def test_mqtt_311_is_closed(self):
        gw = self.start(**self.LIMITS)
        c = self.mqtt(gw, 4)
        c.publish("work/x", self.LARGE, 1, 1)
        with self.assertRaises((ConnectionError, OSError)):
            c.read(10)

    def test_a_length_beyond_all_limits_is_refused_before_its_bytes_come(self):
        gw = self.start(**self.LIMITS)
        c = self.mqtt(gw, 5)
        c.send(b"\x30\xff\xff\xff\x7f")
        self.assertEqual(c.expect(mqtt_raw.DISCONNECT)[0], PACKET_TOO_LARGE)

    def test_stomp_gets_an_error_before_the_body_is_read(self):
        gw = self.start(**self.LIMITS)
        c = self.stomp(gw)
        c.send(b"SEND\ndestination:/topic/work/x\nreceipt:r\ncontent-length:1000000000\n\n")
        command, headers, _ = c.read()
        self.assertEqual((command, headers.get("receipt-id")), ("ERROR", "r"))
        self.assertClosed(c)

    def test_nothing_of_it_was_accepted(self):
        gw = self.start(**self.LIMITS)
        c = self.mqtt(gw, 4)
        c.publish("work/x", self.LARGE, 1, 1)
        self.assertClosed(c)
        self.assertEqual(gw.counters("work")["accepted"], 0)


class Connections(LimitsCase):
    def test_over_max_connections_each_protocol_is_refused_in_its_words(self):
        gw = self.start(limits={"max_connections": 3})
        keep = [self.mqtt(gw, 4, f"k{i}") for i in range(3)]
        over3 = self.mqtt(gw, 4, "over")
        self.assertEqual(over3.code, 3)
        over5 = self.mqtt(gw, 5, "over")
        self.assertIn(over5.code, (0x97, 0x9F))
        with self.assertRaises(ConnectionError):
            stomp_raw.Client(gw.stomp)
        for i, c in enumerate(keep, 1):
            c.publish("work/x", b"x", 1, i)
            c.expect(mqtt_raw.PUBACK, i)
        keep[0].disconnect()

        def admitted():
            c = self.mqtt(gw, 4, "late")
            return c.code == 0
        harness.wait_for(admitted, "a place to be free")


class Kinds(LimitsCase):
    def test_a_queue_that_is_not_durable_is_worked_and_lost_with_the_process(self):
        gw = self.start({"work": {"durable": False}})
        self.fill(gw)
        self.assertEqual(gw.counters("work")["ready"], 3)
        self.assertTrue(any(" durable=no" in l for l in gw.log.lines))
        self.assertEqual(gw.summary()[""]["records_written"], 0)
        gw.kill()
        gw.end()
        pool = {"p": harness.recorder(self.folder)}
        gw = self.start({"work": {"durable": False}}, pool)
        self.assertEqual(gw.counters("work")["ready"], 0)
        self.fill(gw)
        gw.await_queue("work", lambda n: n["acked"] == 3, "three to be worked")
        self.assertEqual(gw.stop(), 0)

    def test_fan_out_into_durable_and_not(self):
        gw = self.start({"work": {}, "loose": {"durable": False}},
                        routes=[{"match": "work/#", "queues": ["work", "loose"]}])
        self.fill(gw)
        s = gw.summary()
        self.assertEqual((s["work"]["ready"], s["loose"]["ready"]), (3, 3))
        gw.kill()
        gw.end()
        gw.start()
        s = gw.summary()
        self.assertEqual((s["work"]["ready"], s["loose"]["ready"]), (3, 0))

    def test_qos_0_is_stored_too(self):
        gw = self.start()
        c = self.mqtt(gw)
        for i in range(20):
            c.publish("work/x", b"zero %d" % i)
        gw.await_queue("work", lambda n: n["accepted"] == 20, "twenty messages")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(len(harness.dump(gw.data)), 20)

    def test_what_nobody_takes_is_told_to_mqtt_5_and_counted(self):
        gw = self.start()
        c = self.mqtt(gw, 5)
        c.publish("nowhere", b"x", 1, 1)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0x10)
        c.publish("nowhere", b"x", 2, 2)
        self.assertEqual(c.expect(mqtt_raw.PUBREC, 2), 0x10)
        old = self.mqtt(gw, 4)
        old.publish("nowhere", b"x", 1, 1)
        self.assertEqual(old.expect(mqtt_raw.PUBACK, 1), 0)
        self.assertEqual(gw.summary()[""]["no_taker"], 3)

    def test_the_gateways_own_topics_are_refused(self):
        gw = self.start()
        c = self.mqtt(gw, 5)
        c.publish("$SYS/x", b"x", 1, 1)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0x87)
        old = self.mqtt(gw, 4)
        old.publish("$SYS/x", b"x", 1, 1)
        self.assertClosed(old)

    def test_an_unknown_queue_is_an_error(self):
        gw = self.start()
        c = self.stomp(gw)
        c.send(stomp_raw.send("/queue/nosuch", b"x", "r"))
        self.assertEqual(c.read()[0], "ERROR")
        self.assertClosed(c)

    def test_the_newest_connection_takes_over(self):
        gw = self.start()
        first = self.mqtt(gw, 5, "same")
        second = self.mqtt(gw, 5, "same")
        self.assertEqual(first.expect(mqtt_raw.DISCONNECT)[0], 0x8E)
        second.publish("work/x", b"x", 1, 1)
        self.assertEqual(second.expect(mqtt_raw.PUBACK, 1), 0)

    def test_keep_alive_closes_a_silent_client(self):
        gw = self.start()
        c = self.mqtt(gw, 4, keep_alive=1)
        begun = time.monotonic()
        self.assertClosed(c)
        self.assertGreaterEqual(time.monotonic() - begun, 1.4)


class Memory(LimitsCase):
    def test_a_backlog_larger_than_memory_is_kept_and_worked_unaltered(self):
        """40 MB of messages with 16 MB of memory; also over a restart."""
        gw = self.start({"work": {}}, limits={"memory": "16MiB"})
        c = self.mqtt(gw)
        n, pad = 10000, b"." * 4000
        for first in range(1, n + 1, 100):
            ids = range(first, first + 100)
            c.send(b"".join(mqtt_raw.publish("work/x", b"m%d " % i + pad, 1, i) for i in ids))
            for i in ids:
                c.expect(mqtt_raw.PUBACK, i)
        memory = gw.summary()[""]["memory_bytes"]
        self.assertLess(memory, 24 << 20)
        c.disconnect()
        gw.kill()
        gw.end()
        gw = self.start({"work": {}}, {"c": harness.recorder(self.folder, language="c")},
                        limits={"memory": "16MiB"})
        gw.await_empty("work")
        self.assertLess(gw.summary()[""]["memory_bytes"], 24 << 20)
        self.assertEqual([w[5] for w in self.worked() if w[0] == "S"], [f"m{i}" for i in range(1, n + 1)])
        self.assertEqual(gw.stop(), 0)


class Doors(LimitsCase):
    def test_a_unix_socket_left_by_a_killed_gateway_is_taken_over(self):
        path = self.folder / "mqtt.sock"
        gw = self.start(listeners=[{"bind": f"unix:{path}", "protocol": "mqtt", "mode": "0600"},
                                   {"bind": "127.0.0.1:0", "protocol": "stomp"}])
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        gw.kill()
        self.assertTrue(path.exists())
        gw.start()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(path))
            s.sendall(mqtt_raw.connect("u") + mqtt_raw.publish("work/x", b"x", 1, 1))
            got = b""
            while len(got) < 8:
                got += s.recv(100)
        self.assertEqual(got, b"\x20\x02\x00\x00\x40\x02\x00\x01")
        self.assertEqual(gw.stop(), 0)
        self.assertFalse(path.exists())

    def test_a_session_outlives_the_gateway(self):
        for version in (4, 5):
            with self.subTest(version=version):
                gw = self.start()
                name = f"s{version}"
                c = self.mqtt(gw, version, name, clean=False)
                self.assertEqual(c.session_present, 0)
                c.publish("work/x", b"x", 2, 9)
                self.assertEqual(c.expect(mqtt_raw.PUBREC, 9), 0)
                gw.kill()
                gw.start()
                c = self.mqtt(gw, version, name, clean=False)
                self.assertEqual(c.session_present, 1)
                c.publish("work/x", b"x", 2, 9, dup=True)
                self.assertEqual(c.expect(mqtt_raw.PUBREC, 9), 0)
                self.assertEqual(gw.counters("work")["ready"], 1)
                c.send(mqtt_raw.ack(mqtt_raw.PUBREL, 9))
                self.assertEqual(c.expect(mqtt_raw.PUBCOMP, 9), 0)
                c = self.mqtt(gw, version, name, clean=True)
                self.assertEqual(c.session_present, 0)
                c.disconnect()
                gw.end()
                shutil.rmtree(gw.data)

    def test_a_transaction_enters_whole_or_not_at_all(self):
        gw = self.start()
        c = self.stomp(gw)

        def tx(command, receipt=None):
            pairs = [("transaction", "t")] + ([("receipt", receipt)] if receipt else [])
            c.send(stomp_raw.frame(command, pairs))
        tx("BEGIN")
        for i in range(5):
            c.send(stomp_raw.send("/topic/work/x", b"t%d" % i, headers=[("transaction", "t")]))
        tx("ABORT", "aborted")
        c.receipt("aborted")
        self.assertEqual(gw.counters("work")["accepted"], 0)
        tx("BEGIN")
        for i in range(5):
            c.send(stomp_raw.send("/topic/work/x", b"t%d" % i, headers=[("transaction", "t")]))
        tx("COMMIT", "done")
        c.receipt("done")
        gw.kill()
        gw.end()
        self.assertEqual([e["payload"] for e in harness.dump(gw.data)], [b"t%d" % i for i in range(5)])

    def test_disconnects_receipt_comes_after_all_others(self):
        gw = self.start()
        c = self.stomp(gw)
        c.send(b"".join(stomp_raw.send("/topic/work/x", b"m", f"r{i}") for i in range(50))
               + stomp_raw.frame("DISCONNECT", [("receipt", "bye")]))
        for i in range(50):
            c.receipt(f"r{i}")
        c.receipt("bye")
        self.assertClosed(c)


if __name__ == "__main__":
    unittest.main()
