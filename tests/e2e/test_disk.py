"""The disk fails (tests/shims/faultfs.c): a full one stops intake until there is room, a broken one
until the next start. Nobody is told "stored" in the meantime, and nothing acknowledged is lost."""

import os
import unittest

import harness
import mqtt_raw
import stomp_raw


class DiskCase(harness.TestCase):
    def start(self, cfg=None):
        self.control = self.folder / "fault"
        self.control.write_text("")
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS", ""), "verify_asan_link_order=0"]))
        env = {"LD_PRELOAD": harness.shim("faultfs"), "FAULTFS_CONTROL": str(self.control),
               "ASAN_OPTIONS": options}
        self.gw = self.gateway(cfg or harness.config(), env=env).start()
        return self.gw

    def fault(self, text):
        """Whole or not at all: the gateway reads it at every call."""
        scratch = self.control.with_suffix(".new")
        scratch.write_text(text)
        scratch.rename(self.control)

    def client(self, version=5, name="disk"):
        c = mqtt_raw.Client(self.gw.mqtt, name, version)
        self.addCleanup(c.close)
        return c

    def payloads(self):
        return {e["payload"] for e in harness.dump(self.gw.data)}


class FullDisk(DiskCase):
    def test_intake_waits_and_goes_on_by_itself(self):
        for error in ("ENOSPC", "EDQUOT"):
            with self.subTest(error=error):
                gw = self.start()
                c = self.client()
                c.publish("work/x", b"before", 1, 1)
                self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0)
                self.fault(f"write:1:{error}:0")
                c.publish("work/x", b"during", 1, 2)
                gw.event("store_no_space")
                self.assertTrue(c.quiet(0.3))
                c.ping()
                c.expect(mqtt_raw.PINGRESP)
                self.assertEqual(gw.summary()[""]["store"], "no_space")
                self.fault("")
                self.assertEqual(c.expect(mqtt_raw.PUBACK, 2), 0)
                gw.event("store_space_back")
                c.disconnect()
                self.assertEqual(gw.stop(), 0)
                self.assertEqual(self.payloads(), {b"before", b"during"})

    def test_work_goes_on_while_nothing_can_be_stored(self):
        """What workers finish in the meantime frees its place once there is room."""
        cfg = harness.config(pools={"p": harness.recorder(self.folder, env={"LD_PRELOAD": ""})})
        gw = self.start(cfg)
        self.fault("write:1:ENOSPC:0")
        c = self.client()
        c.publish("work/x", b"worked", 1, 1)
        harness.wait_for(lambda: any(w[0] == "E" for w in self.worked()), "the work to be done")
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0)
        self.fault("")
        c.publish("work/x", b"more", 1, 2)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 2), 0)
        gw.await_empty("work")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(self.payloads(), set())


    def taken(self):
        """A STOMP consumer that holds a message, and has answered it and sent another in a transaction."""
        self.start(harness.config({"work": {}, "done": {}}))
        c = stomp_raw.Client(self.gw.stomp)
        self.addCleanup(c.close)
        c.put("/queue/work", b"in")
        c.subscribe("/queue/work", ack="client-individual")
        m = c.take()
        c.begin("t")
        c.put("/queue/done", b"out", transaction="t")
        c.settle("ACK", m, {"transaction": "t"})
        return c

    def test_a_transaction_waits_whole_until_there_is_room(self):
        c = self.taken()
        self.fault("write:1:ENOSPC:0")
        receipt = c.begin_to_ask("COMMIT", {"transaction": "t"})
        self.gw.event("store_no_space")
        self.assertRaises(TimeoutError, c.read, 0.3)
        self.fault("")
        c.answered(receipt)
        c.disconnect()
        self.assertEqual(self.gw.stop(), 0)
        self.assertEqual(self.payloads(), {b"out"})

    def test_a_transaction_for_which_there_never_was_room_is_not_done(self):
        """Nor is half of it, when the gateway dies before."""
        c = self.taken()
        self.fault("write:1:ENOSPC:0")
        c.begin_to_ask("COMMIT", {"transaction": "t"})
        self.gw.event("store_no_space")
        self.gw.kill()
        self.gw.end()
        self.fault("")
        self.assertEqual(self.payloads(), {b"in"})


class BrokenDisk(DiskCase):
    def broken(self, fault):
        gw = self.start()
        c, s = self.client(), stomp_raw.Client(self.gw.stomp)
        self.addCleanup(s.close)
        c.publish("work/x", b"before", 1, 1)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0)
        self.fault(fault)
        c.publish("work/x", b"during", 1, 2)
        gw.event("store_broken")
        self.assertGreaterEqual(c.expect(mqtt_raw.PUBACK, 2), 0x80)
        self.fault("")  # even when it would work again: only a restart clears it
        c.publish("work/x", b"after", 1, 3)
        self.assertGreaterEqual(c.expect(mqtt_raw.PUBACK, 3), 0x80)
        s.send(stomp_raw.send("/topic/work/x", b"after", "r"))
        self.assertEqual(s.read()[0], "ERROR")
        self.assertEqual(gw.summary()[""]["store"], "store_broken")
        c.disconnect()
        s.close()
        self.assertEqual(gw.stop(), 1)
        gw.end()
        self.assertIn(b"before", self.payloads())
        self.assertNotIn(b"after", self.payloads())
        again = self.start()
        c = self.client()
        c.publish("work/x", b"again", 1, 1)
        self.assertEqual(c.expect(mqtt_raw.PUBACK, 1), 0)
        c.disconnect()
        self.assertEqual(again.stop(), 0)
        self.assertLessEqual({b"before", b"again"}, self.payloads())

    def test_a_failed_sync_is_latched(self):
        self.broken("sync:1:EIO:1")

    def test_a_failed_write_is_latched(self):
        self.broken("write:1:EIO:1")

    def test_mqtt_311_gets_no_puback(self):
        self.start()
        c = self.client(4)
        self.fault("sync:1:EIO:1")
        c.publish("work/x", b"x", 1, 1)
        with self.assertRaises((ConnectionError, OSError)):
            c.read(10)


if __name__ == "__main__":
    unittest.main()
