"""What comes of work: messages that a worker publishes with its ack, results that go where they were asked for,
and the status of jobs.

SLUICE_CRASHES  how many times the gateway is killed (6)      SLUICE_SEED  repeats a run's dice"""

import collections
import json
import os
import subprocess
import threading
import time
import unittest

import harness
import mqtt_raw
import stomp_raw

CRASHES = int(os.environ.get("SLUICE_CRASHES", "6"))
WINDOW = 16
TWO = {"one": {}, "two": {}}


def splitter(queue="one", **more):
    return {"queue": queue, "command": [harness.PYTHON, "-B", str(harness.HERE / "workers" / "splitter.py")],
            "restart": {"initial": "10ms", "factor": 1, "max": "50ms"}, **more}


class Producer(threading.Thread):
    """Each uid is published once; `accepted` are those whose PUBACK came."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.accepted, self.sent, self.stopping = gateway, set(), 0, False

    def connect(self):
        while not self.stopping:
            try:
                return mqtt_raw.Client(self.gateway.mqtt, "producer")
            except (OSError, ConnectionError, KeyError, ValueError):
                time.sleep(0.02)  # it is being started again

    def run(self):
        while not self.stopping:
            client = self.connect()
            try:
                while not self.stopping:
                    self.window(client)
            except (OSError, ConnectionError, TimeoutError):
                continue

    def window(self, client):
        first, self.sent = self.sent, self.sent + WINDOW
        for i in range(WINDOW):
            client.publish("one/x", b"P %d" % (first + i), 1, i + 1)
        for i in range(WINDOW):
            client.expect(mqtt_raw.PUBACK, i + 1)
            self.accepted.add(first + i)


class Steps(harness.TestCase):
    def look(self, gw, accepted):
        """In the store: each accepted message is there, or all that came of it is; never both, never in parts."""
        here, children = set(), collections.Counter()
        for e in harness.dump(gw.data):
            word, uid = e["payload"].split(b" ")[:2]
            if e["queue"] == "one":
                here.add(int(uid))
            else:
                self.assertEqual(word, b"C")
                children[int(uid)] += 1
        for uid in here | set(children) | accepted:
            self.assertEqual((uid in here, children[uid]), (True, 0) if uid in here else (False, 2), uid)
        return len(here), len(children)

    def test_a_message_is_there_or_its_children_are_over_kill_9(self):
        seed, dice = harness.seeded()
        gw = self.gateway(harness.config(TWO, {"split": splitter(workers=2)})).start()
        producer = Producer(gw)
        producer.start()
        seen = []
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.1, 0.7))  # the random moment
            accepted = set(producer.accepted)
            gw.kill()
            seen.append(self.look(gw, accepted))
            gw.start()
        producer.stopping = True
        producer.join(harness.PATIENCE)
        gw.await_empty("one", harness.PATIENCE * 2)
        self.assertEqual(gw.stop(), 0)
        left, split = self.look(gw, producer.accepted)
        print(f"kills={CRASHES} seed={seed} accepted={len(producer.accepted)} split={split} (there, split) at each={seen}", flush=True)
        self.assertEqual(left, 0)
        self.assertGreater(split, 20 * CRASHES)


class Results(harness.TestCase):
    def start(self, **more):
        return self.gateway(harness.config(TWO, {"split": splitter(**more)})).start()

    def test_an_mqtt_5_client_gets_the_result_with_its_correlation(self):
        gw = self.start()
        c = mqtt_raw.Client(gw.mqtt, "asks", version=5)
        c.subscribe(("answers/1", 1))
        c.put("one/x", b"R word", response_topic="answers/1", correlation=b"\x00c")
        m = c.get()
        self.assertEqual((m.topic, m.payload), ("answers/1", b"WORD"))
        self.assertEqual(m.properties["correlation"], b"\x00c")
        self.assertEqual(m.properties["content_type"], "text/plain")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)

    def test_a_stomp_client_gets_it_on_its_own_queue_and_on_one_of_ours(self):
        gw = self.start()
        c = stomp_raw.Client(gw.stomp)
        c.put("/queue/one", b"R word", **{"reply-to": "/temp-queue/r", "correlation-id": "7"})
        headers, body = c.next("MESSAGE")
        self.assertEqual((body, headers["correlation-id"]), (b"WORD", "7"))
        c.put("/queue/one", b"R other", **{"reply-to": "/queue/two"})
        c.subscribe("/queue/two")
        self.assertEqual(c.next("MESSAGE")[1], b"OTHER")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)

    def test_what_exec_and_lines_workers_say_is_their_result(self):
        lines = 'while read -r l; do printf \'{"id":"%s","ack":true,"result":"said"}\\n\' "$(echo "$l" | cut -d\\" -f4)"; done'
        gw = self.gateway(harness.config(TWO, {
            "exec": harness.shell("tr a-z A-Z", queue="one"), "lines": harness.shell(lines, queue="two", mode="lines")})).start()
        c = mqtt_raw.Client(gw.mqtt, "asks", version=5)
        c.subscribe(("answers/#", 0))
        c.put("one/x", b"word", response_topic="answers/exec")
        self.assertEqual(c.get().payload, b"WORD")
        c.put("two/x", b"word", response_topic="answers/lines")
        self.assertEqual(c.get().payload, b"said")
        c.disconnect()
        self.assertEqual(gw.stop(), 0)

    def test_pub_waits_for_the_result_and_prints_it(self):
        gw = self.start()
        for protocol in (["-p", str(gw.mqtt)], ["--stomp", "-p", str(gw.stomp)]):
            topic = "/topic/one/x" if "--stomp" in protocol else "one/x"
            done = subprocess.run([harness.binary(), "pub", *protocol, "-q", "1", "--wait", topic, "R word"],
                                  capture_output=True, timeout=harness.PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (0, b"WORD\n"), done.stderr)
        self.assertEqual(gw.stop(), 0)

    def test_a_lasting_session_finds_the_result_after_a_kill(self):
        gw = self.start()
        c = mqtt_raw.Client(gw.mqtt, "asks", version=5, clean=True, expiry=1000)
        c.subscribe(("answers/1", 1))
        c.disconnect()
        other = mqtt_raw.Client(gw.mqtt, "other", version=5)
        other.put("one/x", b"R word", response_topic="answers/1")
        gw.await_empty("one")
        other.disconnect()
        other = mqtt_raw.Client(gw.mqtt, "other", version=5)
        other.put("two/fence", b"x")  # stored behind the ack
        gw.kill()
        gw.start()
        c = mqtt_raw.Client(gw.mqtt, "asks", version=5, clean=False, expiry=1000)
        self.assertEqual(c.get().payload, b"WORD")
        self.assertEqual(gw.stop(), 0)


class Jobs(harness.TestCase):
    def test_the_status_of_a_job_is_told_as_it_goes(self):
        gw = self.gateway(harness.config(TWO, {"split": splitter()})).start()
        watch = mqtt_raw.Client(gw.mqtt, "watch", version=5)
        watch.subscribe(("$jobs/+", 0))
        stomp = stomp_raw.Client(gw.stomp)
        stomp.put("/queue/one", b"G 1", **{"job-id": "job-1"})
        states = []
        while not states or states[-1]["state"] != "done":
            m = watch.get()
            self.assertEqual((m.topic, m.retain), ("$jobs/job-1", False))
            states.append(json.loads(m.payload))
        self.assertEqual(states[-1]["queue"], "one")
        self.assertEqual(states[-1]["attempt"], 1)
        self.assertEqual(states[-1]["progress"], 0.4)
        late = mqtt_raw.Client(gw.mqtt, "late", version=5)
        late.subscribe(("$jobs/job-1", 0))
        m = late.get()
        self.assertTrue(m.retain)
        self.assertEqual(json.loads(m.payload)["state"], "done")
        self.assertEqual(gw.stop(), 0)


if __name__ == "__main__":
    unittest.main()
