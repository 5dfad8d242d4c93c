"""Workers of every kind: shell commands in `exec` mode, JSON in `lines` mode, and workers that break
the rules of their socket. What happens to a message is told in its dead letter."""

import json
import unittest

import harness
from test_stop import StopCase, alive


class Modes(StopCase):
    """Workers that are shell commands."""

    def settle(self, gw, *payloads):
        client = self.publish_async(gw, *payloads)
        gw.await_queue("work", lambda c: c["accepted"] == len(payloads)
                       and c["ready"] + c["leased"] + c["delayed"] == 0, "all to be settled")
        client.disconnect()

    def dead(self, gw):
        self.assertEqual(gw.stop(), 0)
        return {e["payload"].decode(): e for e in harness.dump(gw.data)}

    def test_exec_gives_payload_and_environment(self):
        script = 'read -r line; echo "$line|$SLUICE_TOPIC|$SLUICE_ATTEMPT|$SLUICE_QUEUE|$SLUICE_PROTOCOL" >> "$OUT"'
        gw = self.gateway(harness.config(pools={
            "p": harness.shell(script, env={"OUT": str(self.note_file())})})).start()
        self.settle(gw, b"hello\n", b"again\n")
        self.assertEqual(sorted(self.notes()), ["again|work/x|1|work|mqtt", "hello|work/x|1|work|mqtt"])
        self.assertEqual(gw.stop(), 0)

    def test_exec_cat_is_an_ack(self):
        gw = self.gateway(harness.config(pools={"p": {"queue": "work", "command": ["cat"], "mode": "exec"}}))
        gw.start()
        self.settle(gw, b"x" * 100000, b"")
        self.assertEqual(gw.counters("work")["acked"], 2)
        self.assertEqual(gw.stop(), 0)

    def test_exec_statuses_are_answers(self):
        """0 ack, 75 retry, 65 dead, others and signals a failed attempt; the causes are kept."""
        script = 'read -r what; echo "stderr of $what" >&2; case $what in sig) kill -9 $$;; *) exit $what;; esac'
        gw = self.gateway(harness.config(
            {"work": {"max_attempts": 2, "retry": {"initial": "10ms", "factor": 1}}},
            {"p": harness.shell(script, workers=2)})).start()
        self.settle(gw, b"0\n", b"75\n", b"65\n", b"3\n", b"sig\n")
        dead = self.dead(gw)
        self.assertEqual(set(dead), {"75\n", "65\n", "3\n", "sig\n"})
        self.assertEqual([f["cause"] for f in dead["75\n"]["failures"]], ["retry", "retry"])
        self.assertEqual([f["cause"] for f in dead["65\n"]["failures"]], ["rejected"])
        self.assertEqual([f["cause"] for f in dead["3\n"]["failures"]], ["exit", "exit"])
        self.assertEqual([f["cause"] for f in dead["sig\n"]["failures"]], ["signal", "signal"])
        self.assertIn("3", dead["3\n"]["failures"][-1]["detail"])
        self.assertIn("9", dead["sig\n"]["failures"][-1]["detail"])
        self.assertIn("stderr of 3", dead["3\n"]["failures"][-1]["tail"])
        self.assertEqual(dead["75\n"]["attempts"], 2)

    def test_exec_that_hangs_is_killed_with_its_children(self):
        script = 'sleep 600 & echo $! >> "$OUT"; wait'
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {
            "p": harness.shell(script, time_limit="300ms", grace="200ms",
                               env={"OUT": str(self.note_file())})})).start()
        self.settle(gw, b"x")
        child = int(self.notes()[0])
        harness.wait_for(lambda: not alive(child), "the child to be gone")
        self.assertEqual([f["cause"] for f in self.dead(gw)["x"]["failures"]], ["timeout"])

    def test_a_command_that_does_not_exist_keeps_the_message(self):
        gw = self.gateway(harness.config(pools={"p": {
            "queue": "work", "command": ["/nonexistent/worker"],
            "restart": {"initial": "10ms", "factor": 2, "max": "50ms"}}})).start()
        self.publish(gw, b"kept")
        gw.event("worker_restart")
        self.assertEqual(gw.counters("work")["ready"], 1)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual([e["attempts"] for e in harness.dump(gw.data)], [0])

    LINES = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    with open(sys.argv[1], "a") as f:
        f.write(line)
    what = m.get("payload", "b64")
    answer = {"id": m["id"]}
    if what == "garbage":
        print("this is no json", flush=True)
        continue
    if what == "release" and m["attempt"] == 1 and not m.get("redelivered"):
        answer["ack"] = True
    elif what == "retry":
        answer.update(retry=True, delay="10ms", reason="later")
    elif what == "dead":
        answer.update(dead=True, reason="poison")
    else:
        answer.update(ack=True, result="done")
    print(json.dumps(answer), flush=True)
"""

    def lines_pool(self):
        return {"queue": "work", "mode": "lines", "restart": {"initial": "10ms", "factor": 1, "max": "10ms"},
                "command": [harness.PYTHON, "-B", "-c", self.LINES, str(self.note_file())]}

    def test_lines_speaks_json(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 2, "retry": {"initial": "10ms"}}},
                                         {"p": self.lines_pool()})).start()
        self.settle(gw, b"plain", b"\xff\x00binary", "grüße \" \\ \n".encode(), b"retry", b"dead")
        told = [json.loads(l) for l in self.notes()]
        self.assertEqual(told[0]["payload"], "plain")
        self.assertEqual((told[0]["queue"], told[0]["topic"], told[0]["attempt"]), ("work", "work/x", 1))
        self.assertIn("/wBiaW5hcnk=", [m.get("payload_base64") for m in told])
        self.assertIn("grüße \" \\ \n", [m.get("payload") for m in told])
        dead = self.dead(gw)
        self.assertEqual(set(dead), {"retry", "dead"})
        self.assertEqual([f["cause"] for f in dead["retry"]["failures"]], ["retry", "retry"])
        self.assertEqual(dead["retry"]["failures"][0]["detail"], "later")
        self.assertEqual(dead["dead"]["failures"][0]["detail"], "poison")

    def test_a_line_that_is_no_answer_is_a_worker_fault(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 2, "retry": {"initial": "10ms"}}},
                                         {"p": self.lines_pool()})).start()
        self.settle(gw, b"garbage", b"good")
        self.assertTrue(any("this is no json" in l for l in gw.log.lines), gw.tail())
        dead = self.dead(gw)
        self.assertEqual(set(dead), {"garbage"})
        self.assertEqual({f["cause"] for f in dead["garbage"]["failures"]}, {"worker_fault"})

    def test_retries_wait_longer_each_time(self):
        script = 'date +%s%N >> "$OUT"; exit 1'
        gw = self.gateway(harness.config(
            {"work": {"max_attempts": 4, "retry": {"initial": "100ms", "factor": 2, "max": "5m", "jitter": 0}}},
            {"p": harness.shell(script, env={"OUT": str(self.note_file())})})).start()
        self.settle(gw, b"x")
        at = [int(l) / 1e9 for l in self.notes()]
        self.assertEqual(len(at), 4)
        for i, least in enumerate((0.1, 0.2, 0.4)):
            self.assertGreaterEqual(at[i + 1] - at[i], least * 0.95)
        self.assertEqual(self.dead(gw)["x"]["attempts"], 4)


class RuleBreakers(StopCase):
    """Programs on a worker's socket that do what no worker should; the gateway and the message
    outlive them all."""

    def pool(self, script, **more):
        return {"queue": "work", "command": [harness.PYTHON, "-B", "-c", "import os, socket, sys, time\n" + script],
                "env": {"PYTHONPATH": str(harness.SDK), "OUT": str(self.note_file())},
                "restart": {"initial": "10ms", "factor": 1, "max": "20ms"}, **more}

    def survives(self, script, restarts=3, **more):
        """After some restarts the message is there, uncharged, and the gateway answers."""
        gw = self.gateway(harness.config(pools={"p": self.pool(script, **more)})).start()
        self.publish(gw, b"kept")
        seen = 0
        for _ in range(restarts):
            gw.event("worker_restart", since=seen)
            seen = gw.log.mark()
        self.publish(gw, b"second")
        self.assertEqual(gw.stop(), 0)
        left = harness.dump(gw.data)
        self.assertEqual([(e["payload"], e["state"], e["attempts"]) for e in left],
                         [(b"kept", "ready", 0), (b"second", "ready", 0)])
        return gw

    def test_a_worker_that_ends_at_once(self):
        self.survives("sys.exit(1)")

    def test_a_worker_that_says_garbage_instead_of_hello(self):
        self.survives("socket.socket(fileno=int(os.environ['SLUICE_FD'])).sendall(b'GET / HTTP/1.1\\r\\n' * 100)\n"
                      "time.sleep(60)")

    def test_a_worker_that_promises_a_huge_frame(self):
        self.survives("socket.socket(fileno=int(os.environ['SLUICE_FD'])).sendall(b'\\xff\\xff\\xff\\x7f\\x01')\n"
                      "time.sleep(60)")

    def test_a_worker_that_closes_its_socket_and_lives_on(self):
        self.survives("socket.socket(fileno=int(os.environ['SLUICE_FD'])).close()\ntime.sleep(60)",
                      grace="200ms")

    def answering(self, tag, **queue):
        """A worker that, having acked a message, acks `tag` (an expression)."""
        script = ("from sluice_worker import wire, worker\n"
                  "for m in worker.messages():\n"
                  "    m.ack()\n    worker.flush()\n"
                  f"    worker._session.send(wire.tagged(wire.ACK, {tag}), now=True)\n")
        return self.gateway(harness.config({"work": queue}, {"p": self.pool(script)})).start()

    def test_a_second_ack_changes_nothing_and_is_counted(self):
        gw = self.answering("m._tag")
        self.publish(gw, b"a", b"b", b"c")
        gw.await_queue("work", lambda c: c["acked"] == 3, "all to be worked")
        harness.wait_for(lambda: gw.summary()[""]["stale_answers"] == 3, "the late answers to be counted")
        self.assertEqual(gw.counters("work")["acked"], 3)
        self.assertEqual(len(gw.workers()), 1)
        self.assertFalse(gw.has_event("worker_restart"))
        self.assertEqual(gw.stop(), 0)

    def test_an_ack_for_what_was_never_given_harms_no_message(self):
        gw = self.answering("m._tag + 999999")
        self.publish(gw, b"a", b"b", b"c")
        gw.await_queue("work", lambda c: c["acked"] == 3, "all to be worked")
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(harness.dump(gw.data), [])

    def test_a_flood_of_output_is_bounded_and_read_to_the_end(self):
        """20 MB each to stdout and stderr of an exec worker: the gateway keeps max_result of it."""
        script = 'head -c 20000000 /dev/zero | tr "\\0" x; head -c 20000000 /dev/zero | tr "\\0" y >&2; echo done >> "$OUT"'
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}},
                                         {"p": harness.shell(script, env={"OUT": str(self.note_file())})})).start()
        self.publish_async(gw, b"x").close()
        gw.await_queue("work", lambda c: c["accepted"] == 1 and c["ready"] + c["leased"] == 0, "the end")
        self.assertEqual(self.notes(), ["done"])
        with open(f"/proc/{gw.process.pid}/status") as f:
            peak = next(int(l.split()[1]) for l in f if l.startswith("VmHWM"))
        if not harness.sanitized():
            self.assertLess(peak, 64 * 1024)
        self.assertEqual(gw.stop(), 0)

    def test_the_largest_message_reaches_every_mode(self):
        large = bytes(range(256)) * 4096
        for mode in ("socket", "lines", "exec"):
            with self.subTest(mode=mode):
                self.note_file().unlink(missing_ok=True)
                if mode == "socket":
                    pool = self.pool("from sluice_worker import worker\nfor m in worker.messages():\n"
                                     "    open(os.environ['OUT'], 'wb').write(m.payload)\n    m.ack()\n")
                elif mode == "lines":
                    pool = self.pool("import base64, json\nfor line in sys.stdin:\n    m = json.loads(line)\n"
                                     "    open(os.environ['OUT'], 'wb').write(base64.b64decode(m['payload_base64']))\n"
                                     "    print(json.dumps({'id': m['id'], 'ack': True}), flush=True)\n", mode="lines")
                else:
                    pool = harness.shell('cat > "$OUT"', env={"OUT": str(self.note_file())})
                gw = self.gateway(harness.config(pools={"p": pool})).start()
                client = self.publish_async(gw, large)
                gw.await_queue("work", lambda c: c["acked"] == 1, "the message to be worked")
                client.disconnect()
                self.assertTrue(self.note_file().read_bytes() == large)
                self.assertEqual(gw.stop(), 0)


if __name__ == "__main__":
    unittest.main()
