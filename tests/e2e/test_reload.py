"""SIGHUP: what is taken over while messages flow, what is refused and by which name, and that a
rolling restart costs no message and no pause. The pool follows its load."""

import datetime
import json
import os
import pathlib
import signal
import time
import unittest

import harness
import mqtt_raw
from test_stop import StopCase

COUNT_EACH = 1000


class ReloadCase(StopCase):

    def rewrite(self, gw, cfg):
        """The file as an operator leaves it: text, or what becomes JSON."""
        gw.config_path.write_text(cfg if isinstance(cfg, str) else json.dumps(cfg, indent=1))

    def reload(self, gw, cfg, event="reloaded"):
        self.rewrite(gw, cfg)
        mark = gw.log.mark()
        gw.signal(signal.SIGHUP)
        return mark, gw.event(event, since=mark)

    def pids(self, gw, pool):
        started = [harness.fields(l) for l in list(gw.log.lines) if harness.event_of(l) == "worker_start"]
        return [int(f["pid"]) for f in started if f["pool"] == pool]

    def pool_status(self, gw, pool):
        mark = gw.log.mark()
        gw.signal(signal.SIGUSR1)
        return gw.event("summary_pool", since=mark, pool=pool)


def pools_config(pools, **more):
    return harness.config({"work": {}, "other": {}}, pools, **more)


class TakenOver(ReloadCase):

    def test_unchanged_changed_removed_and_new_pools(self):
        ack = lambda q, **more: harness.recorder(self.folder, queue=q, language="c", **more)
        before = {"same": ack("work"), "changed": ack("work"), "removed": ack("other")}
        gw = self.gateway(pools_config(before)).start()
        for name in before:
            gw.event("worker_start", pool=name)
        same = self.pids(gw, "same")
        after = {"same": ack("work"), "changed": ack("work", env={"NEW": "1"}), "new": ack("other", workers=2)}
        mark, _ = self.reload(gw, pools_config(after))
        gw.event("worker_replaced", since=mark, pool="changed")
        gw.event("worker_exit", since=mark, pool="removed")
        gw.event("worker_exit", since=mark, pool="changed")
        self.assertEqual(len(self.pids(gw, "new")), 2)
        self.assertEqual(self.pids(gw, "same"), same)
        self.assertEqual(len(self.pids(gw, "changed")), 2)
        environ = pathlib.Path(f"/proc/{self.pids(gw, 'changed')[1]}/environ").read_bytes().split(b"\0")
        self.assertIn(b"NEW=1", environ)
        gone = self.pids(gw, "removed") + self.pids(gw, "changed")[:1]
        harness.wait_for(lambda: not set(gone) & set(gw.workers()), "the old ones to go")
        self.assertEqual(gw.stop(), 0)

    def test_more_workers_leave_those_that_work_alone(self):
        pool = lambda n: {"p": harness.recorder(self.folder, language="c", workers=n)}
        gw = self.gateway(pools_config(pool(2))).start()
        harness.wait_for(lambda: len(gw.workers()) == 2, "two workers")
        two = set(gw.workers())
        self.reload(gw, pools_config(pool(4)))
        harness.wait_for(lambda: len(gw.workers()) == 4, "four workers")
        self.assertLess(two, set(gw.workers()))
        self.reload(gw, pools_config(pool({"min": 1, "max": 1})))
        harness.wait_for(lambda: len(gw.workers()) == 1, "one worker")
        self.assertEqual(gw.stop(), 0)


class Refused(ReloadCase):

    def good(self):
        return pools_config({"p": harness.recorder(self.folder, language="c")})

    def refusals(self, gw, mark):
        gw.event("reload_refused", since=mark)
        return [l for l in gw.log.lines[mark:] if harness.event_of(l) == "reload_fault"]

    def test_a_bad_file_leaves_the_old_configuration_whole(self):
        gw = self.gateway(self.good()).start()
        gw.event("worker_start")
        workers = gw.workers()
        bad = self.good()
        bad["pools"]["p"]["workers"] = 7
        bad["pools"]["q"] = {"queue": "nowhere", "command": "x", "wrokers": 1}
        mark, _ = self.reload(gw, bad, "reload_refused")
        faults = self.refusals(gw, mark)
        self.assertEqual(len(faults), 2, faults)
        self.assertTrue(any("pools.q.queue: there is no queue" in f for f in faults), faults)
        self.assertTrue(any("pools.q.wrokers: unknown key" in f for f in faults), faults)
        self.reload(gw, "{ this is no json", "reload_refused")
        gw.config_path.unlink()
        mark = gw.log.mark()
        gw.signal(signal.SIGHUP)
        gw.event("reload_refused", since=mark)
        self.assertEqual(gw.workers(), workers)
        self.publish(gw, b"it works on")
        gw.await_queue("work", lambda c: c["acked"] == 1, "it to be worked")
        self.reload(gw, self.good())
        self.assertEqual(gw.workers(), workers)
        self.assertEqual(gw.stop(), 0)

    def test_what_needs_a_restart_is_named(self):
        gw = self.gateway(self.good()).start()
        changes = {
            "node": lambda c: c.update(node="other"),
            "data_dir": lambda c: c.update(data_dir="elsewhere"),
            "drain_timeout": lambda c: c.update(drain_timeout="11s"),
            "store.map_size": lambda c: c.update(store={"map_size": "2GiB"}),
            "limits.max_message": lambda c: c.update(limits={"max_message": "2MiB"}),
            "queues.work.durable": lambda c: c["queues"]["work"].update(durable=False),
            "queues.work.retry.initial": lambda c: c["queues"]["work"].update(retry={"initial": "2s"}),
            "queues.third": lambda c: c["queues"].update(third={}),
            "queues.other": lambda c: (c["queues"].pop("other"), c["routes"].pop()),
            "routes[0].match": lambda c: c["routes"][0].update(match="x/#"),
            "listeners": lambda c: c["listeners"].pop(),
            "listeners[1].meaning": lambda c: c["listeners"][1].update(meaning=False),
        }
        for key, change in changes.items():
            with self.subTest(key):
                cfg = self.good()
                cfg["pools"]["p"]["workers"] = 3
                change(cfg)
                mark, _ = self.reload(gw, cfg, "reload_refused")
                faults = self.refusals(gw, mark)
                self.assertTrue(any(f": {key}: " in f and "restart" in f for f in faults), faults)
        self.assertEqual(len(self.pids(gw, "p")), 1)
        self.assertEqual(gw.stop(), 0)


class Rolling(ReloadCase):

    def test_a_rolling_restart_under_full_load_costs_nothing(self):
        """There is work the whole time, and the environment changes twice. None fails, none is lost,
        none is delivered twice, and the longest time without an answer is not longer than what one
        worker needs to start."""
        pool = lambda n: {"p": harness.recorder(self.folder, workers=4, prefetch=8,
                                                env={"ROUND": str(n), "RECORD_WORK": "3000"})}
        gw = self.gateway(pools_config(pool(0))).start()
        harness.wait_for(lambda: self.pool_status(gw, "p")["running"] == "4", "four workers")
        sent = self.flood(gw, 0)
        for n in (1, 2):
            self.reload(gw, pools_config(pool(n)))
            while int(self.pool_status(gw, "p")["outdated"]) > 0 or gw.counters("work")["ready"] < 500:
                sent += self.flood(gw, sent) if gw.counters("work")["ready"] < 1000 else 0
        counters = gw.await_queue("work", lambda c: c["acked"] == sent, "all to be worked", 60)
        status = self.pool_status(gw, "p")
        pause, start = self.longest_pause(), self.longest_start(gw)
        print(f"\n{sent} messages, {status['started']} processes, longest pause {pause * 1000:.0f} ms, "
              f"a worker starts in {start * 1000:.0f} ms at most", flush=True)
        self.assertEqual((int(status["started"]), int(status["restarts"])), (12, 0))
        self.assertEqual((counters["accepted"], counters["delivered"]), (sent, sent))
        self.assertEqual(len({l[3] for l in self.worked() if l[0] == "E"}), sent)
        self.assertLess(pause, max(start, 0.25) * 2)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(harness.dump(gw.data), [])

    def flood(self, gw, sent):
        client = mqtt_raw.Client(gw.mqtt, f"flood-{sent}")
        for i in range(COUNT_EACH):
            client.publish("work/x", b"m%d" % (sent + i), 1, i + 1)
        for i in range(COUNT_EACH):
            client.expect(mqtt_raw.PUBACK, i + 1)
        client.disconnect()
        return COUNT_EACH

    def longest_pause(self):
        answers = sorted(int(l[1]) for l in self.worked() if l[0] == "E")
        return max(b - a for a, b in zip(answers, answers[1:])) / 1e9

    def longest_start(self, gw):
        """From each replacement's process to the moment when it took the place."""
        at = lambda line: datetime.datetime.fromisoformat(line.split()[0].rstrip("Z")).timestamp()
        begun, longest = 0.0, 0.0
        for line in list(gw.log.lines):
            if harness.event_of(line) == "worker_start":
                begun = at(line)
            elif harness.event_of(line) == "worker_replaced":
                longest = max(longest, at(line) - begun)
        return longest


class Sizes(ReloadCase):

    def test_a_pool_follows_a_burst_up_and_down(self):
        script = "sleep 0.05"
        gw = self.gateway(pools_config({"p": harness.shell(
            script, workers={"min": 0, "max": 6}, idle_timeout="500ms")})).start()
        self.assertEqual(self.pool_status(gw, "p")["wanted"], "0")
        client = self.publish_async(gw, *[b"x"] * 150)
        gw.event("pool_size", workers=1, before=0)
        gw.event("pool_size", workers=6)
        gw.await_queue("work", lambda c: c["acked"] == 150, "all to be worked")
        gw.event("pool_size", workers=0)
        self.assertEqual(gw.counters("work")["delivered"], 150)
        client.disconnect()
        self.assertEqual(gw.stop(), 0)

    def test_an_idle_gateway_sleeps(self):
        """At its minimum, elastic or with a bound on memory, a pool sets no timer."""
        gw = self.gateway(pools_config({
            "p": harness.recorder(self.folder, language="c", workers={"min": 1, "max": 8}, max_rss="1GiB"),
            "q": harness.recorder(self.folder, language="c", workers={"min": 0, "max": 8}, idle_timeout="100ms")},
            sys_interval="0s")).start()
        client = self.publish_async(gw, *[b"x"] * 10)
        gw.await_empty("work")
        client.disconnect()
        gw.event("pool_size", pool="q", workers=0) if gw.has_event("pool_size") else None
        harness.wait_for(lambda: self.switches(gw, 1.0) <= 2, "a second without turns", 30)
        self.assertEqual(gw.stop(), 0)

    def switches(self, gw, seconds):
        def now():
            with open(f"/proc/{gw.process.pid}/status") as f:
                return int(next(l for l in f if l.startswith("voluntary_ctxt_switches")).split()[1])
        before = now()
        time.sleep(seconds)  # what is measured is that nothing happens in it
        return now() - before


class Rights(ReloadCase):
    """What a worker may do is what its pool says."""

    def test_limits_nice_and_privileges(self):
        script = ('{ ulimit -n; nice; grep NoNewPrivs /proc/self/status; id -u; id -g; } >> "$OUT"')
        out = self.note_file()
        out.touch()
        out.chmod(0o666)
        self.folder.chmod(0o755)
        root = os.getuid() == 0
        who = {"user": "nobody", "group": "nogroup"} if root else {}
        gw = self.gateway(pools_config({"p": harness.shell(
            script, env={"OUT": str(out)}, rlimits={"nofile": 77}, nice=7, **who)})).start()
        self.publish(gw, b"x")
        gw.await_queue("work", lambda c: c["acked"] == 1, "it to be worked")
        self.assertEqual(self.notes()[:3], ["77", "7", "NoNewPrivs:\t1"])
        if root:
            self.assertEqual(self.notes()[3:], ["65534", "65534"])
        self.reload(gw, pools_config({"p": harness.shell(script, env={"OUT": str(out)}, no_new_privs=False)}))
        self.publish(gw, b"x")
        gw.await_queue("work", lambda c: c["acked"] == 2, "it to be worked")
        self.assertIn("NoNewPrivs:\t0", self.notes())
        self.assertEqual(gw.stop(), 0)


class SoftLimit(ReloadCase):
    """Decision 36: a frame, a line, SIGTERM; each worker then answers in its own way."""

    LINES = """
import json, sys
held = None
for line in sys.stdin:
    m = json.loads(line)
    if "soft_limit" in m:
        print(json.dumps({"id": m["soft_limit"], "dead": True, "reason": "soft limit seen"}), flush=True)
"""
    def reason(self, pool):
        gw = self.gateway(harness.config({"work": {"max_attempts": 1}}, {"p": pool})).start()
        self.publish(gw, b"x")
        gw.await_queue("work", lambda c: c["dead_now"] == 1, "it to be dead")
        self.assertEqual(gw.stop(), 0)
        return harness.dump(gw.data)[0]["failures"][-1]

    def test_lines_are_told_by_a_line(self):
        failure = self.reason({"queue": "work", "mode": "lines", "soft_time_limit": "100ms", "time_limit": "20s",
                               "command": [harness.PYTHON, "-B", "-c", self.LINES]})
        self.assertEqual((failure["cause"], failure["detail"]), ("rejected", "soft limit seen"))

    def test_exec_is_told_by_sigterm(self):
        failure = self.reason(harness.shell('trap "echo soft limit seen >&2; exit 65" TERM; sleep 15 & wait',
                                            soft_time_limit="200ms", time_limit="20s"))
        self.assertEqual((failure["cause"], failure["detail"]), ("rejected", "soft limit seen"))

    def test_a_worker_that_does_not_hear_is_killed_at_the_limit(self):
        failure = self.reason(harness.shell('trap "" TERM; sleep 15 & wait; wait', soft_time_limit="100ms", time_limit="300ms"))
        self.assertEqual(failure["cause"], "timeout")


if __name__ == "__main__":
    unittest.main()
