"""Workers in C, Python and Node.js, some of them nobody's children here, that fail in every way at
random while producers send and the configuration is read again and again: what was accepted is
worked, dead or still there, nobody works on what another holds, answers that are late, double or
for others change nothing and are counted, nobody innocent is dead, and nothing is left behind.

SLUICE_CHAOS_SECONDS   how long (15; the long form takes 60)      SLUICE_SEED  repeats a run's dice"""

import collections
import json
import os
import signal
import subprocess
import time
import unittest

import harness
from ledger import Ledger
from test_crash import KINDS, name_of
from test_crash import Run as CrashRun

SECONDS = float(os.environ.get("SLUICE_CHAOS_SECONDS", "15"))
POISON = 1999  # each message whose number this divides ends every worker that takes it
MAX_ATTEMPTS = 4
BATCH = 10
TIME_LIMIT_S, ACK_TIMEOUT_S = 2, 3
SHORT_STOP_S = 0.4
PAUSE_S = (0.05, 0.35)  # between two of our own blows
RELOAD_S = 3
EXTERNAL_S = (1, 6)     # and between two against external workers
RSS_MAX = {False: 150 << 20, True: 1500 << 20}  # a sanitizer's quarantine is part of it
QUEUE = {"max_messages": 2000, "max_attempts": MAX_ATTEMPTS, "ack_timeout": f"{ACK_TIMEOUT_S}s",
         "retry": {"initial": "10ms", "factor": 2, "max": "100ms"}}
OWN_WAYS = ["hang", "garbage", "half", "close", "kill", "exit", "foreign"]


class Chaos(CrashRun):
    """The gateway with its pools, and who hits their workers. Its blows are written down."""

    def __init__(self, test, seed, dice):
        self.test, self.folder, self.dice = test, test.folder, dice
        self.kinds, self.window, self.producers = KINDS, 50, []
        self.env = {"RECORD_CHAOS": "6", "RECORD_WORSE": "5", "RECORD_POISON": str(POISON), "RECORD_SEED": str(seed),
                    "RECORD_SWELL": "96", "LD_PRELOAD": ""}
        self.socket = self.folder / "workers.sock"
        self.round = 0
        self.gateway = test.gateway(harness.config({"work": QUEUE}, self.pools()))
        self.blows = collections.Counter()
        self.felled = collections.Counter()  # pid -> how often one of our blows may have cost an attempt
        self.stopped = {}                    # pid -> when to wake it, or None
        self.external = {}                   # language -> process
        self.outsiders = set()               # their pids
        self.rss = 0

    def pools(self):
        """Eight workers, two of them external; each round of the configuration changes some pools."""
        def pool(language, workers=1, round=0, env=None, **more):
            return harness.recorder(self.folder, language=language, workers=workers,
                                    env={**self.env, "ROUND": str(round), **(env or {})}, max_rss="72MiB",
                                    **{"prefetch": 16, "time_limit": f"{TIME_LIMIT_S}s", "watchdog": "1s", "grace": "1s", **more})
        n = self.round
        pools = {
            "c": pool("c", 1 + n % 2, worker_socket=str(self.socket)),
            "python": pool("python", round=n // 2, max_jobs=500),
            "batch": pool("python", round=n // 3, env={"RECORD_STYLE": "batch"}, batch={"max": BATCH, "wait": "20ms"}),
            "lines": pool("python", mode="lines", round=n // 4),
        }
        pools["lines"]["command"] = [harness.PYTHON, "-B", str(harness.HERE / "workers" / "liar.py")]
        if harness.NODE_JS:
            pools["node"] = pool("node", 2, round=n // 2, max_age="8s")
            pools["node"]["max_rss"] = "160MiB"
            pools["node"]["env"]["RECORD_SWELL"] = "200"
        return pools

    # -- blows

    def one_of(self, pids):
        free = sorted(set(pids) - set(self.stopped))
        return self.dice.choice(free) if free else None

    def hit(self, pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.fell(self.one_of(self.gateway.workers()), signal.SIGKILL, 1)

    def stop_for_good(self):
        """Its time limit or the watchdog ends it, or its drain."""
        if sum(1 for wake in self.stopped.values() if wake is None) < 2:
            self.fell(self.one_of(self.gateway.workers()), signal.SIGSTOP, 1)

    def fell(self, pid, number, price):
        if pid is not None:
            self.felled[pid] += price
            if number == signal.SIGSTOP:
                self.stopped[pid] = None
            self.hit(pid, number)

    def stop_shortly(self):
        pid = self.one_of(self.gateway.workers() + [p.pid for p in self.external.values() if p.poll() is None])
        if pid is not None:
            self.stopped[pid] = time.monotonic() + SHORT_STOP_S
            self.hit(pid, signal.SIGSTOP)

    def kill_external(self):
        p = self.external[self.dice.choice(sorted(self.external))]
        if p.pid not in self.stopped:
            self.fell(p.pid, signal.SIGKILL, 1)

    def stop_external(self):
        """Others get what it holds; it never speaks again."""
        p = self.external[self.dice.choice(sorted(self.external))]
        if p.pid not in self.stopped:
            self.fell(p.pid, signal.SIGSTOP, 2)
            self.stopped[p.pid] = time.monotonic() + ACK_TIMEOUT_S + 1

    def reload(self):
        self.round += 1
        self.gateway.config["pools"] = self.pools()
        self.gateway.config_path.write_text(json.dumps(self.gateway.config))
        mark = self.gateway.log.mark()
        self.gateway.signal(signal.SIGHUP)
        self.gateway.event("reloaded", since=mark)

    # -- between them

    def start_external(self, language):
        pool = harness.recorder(self.folder, language=language, env=self.env)
        env = dict(os.environ, **pool["env"], SLUICE_SOCKET=str(self.socket), RECORD_LATE=str(ACK_TIMEOUT_S + 1))
        p = subprocess.Popen(pool["command"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        self.external[language] = self.test.child(p)
        self.outsiders.add(p.pid)

    def care(self):
        """Wakes who is to be woken, brings externals back, measures."""
        now = time.monotonic()
        for pid, wake in list(self.stopped.items()):
            if pid in self.outsiders and pid in self.felled and wake is not None and now >= wake:
                self.hit(pid, signal.SIGKILL)
            elif wake is not None and now >= wake:
                self.hit(pid, signal.SIGCONT)
            if wake is not None and now >= wake or not os.path.exists(f"/proc/{pid}"):
                del self.stopped[pid]
        for language in ("c", "python"):
            p = self.external.get(language)
            if p is None or p.poll() is not None:
                self.start_external(language)
        with open(f"/proc/{self.gateway.process.pid}/statm") as f:
            self.rss = max(self.rss, int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    def rage(self):
        """Each kind of blow at its own random moments."""
        clocks = [[(self.kill, self.kill, self.stop_shortly, self.stop_shortly, self.stop_for_good), PAUSE_S],
                  [(self.kill_external, self.stop_external), EXTERNAL_S], [(self.reload,), (RELOAD_S, RELOAD_S)]]
        due = [time.monotonic() + self.dice.uniform(*pause) for _, pause in clocks]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.care()
            for i, (blows, pause) in enumerate(clocks):
                if time.monotonic() >= due[i]:
                    blow = self.dice.choice(blows)
                    self.blows[blow.__name__] += 1
                    blow()
                    due[i] = time.monotonic() + self.dice.uniform(*pause)
            time.sleep(0.01)

    def calm(self):
        """No blow of ours any more; the workers go on with theirs."""
        self.finish_producers()
        deadline = time.monotonic() + harness.PATIENCE * 4
        while True:
            self.care()
            c = self.gateway.counters("work")
            if c["ready"] + c["leased"] + c["delayed"] == 0:
                return
            self.test.assertLess(time.monotonic(), deadline, f"the queue does not become empty: {c}\n{self.gateway.tail()}")
            time.sleep(0.1)

    def dismiss(self):
        for p in self.external.values():
            p.kill()
            p.wait()


def children(pid, states=None):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and (states is None or fields[0] in states):
                found.append(int(entry))
    return found


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Attempts:
    """Each failed attempt, and who is to blame for it."""

    def __init__(self, lines, dead, felled):
        self.begun, self.own, self.last = collections.defaultdict(list), {}, collections.Counter()
        self.felled, self.enders = felled, set()
        for what, _, who, message, attempt, word in (l for l in lines if len(l) == 6):
            key = (message, int(attempt))
            if what == "S":
                self.begun[key].append(who)
                self.last[message] = max(self.last[message], key[1])
            elif what == "X" or what == "E" and word in ("retry", "dead"):
                self.own[key] = word
            if what == "X":
                self.enders.add(who)
        self.failed = collections.Counter(
            self.blame((message, n)) for message, last in self.last.items() for n in range(1, last))
        self.causes = collections.Counter(f["cause"] for e in dead for f in e["failures"])
        self.failed.update(self.blame((e["id"], e["attempts"])) for e in dead)

    def blame(self, key):
        """What the message's worker did with it; "struck": our blow; "unbegun": it was delivered, and the
        worker had no time to write that down; "near": none of that, it was started in a worker that
        ended over something else (its answer was not yet written), or its batch was."""
        if key in self.own:
            return self.own[key]
        if not self.begun[key]:
            return "unbegun"
        if any(int(who.split(".")[0]) in self.felled for who in self.begun[key]):
            return "struck"
        return "near"


class ChaosTest(harness.TestCase):
    def test_every_promise_holds_whatever_workers_do(self):
        seed, dice = harness.seeded()
        run = Chaos(self, seed, dice)
        gw = run.gateway.start()
        harness.wait_for(lambda: len(gw.workers()) >= 5, "the workers")
        quiet = descriptors(gw.process.pid), descriptors(gw.nursery())
        run.start_producers()
        run.rage()
        run.calm()
        run.dismiss()
        summary = gw.summary()
        self.no_leaks(run, quiet)
        pools = {l["pool"]: l for l in (harness.fields(l) for l in gw.log.lines[-60:] if harness.event_of(l) == "summary_pool")}
        of_batch = {int(f["pid"]) for f in (harness.fields(l) for l in gw.log.lines if harness.event_of(l) == "worker_exit")
                    if f["pool"] == "batch"}
        self.assertEqual(gw.stop(), 0)
        ledger = run.accounts()
        attempts = Attempts(self.worked(), ledger.dead.values(), run.felled)
        print(json.dumps(self.counts(run, ledger, attempts, summary, pools), indent=1), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])
        self.counted(ledger, summary)
        self.innocent_live(run, ledger, attempts)
        self.charged_once(attempts, run, of_batch)

    def counts(self, run, ledger, attempts, summary, pools):
        queue = summary["work"]
        return {
            **ledger.counts(), "lies": dict(ledger.lies), "blows": dict(run.blows), "failed attempts": dict(attempts.failed),
            "causes of the dead": dict(attempts.causes), "gateway": {k: queue[k] for k in ("accepted", "delivered", "acked", "retried",
                                                                                            "released", "returned", "dead", "timed_out")},
            **{k: summary[""][k] for k in ("stale_answers", "worker_faults", "workers_started", "workers_exited")},
            "recycled": {n: [int(p[f"recycled_{w}"]) for w in ("jobs", "age", "rss")] for n, p in pools.items()},
            "gateway's rss MiB": run.rss >> 20}

    def no_leaks(self, run, quiet):
        """Places are the same as before; every child that went was reaped."""
        gw = run.gateway
        nursery = gw.nursery()
        run.round = -1
        run.reload()

        wanted, seen = 6 if harness.NODE_JS else 4, {}

        def calm():
            seen.update(workers=gw.workers(), zombies=children(nursery, "Z") + children(gw.process.pid, "Z"))
            return len(seen["workers"]) == wanted and not seen["zombies"]
        try:
            harness.wait_for(calm, f"{wanted} workers and no zombie")
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}, of them ours: {run.stopped}") from None
        harness.wait_for(lambda: descriptors(nursery) <= quiet[1], f"the nursery's {quiet[1]} descriptors")
        harness.wait_for(lambda: descriptors(gw.process.pid) <= quiet[0], f"the gateway's {quiet[0]} descriptors")
        self.assertLess(run.rss, RSS_MAX[harness.sanitized()])

    def counted(self, ledger, summary):
        """Every answer that had to be stale was told so, and none moved a message: what entered left once."""
        queue = summary["work"]
        self.assertGreaterEqual(summary[""]["stale_answers"], sum(ledger.lies.values()), ledger.lies)
        self.assertEqual(queue["accepted"], queue["acked"] + queue["dead"])
        self.assertLessEqual(queue["acked"], ledger.verdicts["ack"])
        self.assertEqual(queue["dead"], len(ledger.dead))
        for way in OWN_WAYS:
            self.assertGreater(ledger.deaths[way], 0, f"nobody did {way}")
        self.assertGreater(ledger.lies["twice"] * ledger.lies["released"], 0)

    def innocent_live(self, run, ledger, attempts):
        """Whoever is dead had it coming: the last attempt, which is alone in its worker, failed by its
        own doing or a blow of ours."""
        unbegun = 0
        for uid, e in ledger.dead.items():
            blame, last = attempts.blame((e["id"], e["attempts"])), e["failures"][-1]
            told = f"{uid} is dead and did nothing: {e['failures']}"
            self.assertNotEqual(blame, "near", told)
            if blame == "unbegun":  # alone there, and nobody but us ends a worker from outside
                self.assertIn(last["cause"], ("signal", "timeout", "consumer_lost"), told)
                unbegun += 1
        self.assertLessEqual(unbegun, run.blows.total() - run.blows["reload"] - run.blows["stop_shortly"])
        poisoned = {u for u in ledger.acknowledged if int(u.rpartition("-")[2]) % POISON == 0}
        self.assertEqual(poisoned & ledger.worked, set())

    def charged_once(self, attempts, run, of_batch):
        """A worker's end costs one message its attempt; in a batch, all of it."""
        price = collections.Counter(run.felled)
        price.update(int(who.split(".")[0]) for who in attempts.enders)
        most = sum(n * (BATCH if pid in of_batch else 1) for pid, n in price.items())
        charged = sum(n for blame, n in attempts.failed.items() if blame not in ("retry", "dead"))
        self.assertLessEqual(charged, most, attempts.failed)


if __name__ == "__main__":
    unittest.main()
