"""Workers that somebody else starts: they come to a pool's worker_socket, and whatever they do there
costs nobody but themselves. And what the nursery promises to workers of ours: a watchdog over those
that take nothing, and every limit as it is configured."""

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
import unittest

import harness
import worker_raw
from test_stop import StopCase
from worker_raw import Raw

NOBODY = 65534
EXTERNAL = 2  # the WELCOME's flag


class ExternalCase(StopCase):
    def path(self, name="w.sock"):
        return self.folder / name

    def pool(self, **more):
        return {"queue": "work", "workers": 0, "worker_socket": "w.sock", **more}

    def external(self, queue=None, **pool):
        queue = {"ack_timeout": "30s", "retry": {"initial": "10ms", "factor": 1, "jitter": 0}, **(queue or {})}
        return self.gateway(harness.config({"work": queue}, {"p": self.pool(**pool)}))

    def joined(self, gw, **more):
        raw = Raw(self.path())
        self.addCleanup(raw.close)
        raw.join(**more)
        return raw

    def dead(self, gw):
        self.assertEqual(gw.stop(), 0)
        return {e["payload"].decode(): e for e in harness.dump(gw.data)}


class Joining(ExternalCase):
    def test_an_external_worker_gets_messages_and_acks_them(self):
        gw = self.external(queue={"ack_timeout": "7s"}, prefetch=9).start()
        raw = Raw(self.path())
        self.addCleanup(raw.close)
        self.assertEqual(raw.join(name="mine"), {"flags": EXTERNAL, "prefetch": 9, "time_limit": 7000})
        self.assertEqual(gw.event("external_join")["name"], "mine")
        self.publish_async(gw, b"one", b"two")
        for want in (b"one", b"two"):
            d = raw.deliver()
            self.assertEqual(d.payload, want)
            raw.ack(d.tag)
        gw.await_queue("work", lambda c: c["acked"] == 2, "two acks")
        raw.send(worker_raw.frame(worker_raw.BYE))
        raw.close()
        self.assertEqual(gw.event("external_leave")["detail"], "goodbye")
        self.assertEqual(gw.stop(), 0)
        self.assertFalse(self.path().exists())

    def test_the_file_has_its_rights_and_only_the_owner_by_default(self):
        gw = self.external().start()
        self.assertEqual(stat.S_IMODE(os.lstat(self.path()).st_mode), 0o600)
        self.assertEqual(gw.stop(), 0)
        gw = self.external(worker_socket_mode="0660").start()
        self.assertEqual(stat.S_IMODE(os.lstat(self.path()).st_mode), 0o660)
        self.assertEqual(gw.stop(), 0)

    def test_the_token_is_asked_for(self):
        gw = self.external(worker_token="open sesame").start()
        for token in (None, "open", "open sesamf", "open sesame2", "x" * 300):
            raw = Raw(self.path())
            raw.send(worker_raw.hello(token=token))
            code, _ = raw.error()
            self.assertIn(code, (5,) if token is None or len(token) < 256 else (2, 5))
            raw.close()
        self.joined(gw, token="open sesame")
        self.assertEqual(gw.stop(), 0)

    @unittest.skipUnless(os.geteuid() == 0, "another user needs root")
    def test_another_user_is_refused_whatever_the_file_allows(self):
        os.chmod(self.folder, 0o755)
        gw = self.external(worker_socket_mode="0666").start()
        script = ("import sys; sys.path.insert(0, sys.argv[2]); import worker_raw; r = worker_raw.Raw(sys.argv[1])\n"
                  "try: r.send(worker_raw.hello())\nexcept BrokenPipeError: pass\nprint(*r.error())")
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                   harness.PYTHON, "-B", "-c", script, str(self.path()), str(self.readable_tests())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=harness.PATIENCE)
        self.assertEqual(done.stdout.strip(), "5 user-not-allowed", done.stderr)
        self.assertEqual(gw.event("external_refused")["uid"], str(NOBODY))
        self.assertEqual(gw.stop(), 0)

    def readable_tests(self):
        """The test's modules where any user may read them."""
        copy = self.folder / "worker_raw.py"
        copy.write_bytes((harness.HERE / "worker_raw.py").read_bytes())
        os.chmod(copy, 0o644)
        return self.folder

    @unittest.skipUnless(os.geteuid() == 0, "another user needs root")
    def test_the_pools_own_user_may_join(self):
        os.chmod(self.folder, 0o755)
        gw = self.external(user="nobody").start()
        self.assertEqual(os.lstat(self.path()).st_uid, NOBODY)
        script = "import sys; sys.path.insert(0, sys.argv[2]); import worker_raw; print(worker_raw.Raw(sys.argv[1]).join())"
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                   harness.PYTHON, "-B", "-c", script, str(self.path()), str(self.readable_tests())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=harness.PATIENCE)
        self.assertIn("'flags': 2", done.stdout, done.stderr)
        self.assertEqual(gw.stop(), 0)

    def test_a_stale_file_is_replaced_and_a_live_one_is_an_error_that_names_it(self):
        gw = self.external().start()
        gw.kill()
        self.assertTrue(self.path().exists())
        gw.start()
        gw.event("worker_socket_stale")
        self.joined(gw)
        self.assertEqual(gw.stop(), 0)
        taken = socket.socket(socket.AF_UNIX)
        self.addCleanup(taken.close)
        taken.bind(str(self.path()))
        taken.listen()
        gw.spawn()
        self.assertEqual(gw.wait(), 1)
        failed = gw.event("worker_socket_failed")
        self.assertIn("another process listens", failed["reason"])
        self.assertEqual(failed["path"], str(self.path()))
        self.assertTrue(self.path().exists())

    def test_another_file_in_the_way_is_left_alone(self):
        self.path().write_text("precious")
        gw = self.external().spawn()
        self.assertEqual(gw.wait(), 1)
        self.assertIn("not a socket", gw.event("worker_socket_failed")["reason"])
        self.assertEqual(self.path().read_text(), "precious")

    def test_bad_bytes_get_an_error_and_the_end(self):
        gw = self.external(worker_socket_max=8).start()
        for bad, code in ((b"GET / HTTP/1.1\r\n\r\n", (2, 3)), (worker_raw.frame(0x77), (2,)),
                          (worker_raw.frame(worker_raw.ACK, bytes(8)), (2, 4)), (worker_raw.frame(worker_raw.BYE), (4,)),
                          (worker_raw.hello() + worker_raw.hello(), (4,))):
            raw = Raw(self.path())
            raw.send(bad)
            got = raw.frame()
            while got is not None and got[0] != worker_raw.ERROR:
                got = raw.frame()
            self.assertIsNotNone(got, bad)
            self.assertIn(got[1][0], code, bad)
            raw.close()
        half = [Raw(self.path()) for _ in range(4)]
        for i, raw in enumerate(half):
            raw.send(worker_raw.hello()[:i * 3 + 1])
            raw.close()
        self.joined(gw)
        self.assertEqual(gw.stop(), 0)

    def test_there_is_a_bound_to_connections_and_a_place_is_free_again(self):
        gw = self.external(worker_socket_max=3).start()
        kept = [self.joined(gw) for _ in range(3)]
        over = Raw(self.path())
        self.assertEqual(over.error(), (3, "too-many-workers"))
        over.close()
        kept[0].close()
        gw.event("external_leave")
        self.joined(gw)
        self.assertEqual(gw.stop(), 0)

    def test_without_a_descriptor_it_waits_and_comes_in_later(self):
        gw = self.external().start()
        self.joined(gw).close()
        gw.event("external_leave")
        pid = gw.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        gaps = used + 1 - len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, hard))
        waiting = [Raw(self.path()) for _ in range(gaps + 3)]
        for raw in waiting:
            self.addCleanup(raw.close)
            raw.send(worker_raw.hello())
        self.assertEqual(gw.event("accept_failed")["error"], "EMFILE")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for raw in waiting:
            self.assertEqual(raw.frame()[0], worker_raw.WELCOME)
        self.assertEqual(gw.stop(), 0)

    def test_thousands_of_connections_leave_nothing_behind(self):
        gw = self.external().start()
        self.joined(gw).close()  # the first one brings a descriptor of libuv's own
        gw.event("external_leave")
        fds = len(os.listdir(f"/proc/{gw.process.pid}/fd"))
        for i in range(3000):
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(self.path()))
            if i % 3 == 0:
                try:
                    s.send(worker_raw.hello() if i % 2 else b"\xff" * 40)
                except BrokenPipeError:
                    pass
            s.close()
        harness.wait_for(lambda: len(os.listdir(f"/proc/{gw.process.pid}/fd")) <= fds, "descriptors to be closed")
        self.joined(gw)
        self.assertLess(len(gw.log.lines), 1500)  # nobody can fill the log
        self.assertEqual(gw.stop(), 0)


class Leases(ExternalCase):
    def test_what_is_late_goes_back_alone_and_the_connection_lives_on(self):
        gw = self.external(queue={"ack_timeout": "300ms", "max_attempts": 5}, concurrency=2).start()
        slow = self.joined(gw)
        self.publish_async(gw, b"late", b"in time")
        first, second = slow.deliver(), slow.deliver()
        slow.answer(worker_raw.EXTEND, second.tag, (5000).to_bytes(4, "little"))
        gw.await_queue("work", lambda c: c["timed_out"] == 1, "the first to be late")
        quick = self.joined(gw)
        again = quick.deliver()
        self.assertEqual((again.payload, again.attempt), (first.payload, 2))
        quick.ack(again.tag)
        gw.await_queue("work", lambda c: c["acked"] == 1, "it to be done by another")
        slow.ack(second.tag)
        gw.await_queue("work", lambda c: c["acked"] == 2, "the other to be its own still")
        quick.send(worker_raw.frame(worker_raw.BYE))
        quick.close()
        gw.event("external_leave")
        self.publish_async(gw, b"next")
        gw.await_queue("work", lambda c: c["ready"] == 1, "the next to wait: it has not answered what was late")
        slow.ack(first.tag)
        kind, body = slow.frame()
        self.assertEqual((kind, int.from_bytes(body, "little")), (worker_raw.STALE, first.tag))
        d = slow.deliver()
        self.assertEqual(d.payload, b"next")
        slow.ack(d.tag)
        gw.await_queue("work", lambda c: c["acked"] == 3, "the next to be done")
        self.assertEqual(gw.stop(), 0)

    def test_a_lost_connection_charges_what_was_started(self):
        gw = self.external(queue={"max_attempts": 1}, concurrency=1).start()
        raw = self.joined(gw)
        self.publish_async(gw, b"warm up")
        raw.ack(raw.deliver().tag)
        gw.await_queue("work", lambda c: c["acked"] == 1, "it to be measured")
        self.publish_async(gw, b"started", b"waits", b"waits too")
        raw.deliver()
        gw.await_queue("work", lambda c: c["leased"] == 3 or c["ready"] > 0, "all to be there")
        raw.close()
        self.assertEqual(gw.event("external_leave")["cause"], "consumer_lost")
        gw.await_queue("work", lambda c: c["ready"] == 2, "the others to be back")
        left = self.dead(gw)
        self.assertEqual({k: e["attempts"] for k, e in left.items()}, {"started": 1, "waits": 0, "waits too": 0})
        self.assertEqual(left["started"]["failures"][0]["cause"], "consumer_lost")

    def test_a_goodbye_charges_nobody(self):
        gw = self.external(queue={"max_attempts": 1}).start()
        raw = self.joined(gw)
        self.publish_async(gw, b"kept")
        raw.deliver()
        raw.send(worker_raw.frame(worker_raw.BYE))
        raw.close()
        gw.await_queue("work", lambda c: c["ready"] == 1, "it to be back")
        self.assertEqual(self.dead(gw)["kept"]["attempts"], 0)

    def test_draining_tells_it_and_takes_back_what_is_not_answered(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": self.pool(concurrency=2)}, drain_timeout="500ms")).start()
        raw = self.joined(gw)
        self.publish_async(gw, b"done", b"kept")
        tags = {d.payload: d.tag for d in (raw.deliver(), raw.deliver())}
        gw.signal(signal.SIGTERM)
        self.assertEqual(raw.frame(), (worker_raw.DRAIN, b""))
        raw.ack(tags[b"done"])
        self.assertIsNone(raw.frame())
        self.assertEqual(gw.wait(), 0)
        self.assertEqual([(e["payload"], e["attempts"]) for e in harness.dump(gw.data)], [(b"kept", 0)])

    def test_one_that_reads_nothing_gets_a_bounded_amount(self):
        gw = self.external(prefetch=1000).start()
        raw = self.joined(gw)
        self.publish(gw, *[b"x" * 100000] * 60)
        held = gw.await_queue("work", lambda c: c["leased"] > 0, "some to be on their way")
        self.assertLess(held["leased"], 30)
        self.joined(gw).close()
        raw.close()
        gw.await_queue("work", lambda c: c["leased"] == 0, "them to be back")
        self.assertEqual(gw.stop(), 0)


    def test_one_that_reads_no_answers_is_not_read_either_and_gets_all_of_them_later(self):
        gw = self.external().start()
        raw = self.joined(gw)
        raw.socket.settimeout(1)
        each = worker_raw.publish(1, "nobody/listens", b"x" * 200)
        unsent, sent = b"", 0
        with self.assertRaises(socket.timeout):
            while sent < 100000:
                unsent = unsent or each * 100
                n = raw.socket.send(unsent)
                sent += n / len(each)
                unsent = unsent[n:]
        self.assertLess(sent, 60000)
        raw.socket.settimeout(20)
        for _ in range(int(sent)):
            self.assertEqual(raw.frame()[0], worker_raw.PUBLISHED)
        self.assertEqual(gw.stop(), 0)

    def test_a_reload_moves_the_socket_and_removes_it(self):
        gw = self.external(worker_token="old").start()
        raw = self.joined(gw, token="old")
        gw.config["pools"]["p"].update(worker_token="new", worker_socket="other.sock")
        gw.config_path.write_text(json.dumps(gw.config))
        gw.signal(signal.SIGHUP)
        self.assertEqual(raw.frame(), (worker_raw.DRAIN, b""))
        raw.send(worker_raw.frame(worker_raw.BYE))
        raw.close()
        gw.event("worker_socket_open", path=str(self.path("other.sock")))
        self.assertFalse(self.path().exists())
        again = Raw(self.path("other.sock"))
        self.addCleanup(again.close)
        again.join(token="new")
        self.publish_async(gw, b"here")
        again.ack(again.deliver().tag)
        gw.await_queue("work", lambda c: c["acked"] == 1, "its ack")
        gw.config["pools"] = {}
        gw.config_path.write_text(json.dumps(gw.config))
        gw.signal(signal.SIGHUP)
        self.assertEqual(again.frame(), (worker_raw.DRAIN, b""))
        self.assertIsNone(again.frame())  # it has nothing: it need not say anything
        self.assertFalse(self.path("other.sock").exists())
        self.assertEqual(gw.stop(), 0)


    def test_of_a_backlog_one_that_gathers_gets_a_bounded_amount_at_a_time_and_all_of_it(self):
        gw = self.external(prefetch=1000).start()
        self.publish(gw, *[b"x" * 100000] * 100)
        raw = self.joined(gw, flags=worker_raw.GATHERS)
        held = gw.await_queue("work", lambda c: c["leased"] > 0, "some to be on their way")
        self.assertLess(held["leased"], 30)
        tags = [raw.deliver().tag for _ in range(100)]
        for tag in tags:
            raw.ack(tag)
        gw.await_queue("work", lambda c: c["acked"] == 100, "all to be worked")
        self.assertEqual(gw.stop(), 0)


SDK_WORKER = """
import os, sys
from sluice_worker import worker
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for message in worker.messages():
    os.write(out, (message.payload.decode() + "\\n").encode())
    message.ack()
"""


class Load(ExternalCase):
    N = 4000

    def work(self, stop, acked, misbehave):
        """A raw external worker until it is told to stop; it comes back when it was thrown out."""
        turn = 0
        while not stop.is_set():
            raw = None
            try:
                raw = Raw(self.path(), seconds=0.5)
                raw.join()
                while not stop.is_set():
                    try:
                        d = raw.deliver()
                    except socket.timeout:
                        continue
                    turn += 1
                    if misbehave and turn % 97 == 0:
                        break  # closes with messages in hand
                    raw.ack(d.tag)
                    acked.append(d.payload.decode())
            except (OSError, AssertionError, TypeError):
                time.sleep(0.01)  # the gateway is being restarted
            finally:
                if raw is not None:
                    raw.close()

    def test_external_and_own_workers_together_lose_nothing(self):
        own = {"queue": "work", "command": [harness.PYTHON, "-B", "-c", SDK_WORKER, str(self.note_file())], "workers": 2,
               "env": {"PYTHONPATH": str(harness.SDK)}, "worker_socket": "w.sock", "restart": {"initial": "10ms"}}
        gw = self.gateway(harness.config({"work": {"max_attempts": 100, "retry": {"initial": "1ms", "max": "10ms"}}}, {"p": own})).start()
        self.publish(gw, *[f"first {i}".encode() for i in range(10)])
        gw.await_empty("work")
        self.assertEqual(len(self.notes()), 10)
        stop, acked = threading.Event(), []
        threads = [threading.Thread(target=self.work, args=(stop, acked, i == 0)) for i in range(2)]
        for t in threads:
            t.start()
        self.addCleanup(stop.set)
        sent = [f"m{i}" for i in range(self.N)]
        for at in range(0, self.N // 2, 500):
            self.publish(gw, *[m.encode() for m in sent[at:at + 500]])
        gw.kill()
        gw.start()
        for at in range(self.N // 2, self.N, 500):
            self.publish(gw, *[m.encode() for m in sent[at:at + 500]])
        gw.await_empty("work")
        stop.set()
        for t in threads:
            t.join()
        done = set(acked) | set(self.notes())
        self.assertEqual(set(sent) - done, set())
        self.assertGreater(len(acked), 0)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(harness.dump(gw.data), [])

    def test_a_worker_with_the_sdk_comes_back_to_a_gateway_that_was_killed(self):
        gw = self.external(queue={"max_attempts": 5}, worker_token="secret").start()
        env = dict(os.environ, SLUICE_SOCKET=str(self.path()), SLUICE_TOKEN="secret", RECORD_FILE=str(self.folder / "worked"))
        env.pop("SLUICE_FD", None)
        sdk = self.child(subprocess.Popen([harness.program("e2e_recorder")], env=env))
        for start in range(3):
            if start > 0:
                gw.kill()
                gw.start()
            self.publish(gw, b"one %d" % start, b"two %d" % start)
            gw.await_empty("work")
        self.assertEqual(gw.stop(), 0)
        self.assertEqual({line[5] for line in self.worked() if line[0] == "S"}, {"one", "two"})
        self.assertIsNone(sdk.poll())
        sdk.terminate()
        self.assertEqual(sdk.wait(harness.PATIENCE), 0)

    def test_an_external_process_that_is_killed_costs_one_attempt(self):
        gw = self.external(queue={"max_attempts": 1}).start()
        script = "import sys; sys.path.insert(0, sys.argv[2]); import worker_raw; r = worker_raw.Raw(sys.argv[1]); r.join(); r.deliver(); print('got', flush=True); r.frame()"
        p = self.child(subprocess.Popen([harness.PYTHON, "-B", "-c", script, str(self.path()), str(harness.HERE)], stdout=subprocess.PIPE))
        self.publish_async(gw, b"victim")
        self.assertEqual(p.stdout.readline(), b"got\n")
        p.kill()
        p.wait()
        p.stdout.close()
        gw.event("external_leave", cause="consumer_lost")
        self.assertEqual([f["cause"] for f in self.dead(gw)["victim"]["failures"]], ["consumer_lost"])


NEVER_READS = """
import os, socket, sys, time
s = socket.socket(fileno=int(os.environ["SLUICE_FD"]))
sys.path.insert(0, sys.argv[1])
import worker_raw
s.sendall(worker_raw.hello())
time.sleep(600)
"""

BUSY = """
import sys, time
from sluice_worker import worker
for message in worker.messages():
    time.sleep(float(message.payload))
    message.ack()
"""


class Watchdog(StopCase):
    def pool(self, script, *args, **more):
        return {"queue": "work", "command": [harness.PYTHON, "-B", "-c", script, *args], "env": {"PYTHONPATH": str(harness.SDK)},
                "restart": {"initial": "10ms", "factor": 1, "max": "20ms"}, "watchdog": "300ms", **more}

    def stop(self, pid):
        """A signal takes a moment: until then it may read."""
        def state():
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0]
        os.kill(pid, signal.SIGSTOP)
        harness.wait_for(lambda: state() == "T", "it to be stopped")

    def test_a_worker_that_never_reads_is_replaced_and_nobody_is_charged(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": self.pool(NEVER_READS, str(harness.HERE))})).start()
        self.publish_async(gw, b"kept")
        stuck = gw.event("worker_stuck")
        self.assertEqual(stuck["pid"], gw.event("worker_exit", detail="took nothing")["pid"])
        self.assertEqual(gw.stop(), 0)
        self.assertEqual([(e["payload"], e["attempts"]) for e in harness.dump(gw.data)], [(b"kept", 0)])

    def test_a_stopped_worker_is_replaced_and_its_messages_are_worked(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": self.pool(BUSY)})).start()
        self.publish(gw, b"0")
        gw.await_queue("work", lambda c: c["acked"] == 1, "the first")
        [pid] = gw.workers()
        self.stop(pid)
        self.publish_async(gw, b"0", b"0", b"0")
        gw.event("worker_stuck", pid=pid)
        done = gw.await_queue("work", lambda c: c["acked"] == 4, "all")
        self.assertEqual(done["dead"], 0)
        self.assertEqual(gw.stop(), 0)

    def test_a_worker_that_is_long_at_work_is_left_alone(self):
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": self.pool(BUSY)})).start()
        self.publish(gw, *[b"0"] * 20)  # it is measured as quick: others will wait in its socket
        gw.await_queue("work", lambda c: c["acked"] == 20, "it to be measured")
        client = self.publish_async(gw, b"1.5")
        gw.await_queue("work", lambda c: c["leased"] == 1, "it to be at work")
        for i in range(3):
            client.publish("work/x", b"0", 1, 9 + i)
        gw.await_queue("work", lambda c: c["leased"] == 4, "them to wait in it, unread")
        gw.await_queue("work", lambda c: c["acked"] == 24, "all")
        self.assertFalse(gw.has_event("worker_stuck"))
        self.assertEqual(gw.stop(), 0)

    def test_a_stopped_worker_of_lines_is_replaced_too(self):
        script = ("import json, sys\nfor line in sys.stdin:\n"
                  "    print(json.dumps({'id': json.loads(line)['id'], 'ack': True}), flush=True)")
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": self.pool(script, mode="lines")})).start()
        self.publish(gw, b"before")
        gw.await_queue("work", lambda c: c["acked"] == 1, "the first")
        [pid] = gw.workers()
        self.stop(pid)
        self.publish_async(gw, b"a")
        gw.event("worker_stuck", pid=pid)
        gw.await_queue("work", lambda c: c["acked"] == 2, "both")
        self.assertEqual(gw.stop(), 0)


REPORT = """
import json, os, resource, sys
status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines() if ":" in l)
names = ("NOFILE", "NPROC", "CPU", "AS", "CORE", "DATA", "FSIZE", "MEMLOCK", "STACK")
print(json.dumps({
    "limits": {n.lower(): resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in names},
    "nice": os.nice(0), "oom": int(open("/proc/self/oom_score_adj").read()),
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(), "no_new_privs": int(status["NoNewPrivs"]),
    "session": os.getsid(0) == os.getpid(), "group": os.getpgrp() == os.getpid(), "cwd": os.getcwd(),
}), file=open(sys.argv[1], "w"))
sys.stdin.read()
"""


class Limits(StopCase):
    def seen(self, **pool):
        """What a real worker sees of itself."""
        os.chmod(self.folder, 0o777)
        out = self.folder / "seen"
        out.write_text("")
        os.chmod(out, 0o666)
        gw = self.gateway(harness.config(pools={"p": {"queue": "work", "mode": "exec", **pool,
                                                      "command": [harness.PYTHON, "-B", "-c", REPORT, str(out)]}})).start()
        self.publish(gw, b"go")
        gw.await_queue("work", lambda c: c["acked"] == 1, "the report")
        self.assertEqual(gw.stop(), 0)
        return json.loads(out.read_text())

    def test_a_worker_sees_each_limit_that_is_configured(self):
        mib = 1 << 20
        want = {"nofile": 99, "nproc": 5000, "cpu": 77, "as": 2048 * mib, "core": 0, "data": 1024 * mib,
                "fsize": 9 * mib, "memlock": 65536, "stack": 4 * mib}
        if harness.sanitized():
            want.pop("as")
        seen = self.seen(rlimits=want, nice=3, oom_score_adj=700)
        self.assertEqual({k: v for k, v in seen["limits"].items() if k in want}, {k: [v, v] for k, v in want.items()})
        self.assertEqual((seen["nice"], seen["oom"], seen["no_new_privs"]), (3, 700, 1))
        self.assertEqual((seen["session"], seen["group"]), (True, True))

    def test_without_configuration_only_the_session_and_no_new_privs_are_its_own(self):
        seen = self.seen(no_new_privs=False)
        with open("/proc/self/oom_score_adj") as f:
            mine = int(f.read())
        self.assertEqual((seen["nice"], seen["oom"], seen["no_new_privs"], seen["session"]), (os.nice(0), mine, 0, True))
        self.assertEqual(seen["uid"][0], os.getuid())

    @unittest.skipUnless(os.geteuid() == 0, "another user needs root")
    def test_a_worker_is_the_user_and_group_that_are_configured_and_nothing_else(self):
        seen = self.seen(user="nobody", group="nogroup", cwd="/")
        self.assertEqual((seen["uid"], seen["gid"]), ([NOBODY] * 3, [NOBODY] * 3))
        self.assertEqual([g for g in seen["groups"] if g != NOBODY], [])
        self.assertEqual(seen["cwd"], "/")

    @unittest.skipUnless(os.geteuid() == 0, "an unprivileged gateway needs another user")
    def test_a_lower_oom_score_without_rights_is_told(self):
        cfg = harness.config(pools={"p": harness.shell("cat", oom_score_adj=-500)})
        gw = self.gateway(cfg)
        os.chmod(self.folder, 0o777)
        plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        p = self.child(subprocess.Popen([*plain, harness.binary(), "run", "-c", str(gw.config_path)], stderr=subprocess.PIPE, text=True))
        said = []
        for line in p.stderr:
            said.append(line)
            if "worker_start_failed" in line or "ready" in line and self.publish_to(said):
                if "worker_start_failed" in line:
                    break
        p.terminate()
        p.wait()
        p.stderr.close()
        self.assertIn('stage="oom_score_adj" error="Permission denied"', said[-1])

    def publish_to(self, said):
        import mqtt_raw
        port = next(harness.fields(l)["port"] for l in said if "listener_port" in l)
        client = mqtt_raw.Client(int(port))
        client.publish("work/x", b"x", 1, 1)
        self.addCleanup(client.close)
        return True


if __name__ == "__main__":
    unittest.main()
