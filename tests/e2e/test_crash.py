"""Producers at full rate, workers that fail in every way, and a gateway that is killed at random
moments: nothing acknowledged is lost, QoS 2 stays exactly once, nothing is held by two.

SLUICE_CRASHES  how many times (6; the long form takes 50)      SLUICE_SEED  repeats a run's dice"""

import os
import signal
import subprocess
import time
import unittest

import harness
from ledger import Ledger

CRASHES = int(os.environ.get("SLUICE_CRASHES", "6"))
KINDS = ["mqtt4.1", "mqtt5.1", "mqtt4.2", "mqtt5.2", "stomp"]
QUEUE = {"max_messages": 2000, "max_attempts": 4,
         "retry": {"initial": "10ms", "factor": 2, "max": "100ms"}}


def name_of(kind):
    return kind.replace(".", "q")


class Run:
    """Producers, a gateway with chaotic workers, and their accounts. Shared with the power cuts."""

    def __init__(self, test, seed, kinds=KINDS, chaos=6, window=50, queue=QUEUE, **gateway):
        self.test, self.folder = test, test.folder
        self.kinds, self.window = kinds, window
        env = {"RECORD_CHAOS": str(chaos), "RECORD_SEED": str(seed), "LD_PRELOAD": ""}
        pools = {
            "python": harness.recorder(self.folder, language="python", workers=2, env=env),
            "c": harness.recorder(self.folder, language="c", workers=2, env=env),
        }
        if harness.NODE_JS:
            pools["node"] = harness.recorder(self.folder, language="node", workers=2, env=env)
        self.gateway = test.gateway(harness.config({"work": queue}, pools), **gateway)
        self.producers = []

    def journal(self, kind):
        return self.folder / f"{name_of(kind)}.journal"

    def start_producers(self):
        for kind in self.kinds:
            p = subprocess.Popen(
                [harness.PYTHON, "-B", str(harness.HERE / "producer.py"), str(self.gateway.ports_file),
                 str(self.journal(kind)), name_of(kind), kind],
                env=dict(os.environ, PRODUCER_WINDOW=str(self.window)))
            self.producers.append(self.test.child(p))

    def finish_producers(self):
        """No new message; every one that is open gets its answer."""
        for p in self.producers:
            p.send_signal(signal.SIGTERM)
        for kind, p in zip(self.kinds, self.producers):
            self.test.assertEqual(p.wait(harness.PATIENCE * 4), 0, f"producer {kind}")

    def drain(self):
        self.gateway.await_empty("work", harness.PATIENCE * 4)
        self.test.assertEqual(self.gateway.stop(), 0)

    def accounts(self):
        ledger = Ledger()
        for kind in self.kinds:
            ledger.producer(self.journal(kind))
        ledger.workers(self.test.worked())
        ledger.store(harness.dump(self.gateway.data))
        return ledger


def stop_now(gateway):
    gateway.signal(signal.SIGTERM)
    gateway.event("stopping")
    gateway.signal(signal.SIGTERM)


class CrashTest(harness.TestCase):
    def test_nothing_acknowledged_is_lost_over_kill_9(self):
        seed, dice = harness.seeded()
        run = Run(self, seed)
        run.gateway.start()
        run.start_producers()
        kills = 0
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.05, 1.2))  # the random moment
            run.gateway.kill()
            kills += 1
            run.gateway.start()
        run.finish_producers()
        run.drain()
        ledger = run.accounts()
        print(ledger.counts(kills=kills, seed=seed), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])
        self.assertGreater(len(ledger.acknowledged), 100 * CRASHES)

    def test_every_way_of_ending_under_load_keeps_what_was_acknowledged(self):
        seed, dice = harness.seeded()
        run = Run(self, seed)
        ends = {"drain": (lambda g: g.signal(signal.SIGTERM), 0), "now": (stop_now, 0),
                "nursery": (lambda g: os.kill(g.nursery(), signal.SIGKILL), 1)}
        run.gateway.start()
        run.start_producers()
        ways = [list(ends)[i % 3] for i in range(CRASHES)]
        for way in ways:
            time.sleep(dice.uniform(0.1, 0.5))  # the random moment
            end, status = ends[way]
            end(run.gateway)
            self.assertEqual(run.gateway.wait(), status, way)
            run.gateway.start()
        run.finish_producers()
        run.drain()
        ledger = run.accounts()
        print(ledger.counts(ends=ways, seed=seed), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])

    def test_qos_2_is_exactly_once_when_workers_wait_for_messages(self):
        """An empty queue: a message is leased in the turn in which it may be. Were it leased before
        its commit, a kill between the two would give it to a worker under two ids."""
        seed, dice = harness.seeded()
        run = Run(self, seed, kinds=["mqtt4.2", "mqtt5.2"], chaos=0, window=4)
        run.gateway.start()
        run.start_producers()
        kills = 4 * CRASHES
        for _ in range(kills):
            time.sleep(dice.uniform(0.02, 0.2))  # the random moment
            run.gateway.kill()
            run.gateway.start()
        run.finish_producers()
        run.drain()
        ledger = run.accounts()
        print(ledger.counts(kills=kills, seed=seed), flush=True)
        ledger.check(self, exactly_once=["mqtt4q2-", "mqtt5q2-"])


if __name__ == "__main__":
    unittest.main()
