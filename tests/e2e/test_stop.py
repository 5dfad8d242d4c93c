"""Ends: of the gateway, of its workers, of the nursery, in every order; and what a message goes
through when workers fail."""

import json
import os
import signal
import subprocess
import time
import unittest

import harness
import mqtt_raw


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


class StopCase(harness.TestCase):
    def note_file(self, name="notes"):
        return self.folder / name

    def notes(self, name="notes"):
        path = self.note_file(name)
        return path.read_text().splitlines() if path.exists() else []

    def publish(self, gw, *payloads, topic="work/x", qos=1):
        client = mqtt_raw.Client(gw.mqtt)
        for i, p in enumerate(payloads, 1):
            client.publish(topic, p, qos, i)
            if qos == 1:
                client.expect(mqtt_raw.PUBACK, i)
        client.disconnect()

    def publish_async(self, gw, *payloads):
        """Without waiting for the PUBACK, which may wait for the end of the work."""
        client = mqtt_raw.Client(gw.mqtt, "async")
        self.addCleanup(client.close)
        for i, p in enumerate(payloads, 1):
            client.publish("work/x", p, 1, i)
        return client

    def await_notes(self, n, name="notes"):
        harness.wait_for(lambda: len(self.notes(name)) >= n, f"{n} lines of {name}")
        return self.notes(name)


SLOW = f"""
import os, sys, time
from sluice_worker import worker
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for message in worker.messages():
    os.write(out, f"start {{os.getpid()}} {{message.text()}}\\n".encode())
    time.sleep(float(sys.argv[2]))
    os.write(out, f"end {{os.getpid()}} {{message.text()}}\\n".encode())
    message.ack()
"""


def slow(folder, seconds, **more):
    return {"queue": "work", "command": [harness.PYTHON, "-B", "-c", SLOW, str(folder / "notes"), str(seconds)],
            "env": {"PYTHONPATH": str(harness.SDK)}, **more}


class Draining(StopCase):
    def test_sigterm_lets_workers_finish_and_exits_0(self):
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 0.4, workers=2, prefetch=4)}))
        gw.start()
        self.publish(gw, *[b"m%d" % i for i in range(8)])
        self.await_notes(2)
        self.assertEqual(gw.stop(), 0)
        started = [l.split()[2] for l in self.notes() if l.startswith("start")]
        ended = [l.split()[2] for l in self.notes() if l.startswith("end")]
        self.assertEqual(sorted(started), sorted(ended))
        left = [e["payload"].decode() for e in harness.dump(gw.data)]
        self.assertEqual(set(left) & set(ended), set(), "what a worker finished is still there")
        self.assertEqual(set(left) | set(ended), {f"m{i}" for i in range(8)})
        self.assertEqual([e["attempts"] for e in harness.dump(gw.data)], [0] * len(left))
        self.assertTrue(gw.has_event("stopped"))

    def test_what_waits_for_an_answer_gets_it_before_the_end(self):
        gw = self.gateway(harness.config()).start()
        client = mqtt_raw.Client(gw.mqtt)
        client.send(b"".join(mqtt_raw.publish("work/x", b"m", 1, i) for i in range(1, 101)))
        client.expect(mqtt_raw.PUBACK, 1)
        gw.signal(signal.SIGTERM)
        answered = 1
        try:
            while True:
                answered += client.read()[0] == mqtt_raw.PUBACK
        except (ConnectionError, OSError):
            pass
        client.close()
        self.assertEqual(gw.wait(), 0)
        self.assertGreaterEqual(len(harness.dump(gw.data)), answered)

    def test_a_second_sigterm_stops_now(self):
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 60)}, drain_timeout="60s")).start()
        self.publish_async(gw, b"long")
        self.await_notes(1)
        begun = time.monotonic()
        gw.signal(signal.SIGTERM)
        gw.event("stopping")
        gw.signal(signal.SIGTERM)
        self.assertEqual(gw.wait(), 0)
        self.assertLess(time.monotonic() - begun, 10)
        harness.wait_for(lambda: not gw.family(), "everybody to be gone")
        self.assertEqual([e["payload"] for e in harness.dump(gw.data)], [b"long"])

    def test_a_worker_that_does_not_finish_is_killed_after_the_drain_timeout(self):
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 60, grace="500ms")},
                                         drain_timeout="500ms")).start()
        self.publish_async(gw, b"long")
        self.await_notes(1)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(gw.family(), {})
        left = harness.dump(gw.data)
        self.assertEqual([(e["payload"], e["state"]) for e in left], [(b"long", "ready")])


class Deaths(StopCase):
    def test_a_worker_that_is_killed_is_replaced_and_its_message_worked_again(self):
        gw = self.gateway(harness.config({"work": {"retry": {"initial": "10ms"}}}, {
            "p": slow(self.folder, 0.5, restart={"initial": "10ms", "factor": 1, "max": "10ms"})})).start()
        self.publish_async(gw, b"a")
        pid = int(self.await_notes(1)[0].split()[1])
        os.kill(pid, signal.SIGKILL)
        harness.wait_for(lambda: any(l.startswith("end") for l in self.notes()), "the second attempt")
        gw.await_empty("work")
        self.assertNotEqual(int(self.notes()[-1].split()[1]), pid)
        self.assertEqual(gw.counters("work")["acked"], 1)
        self.assertEqual(gw.stop(), 0)

    def test_a_worker_that_hangs_is_killed_at_its_time_limit(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 2, "retry": {"initial": "10ms"}}},
                          {"p": slow(self.folder, 60, time_limit="300ms", restart={
                              "initial": "10ms", "factor": 1, "max": "10ms"})})).start()
        self.publish_async(gw, b"hang")
        gw.await_queue("work", lambda c: c["dead_now"] == 1, "a dead letter")
        self.assertEqual(gw.counters("work")["timed_out"], 2)
        self.assertEqual(gw.stop(), 0)
        (entry,) = harness.dump(gw.data)
        self.assertEqual((entry["state"], entry["attempts"]), ("dead", 2))
        self.assertEqual([f["cause"] for f in entry["failures"]], ["timeout", "timeout"])
        self.assertNotIn("end", [l.split()[0] for l in self.notes()])

    def test_the_nurserys_death_ends_all_with_status_1(self):
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 60, workers=2, prefetch=1)})).start()
        self.publish_async(gw, b"a", b"b")
        self.await_notes(2)
        pids = gw.workers()
        self.assertEqual(len(pids), 2)
        os.kill(gw.nursery(), signal.SIGKILL)
        self.assertEqual(gw.wait(), 1)
        gw.event("nursery_died")
        harness.wait_for(lambda: not any(alive(p) for p in pids), "the workers to be gone")
        self.assertEqual({e["payload"] for e in harness.dump(gw.data)}, {b"a", b"b"})

    def test_the_gateways_death_takes_workers_and_grandchildren_along(self):
        """The grandchild left its group and session, holds on, and is dead before the next
        gateway leases."""
        script = ("import os, signal, sys, time, subprocess\n"
                  "from sluice_worker import worker\n"
                  "out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)\n"
                  "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                  "worker.connect()\n"
                  "for message in worker.messages():\n"
                  "    child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
                  "    os.write(out, f'{time.monotonic_ns()} {os.getpid()} {child.pid}\\n'.encode())\n"
                  "    time.sleep(600)\n")
        pool = {"queue": "work", "command": [harness.PYTHON, "-B", "-c", script, str(self.note_file())],
                "env": {"PYTHONPATH": str(harness.SDK)}}
        gw = self.gateway(harness.config(pools={"p": pool})).start()
        self.publish_async(gw, b"held")
        _, first, grandchild = map(int, self.await_notes(1)[0].split())
        gw.kill()
        gw.start()
        second = int(self.await_notes(2)[1].split()[1])
        self.assertNotEqual(second, first)
        self.assertFalse(alive(first), "the old worker lives beside the new one")
        self.assertFalse(alive(grandchild), "the old worker's child lives beside the new worker")
        gw.kill()
        harness.wait_for(lambda: not gw.family(), "everybody to be gone")

    def test_the_next_gateway_does_not_lease_while_an_old_worker_may_live(self):
        """The old nursery is stopped, so that it cannot end its worker: the new gateway takes
        messages and keeps them, and leases only when the old one has done its duty."""
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 60)})).start()
        self.publish_async(gw, b"held")
        old = int(self.await_notes(1)[0].split()[1])
        nursery = gw.nursery()
        os.kill(nursery, signal.SIGSTOP)
        gw.kill()
        gw.spawn()
        gw.event("listener_port", bind="127.0.0.1:0")
        gw.ports = [int(harness.fields(l)["port"]) for l in gw.log.lines if "listener_port" in l]
        self.publish(gw, b"new")
        self.assertIsNone(gw.log.wait(lambda l: harness.event_of(l) == "ready", seconds=0.5))
        self.assertTrue(alive(old))
        self.assertEqual(len(self.notes()), 1)
        os.kill(nursery, signal.SIGCONT)
        gw.event("ready")
        self.assertFalse(alive(old))
        self.await_notes(2)
        gw.kill()

    def test_a_killed_gateway_gives_back_uncharged(self):
        gw = self.gateway(harness.config(pools={"p": slow(self.folder, 60)})).start()
        self.publish_async(gw, b"held")
        self.await_notes(1)
        gw.kill()
        harness.wait_for(lambda: not gw.family(), "everybody to be gone")
        (entry,) = harness.dump(gw.data)
        self.assertEqual((entry["payload"], entry["attempts"]), (b"held", 0))


class Starting(StopCase):
    def test_a_data_directory_has_one_gateway(self):
        gw = self.gateway(harness.config()).start()
        second = subprocess.run([harness.binary(), "run", "-c", str(gw.config_path)], capture_output=True,
                                timeout=harness.PATIENCE)
        self.assertEqual(second.returncode, 1)
        lines = [l for l in second.stderr.decode().splitlines() if "store_open_failed" in l]
        self.assertEqual(len(lines), 1, second.stderr.decode())
        self.assertIn("SL_ELOCKED", lines[0])
        self.assertIn(str(gw.data), lines[0])
        self.publish(gw, b"still here")
        self.assertEqual(gw.stop(), 0)

    def test_a_wrong_configuration_is_told_whole(self):
        path = self.folder / "wrong.json"
        path.write_text('{\n  "queues": { "a": { "max_attempts": 0, "colour": 1 } },\n'
                        '  "routes": [ { "match": "x/#", "queues": ["b"] } ],\n'
                        '  "drain_timeout": "soon"\n}\n')
        for command in ("run", "check"):
            done = subprocess.run([harness.binary(), command, "-c", str(path)], capture_output=True,
                                  timeout=harness.PATIENCE)
            told = done.stderr.decode()
            self.assertEqual(done.returncode, 2, told)
            for fault in (f"{path}:2:", "queues.a.max_attempts", "queues.a.colour", f"{path}:3:",
                          "routes[0].queues", f"{path}:4:", "drain_timeout"):
                self.assertIn(fault, told)

    def test_an_address_in_use_is_status_1(self):
        gw = self.gateway(harness.config()).start()
        other = harness.config(data_dir="other")
        other["listeners"] = [{"bind": f"127.0.0.1:{gw.mqtt}", "protocol": "mqtt"}]
        path = self.folder / "other.json"
        path.write_text(json.dumps(other))
        done = subprocess.run([harness.binary(), "run", "-c", str(path)], capture_output=True,
                              timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr.decode())
        self.assertIn("listen_failed", done.stderr.decode())

    def test_sigusr1_tells_all_counters(self):
        gw = self.gateway(harness.config()).start()
        self.publish(gw, b"one", b"two")
        s = gw.summary()
        self.assertEqual(s[""]["publishes_received"], 2)
        self.assertEqual(s[""]["store"], "ok")
        self.assertEqual((s["work"]["ready"], s["work"]["accepted"]), (2, 2))
        self.assertEqual(gw.stop(), 0)

    def test_messages_outlive_the_process(self):
        gw = self.gateway(harness.config()).start()
        self.publish(gw, *[b"m%d" % i for i in range(50)])
        self.assertEqual(gw.stop(), 0)
        cfg = harness.config(pools={"p": harness.recorder(self.folder)})
        again = self.gateway(cfg).start()
        again.await_empty("work")
        self.assertEqual([w[5] for w in self.worked() if w[0] == "S"], [f"m{i}" for i in range(50)])
        self.assertEqual(again.stop(), 0)


if __name__ == "__main__":
    unittest.main()
