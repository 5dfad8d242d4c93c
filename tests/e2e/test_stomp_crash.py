"""STOMP consumers and transactions under load, and a gateway that dies at random moments:
nothing acknowledged is lost or comes again, nothing is held by two, and of a transaction either all
or nothing is there.

SLUICE_CRASHES  how many times (4)      SLUICE_SEED  repeats a run's dice"""

import collections
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import stomp_raw
from test_powercut import Power

CRASHES = int(os.environ.get("SLUICE_CRASHES", "4"))
QUEUES = {"work": {"max_attempts": 1000, "retry": {"initial": "10ms", "factor": 1}}, "done": {}}
PREFETCH = 20
MOVED = 200  # messages
OPEN = 5     # transactions
PAD = b" " + b"." * 200


class Consumer(threading.Thread):
    """Comes back after each loss of its connection, and takes what it is given until it is told to
    stop; also hangs up by itself now and then."""

    mode, queues = "client-individual", ["work"]

    def __init__(self, gateway, seed):
        super().__init__(daemon=True)
        self.ports, self.dice = gateway.ports_file, random.Random(seed)
        self.over, self.errors, self.connections = threading.Event(), [], 0
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                self.port = json.loads(self.ports.read_text())["stomp"]
                c = stomp_raw.Client(self.port)
            except OSError:
                self.over.wait(0.02)
                continue
            self.connections += 1
            try:
                self.session(c)
            except OSError:
                pass
            finally:
                self.lost()
                c.close()

    def session(self, c):
        for queue in self.queues:
            c.subscribe(f"/queue/{queue}", id=queue, ack=self.mode, prefetch_count=PREFETCH)
        patience = self.dice.randrange(50, 1000)  # messages
        while patience > 0 and not self.over.is_set():
            try:
                command, headers, body = c.read(0.1)
            except TimeoutError:
                c.send(self.idle(c))
                continue
            if command == "MESSAGE":
                patience -= 1
                c.send(self.take(c, stomp_raw.Message(headers, body)))
            elif command == "RECEIPT":
                self.answered(headers["receipt-id"])
            else:
                self.errors.append(headers["message"])
                return

    def idle(self, c):
        return b""

    def lost(self):
        pass

    def end(self):
        self.over.set()
        self.join(harness.PATIENCE)


class Mover(Consumer):
    """Each message from `work` to `done` and back by a transaction, and counts in it how often it was
    moved. Up to OPEN of them are open at a time, so that crashes find them; some are aborted, and
    done anew."""

    queues = ["work", "done"]

    def __init__(self, gateway, seed):
        self.committed, self.n, self.ends = {}, 0, []  # by uid: how often, at least
        super().__init__(gateway, seed)

    def begun(self, c, m, body):
        """What stands before COMMIT or ABORT, and the header of all of it."""
        self.n += 1
        name = [("transaction", f"t{self.n}")]
        there = "/queue/done" if m["subscription"] == "work" else "/queue/work"
        return (stomp_raw.frame("BEGIN", name) + stomp_raw.send(there, body, headers=name)
                + c.answer("ACK", m, name)), name

    def take(self, c, m):
        uid, moves = m.body.split(b" ")[:2]
        words = f"{uid.decode()} {int(moves) + 1}"
        frames, name = self.begun(c, m, words.encode() + PAD)
        end = b""
        if self.dice.randrange(10) == 0:
            again, after = self.begun(c, m, words.encode() + PAD)
            end, name = stomp_raw.frame("ABORT", name) + again, after
        self.ends.append(end + stomp_raw.frame("COMMIT", [*name, ("receipt", words)]))
        return frames + (self.idle(c) if len(self.ends) > self.dice.randrange(OPEN) else b"")

    def idle(self, c):
        ends, self.ends = self.ends, []
        return b"".join(ends)

    def lost(self):
        self.ends = []

    def answered(self, receipt):
        uid, moves = receipt.split(" ")
        self.committed[uid] = max(int(moves), self.committed.get(uid, 0))


class Held:
    """Who holds what; a holder is void when its connection is, and all are when the gateway is."""

    def __init__(self):
        self.lock, self.by, self.doubled = threading.Lock(), {}, []

    def take(self, message, who):
        with self.lock:
            before = self.by.get(message)
            if before is not None and before[1] == who[1] and before[0] is not who[0]:
                self.doubled.append((message, before, who))
            self.by[message] = who

    def free(self, messages):
        with self.lock:
            for message in messages:
                self.by.pop(message, None)


class Taker(Consumer):
    """Acknowledges each message with a receipt; in mode `client` every fourth for those before it."""

    def __init__(self, gateway, seed, held, mode="client-individual"):
        self.held, self.mode = held, mode
        self.got, self.settled, self.again, self.open = collections.Counter(), set(), [], {}
        super().__init__(gateway, seed)

    def take(self, c, m):
        message, uid = m["message-id"], m.body.split(b" ")[0].decode()
        self.held.take(message, (self, self.port))
        self.got[uid] += 1
        if message in self.settled:
            self.again.append(message)
        self.open[message] = uid
        self.last = m
        return b"" if self.mode == "client" and len(self.open) < 4 else self.settle(c)

    def settle(self, c):
        self.held.free(self.open)
        receipt = " ".join(self.open)
        self.open.clear()
        return c.answer("ACK", self.last, [("receipt", receipt)])

    def idle(self, c):
        return self.settle(c) if self.open else b""

    def answered(self, receipt):
        self.settled.update(receipt.split(" "))

    def lost(self):
        self.held.free(self.open)
        self.open.clear()


class StompCrash(harness.TestCase):
    def crash(self, dice, check=lambda: None):
        for _ in range(CRASHES):
            time.sleep(dice.uniform(0.05, 0.4))  # the random moment
            self.die()
            check()
            self.gw.start()

    def die(self):
        if self.power is None:
            self.gw.kill()
        else:
            self.power.cut(self.gw)

    def test_of_a_transaction_all_or_nothing_is_there_over_kill_9(self):
        self.move_and_crash()

    def test_of_a_transaction_all_or_nothing_is_there_after_power_cuts(self):
        self.move_and_crash(Power(self.folder))

    def test_of_a_transaction_all_or_nothing_is_there_when_unsynced_pages_are_torn(self):
        self.move_and_crash(Power(self.folder, torn=1))

    def move_and_crash(self, power=None):
        """Each message is in exactly one of the two queues, whenever one looks."""
        seed, dice = harness.seeded()
        self.power = power
        self.gw = self.gateway(harness.config(QUEUES), env=power.env if power else None).start()
        self.fill(MOVED)
        movers, moves = [Mover(self.gw, seed + i) for i in range(2)], []

        def check():
            found = collections.defaultdict(list)
            for e in self.stored():
                uid, count = e["payload"].decode().split(" ")[:2]
                found[uid].append(int(count))
            wrong = {uid: found[uid] for uid in {*self.uids, *found} if len(found[uid]) != 1}
            self.assertEqual(wrong, {}, "a transaction was done by half")
            lost = {uid: (found[uid], n) for m in movers for uid, n in m.committed.items() if found[uid][0] < n}
            self.assertEqual(lost, {}, "what was committed is not there")
            moves.append(sum(n for n, in found.values()))
        self.crash(dice, check)
        for m in movers:
            m.end()
        self.assertEqual(self.gw.stop(), 0)
        check()
        print({"seed": seed, "moves": moves, "connections": [m.connections for m in movers]}, flush=True)
        self.assertEqual([m.errors for m in movers], [[], []])
        self.assertGreater(moves[-1], MOVED * CRASHES)

    def stored(self):
        """Of a copy: to read is to write a little."""
        with tempfile.TemporaryDirectory() as scratch:
            return harness.dump(shutil.copytree(self.gw.data, scratch + "/data"))

    def fill(self, n):
        self.uids = [f"u{i}" for i in range(n)]
        c = stomp_raw.Client(self.gw.stomp)
        for at in range(0, n, 100):
            part = self.uids[at:at + 100]
            c.send(b"".join(stomp_raw.send("/queue/work", uid.encode() + b" 0" + PAD, uid) for uid in part))
            for uid in part:
                c.receipt(uid)
        c.disconnect()

    def test_nothing_acknowledged_is_lost_or_comes_again_over_kill_9(self):
        """From producers to consumers, with messages held by one at a time."""
        seed, dice = harness.seeded()
        self.power = None
        self.gw = self.gateway(harness.config(QUEUES)).start()
        held = Held()
        takers = [Taker(self.gw, seed + i, held, mode)
                  for i, mode in enumerate(("client-individual", "client-individual", "client"))]
        producers = {kind: self.producer(kind) for kind in ("stomp", "mqtt5.1")}
        self.crash(dice)
        for kind, p in producers.items():
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(harness.PATIENCE * 2), 0, kind)
        self.gw.await_empty("work", harness.PATIENCE * 2)
        for t in takers:
            t.end()
        self.assertEqual(self.gw.stop(), 0)
        acknowledged = {line.split()[1] for kind in producers
                        for line in (self.folder / f"{kind}.journal").read_text().splitlines()
                        if line.startswith("ok ")}
        got = sum((t.got for t in takers), collections.Counter())
        print({"seed": seed, "acknowledged": len(acknowledged), "deliveries": got.total(),
               "connections": [t.connections for t in takers]}, flush=True)
        self.assertEqual([t.errors for t in takers], [[], [], []])
        self.assertGreater(len(acknowledged), 100 * CRASHES)
        self.assertEqual(acknowledged - set(got), set(), "acknowledged messages were lost")
        self.assertEqual([t.again for t in takers], [[], [], []], "settled messages came again")
        self.assertEqual(held.doubled[:3], [], "messages were held by two")

    def producer(self, kind):
        return self.child(subprocess.Popen(
            [harness.PYTHON, "-B", str(harness.HERE / "producer.py"), str(self.gw.ports_file),
             str(self.folder / f"{kind}.journal"), kind.replace(".", "q"), kind],
            env=dict(os.environ, PRODUCER_WINDOW="50")))


if __name__ == "__main__":
    unittest.main()
