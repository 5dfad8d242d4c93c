"""The disk fails (tests/shims/faultfs.c): a full one stops intake until there is room, a broken one
until the next start. Nobody is told "stored" in the meantime, and nothing acknowledged is lost."""

import json
import os
import shutil
import subprocess
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


class Ledger:
    """Publishers of all three protocols, and what each was told."""

    def __init__(self, case):
        self.case, self.accepted, self.n = case, set(), 0
        self.five, self.four = case.client(5, "five"), case.client(4, "four")
        self.stomp = stomp_raw.Client(case.gw.stomp)
        case.addCleanup(self.stomp.close)

    def send(self):
        """One by each, in QoS 1 and 2; returns what reads their answers."""
        self.n += 1
        ids, bodies = (2 * self.n - 1, 2 * self.n), [b"%d %s" % (self.n, who) for who in (b"5.1", b"5.2", b"4.1", b"4.2", b"s")]
        for c, (one, two) in ((self.five, bodies[0:2]), (self.four, bodies[2:4])):
            c.publish("work/x", one, 1, ids[0])
            c.publish("work/x", two, 2, ids[1])
        self.stomp.send(stomp_raw.send("/queue/work", bodies[4], f"r{self.n}"))

        def answers():
            for c in (self.five, self.four):
                self.case.assertEqual(c.expect(mqtt_raw.PUBACK, ids[0]), 0)
                self.case.assertEqual(c.expect(mqtt_raw.PUBREC, ids[1]), 0)
            self.stomp.receipt(f"r{self.n}")
            self.accepted |= set(bodies)
        return answers

    def assert_waiting(self):
        """Nobody was told anything, and everybody is still heard."""
        for c in (self.five, self.four):
            self.case.assertTrue(c.quiet(0.1))
            c.ping()
            c.expect(mqtt_raw.PINGRESP)
        self.case.assertRaises(TimeoutError, self.stomp.read, 0.1)


class FullForAll(DiskCase):
    def test_all_protocols_wait_and_nothing_that_was_accepted_is_lost(self):
        for error in ("ENOSPC", "EDQUOT"):
            with self.subTest(error=error):
                gw = self.start()
                ledger = Ledger(self)
                for _ in range(3):
                    ledger.send()()
                self.fault(f"write:1:{error}:0")
                answers = ledger.send()
                self.assertEqual(gw.event("not_ready")["reason"], "no_space")
                ledger.assert_waiting()
                self.fault("")
                answers()
                ledger.send()()
                line = gw.log.wait(lambda l: harness.event_of(l) == "ready" and "after_ms" in l)
                self.assertGreaterEqual(int(harness.fields(line)["after_ms"]), 200)
                self.assertEqual(sum(harness.event_of(l) == "not_ready" for l in gw.log.lines), 1)
                self.assertEqual(gw.summary()[""]["readiness"], "ready")
                gw.kill()
                gw.end()
                self.assertEqual(self.payloads(), ledger.accepted)
                shutil.rmtree(gw.data)

    def test_what_nobody_was_told_of_may_be_lost_with_the_process_and_nothing_else(self):
        gw = self.start()
        ledger = Ledger(self)
        ledger.send()()
        self.fault("write:1:ENOSPC:0")
        ledger.send()
        gw.event("store_no_space")
        gw.kill()
        gw.end()
        self.fault("")
        self.assertEqual(self.payloads(), ledger.accepted)


class SmallDisk(DiskCase):
    """A tmpfs of 96 MiB in a mount namespace of its own (where the system allows one), with the least
    reserve: the data file is what fills it. A remount to read-only is refused by the kernel while
    the gateway has its files open (EBUSY); that error is the shim's, below."""

    def setUp(self):
        super().setUp()
        self.space = self.child(subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", f"mkdir -p {self.folder}/disk && mount -t tmpfs -o size=96m tmpfs {self.folder}/disk && echo ready && exec sleep 600"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        self.addCleanup(self.space.stdout.close)
        if self.space.stdout.readline() != b"ready\n":
            self.skipTest("this system gives no mount namespace to its users (unshare -rm)")
        self.enter = ["nsenter", "-t", str(self.space.pid), "-U", "-m", "--preserve-credentials"]

    def start(self, cfg=None):
        cfg = cfg or harness.config(limits={"min_free_disk": "1MiB"}, data_dir=str(self.folder / "disk" / "data"),
                                    store={"map_size": "1GiB", "reserve": "64MiB"})
        self.gw = self.gateway(cfg)
        self.gw.prefix = self.enter
        return self.gw.start()

    def inside(self, *command):
        subprocess.run([*self.enter, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stored(self):
        done = subprocess.run([*self.enter, harness.program("e2e_dump_store"), str(self.folder / "disk" / "data"), harness.NODE],
                              capture_output=True, check=True)
        return {bytes.fromhex(json.loads(line)["payload"])[:8] for line in done.stdout.splitlines()}

    def fill(self, c, first=1):
        """Publishes until nobody answers; the number of the one that waits."""
        for n in range(first, first + 2000):
            c.publish("work/x", b"%08d" % n + b"." * 50000, 1, n)
            if c.quiet(1 if self.gw.has_event("not_ready") else 0.05) and self.gw.has_event("not_ready"):
                return n
            self.assertEqual(c.expect(mqtt_raw.PUBACK, n), 0)
        self.fail("the disk is larger than thought")

    def test_it_takes_in_again_by_itself_when_others_leave_the_disk(self):
        gw = self.start()
        self.inside("dd", "if=/dev/zero", f"of={self.folder}/disk/other", "bs=1M", "count=10")
        c = self.client()
        n = self.fill(c)
        self.assertEqual(gw.event("not_ready")["reason"], "no_space")
        c.ping()
        c.expect(mqtt_raw.PINGRESP)
        self.inside("rm", f"{self.folder}/disk/other")
        self.assertEqual(c.expect(mqtt_raw.PUBACK, n), 0)
        gw.event("store_space_back")
        gw.kill()
        gw.end()
        self.assertEqual(self.stored(), {b"%08d" % i for i in range(1, n + 1)})

    def test_settling_goes_on_and_makes_room_and_intake_does_not_flap(self):
        gw = self.start()
        c = self.client()
        n = self.fill(c)
        worker = stomp_raw.Client(gw.stomp)
        self.addCleanup(worker.close)
        worker.subscribe("/queue/work", ack="client-individual", prefetch_count=1)
        for i in range(1, 41):  # 2 MB: room for many, and less than an eighth of the reserve
            self.assertEqual(worker.get().body[:8], b"%08d" % i)
        self.assertTrue(c.quiet(0.6))
        done = 40
        while c.quiet(0.001):
            worker.get()
            done += 1
        self.assertEqual(c.expect(mqtt_raw.PUBACK, n), 0)
        self.assertGreaterEqual(done * 13 * 4096, 8 << 20)  # pages of a body, and an eighth of the reserve
        gw.kill()
        gw.end()
        left = self.stored()
        self.assertLessEqual({b"%08d" % i for i in range(done + 2, n + 1)}, left)
        self.assertEqual(left & {b"%08d" % i for i in range(1, done + 1)}, set())


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

    def test_a_disk_that_became_read_only_is_latched(self):
        self.broken("any:1:EROFS:0")

    def test_all_protocols_are_refused_and_nothing_that_was_accepted_is_lost(self):
        for fault in ("sync:1:EIO:1", "write:1:EIO:1", "any:1:EROFS:0"):
            with self.subTest(fault=fault):
                gw = self.start()
                ledger = Ledger(self)
                for _ in range(3):
                    ledger.send()()
                self.fault(fault)
                ledger.send()
                self.assertEqual(gw.event("not_ready")["reason"], "store_broken")
                for kind, packet in ((mqtt_raw.PUBACK, 7), (mqtt_raw.PUBREC, 8)):
                    self.assertGreaterEqual(ledger.five.expect(kind, packet), 0x80)
                with self.assertRaises((ConnectionError, OSError)):
                    ledger.four.read(10)  # no PUBACK, and the end
                headers, _ = ledger.stomp.closed()
                self.assertIn("retry-after", headers)
                ledger.five.ping()
                ledger.five.expect(mqtt_raw.PINGRESP)
                self.fault("")
                self.assertGreaterEqual(ledger.five.put("work/x", b"after"), 0x80)
                self.assertEqual(gw.summary()[""]["readiness"], "store_broken")
                self.assertFalse(any(harness.event_of(l) == "ready" and "after_ms" in l for l in gw.log.lines))
                gw.kill()
                gw.end()
                self.assertLessEqual(ledger.accepted, self.payloads())
                again = self.start()
                self.assertEqual(self.client().put("work/x", b"again"), 0)
                again.kill()
                again.end()
                self.assertIn(b"again", self.payloads())
                shutil.rmtree(gw.data)

    def test_mqtt_311_gets_no_puback(self):
        self.start()
        c = self.client(4)
        self.fault("sync:1:EIO:1")
        c.publish("work/x", b"x", 1, 1)
        with self.assertRaises((ConnectionError, OSError)):
            c.read(10)


if __name__ == "__main__":
    unittest.main()
