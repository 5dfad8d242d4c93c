"""The Python SDK with the gateway: plain, asyncio and batches; one step of ack and publishes; handlers
that raise, are late, are killed or drained. And the README's examples, as they are pasted."""

import os
import re
import signal
import sqlite3
import subprocess
import unittest

import harness
import mqtt_raw
from test_stop import StopCase

README = (harness.SDK / "README.md").read_text()
EXAMPLES = harness.SDK / "examples"

HEAD = """
import os, sys, time
from sluice_worker import Dead, Release, Retry, SoftTimeLimit
OUT = os.open(os.environ["OUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def note(*words):
    os.write(OUT, (" ".join(str(w) for w in words) + "\\n").encode())
"""
PLAIN = HEAD + "from sluice_worker import worker\n@worker.handler\ndef handle(m):\n"
AIO = HEAD + "import asyncio\nfrom sluice_worker.aio import worker\n@worker.handler\nasync def handle(m):\n"
RUN = "\nworker.run()\n"
QUICK = {"max_attempts": 2, "retry": {"initial": "10ms", "factor": 1, "jitter": 0}}


class PythonCase(StopCase):
    def pool(self, script, queue="work", **more):
        return {"queue": queue, "command": [harness.PYTHON, "-B", "-c", script],
                "env": {"PYTHONPATH": str(harness.SDK), "OUT": str(self.note_file())},
                "restart": {"initial": "10ms", "factor": 1, "max": "20ms"}, **more}

    def serve(self, script, queues=None, **more):
        return self.gateway(harness.config(queues or {"work": QUICK}, {"p": self.pool(script, **more)})).start()

    def settle(self, gw, *payloads, topic="work/x"):
        client = mqtt_raw.Client(gw.mqtt, "settle")
        self.addCleanup(client.close)
        for i, payload in enumerate(payloads, 1):
            client.publish(topic, payload, 1, i)
        gw.await_queue("work", lambda c: c["accepted"] >= len(payloads)
                       and c["ready"] + c["leased"] + c["delayed"] == 0, "all to be settled")
        client.disconnect()

    def dead(self, gw):
        """Causes of the dead letters by payload, after an orderly end."""
        self.assertEqual(gw.stop(), 0)
        return {e["payload"].decode(): e for e in harness.dump(gw.data) if e["queue"] == "work"}


class Plain(PythonCase):
    def test_a_handler_gets_each_message_once_and_acks_by_returning(self):
        gw = self.serve(PLAIN + "    note(m.text())" + RUN, workers=2)
        payloads = [b"m%d" % i for i in range(500)]
        self.settle(gw, *payloads)
        self.assertEqual(sorted(self.notes()), sorted(p.decode() for p in payloads))
        self.assertEqual(gw.counters("work")["acked"], 500)
        self.assertEqual(self.dead(gw), {})

    def verdicts(self, head):
        gw = self.serve(head + """
    what = m.text()
    if what == "raise": raise KeyError("unit")
    if what == "retry": raise Retry("later", delay=0.01)
    if what == "dead": raise Dead("poison")
    if what == "release" and not m.redelivered: raise Release
    note(what)
""" + RUN)
        self.settle(gw, b"raise", b"good", b"retry", b"dead", b"release")
        self.assertEqual(set(self.notes()), {"good", "release"})
        dead = self.dead(gw)
        self.assertEqual({k: ([f["cause"] for f in e["failures"]], e["failures"][-1]["detail"])
                          for k, e in dead.items()},
                         {"raise": (["retry", "retry"], "KeyError: 'unit'"), "retry": (["retry", "retry"], "later"),
                          "dead": (["rejected"], "poison")})
        self.assertFalse(gw.has_event("worker_restart"))

    def test_what_a_handler_raises_is_its_verdict(self):
        self.verdicts(PLAIN)

    def test_what_an_asyncio_handler_raises_is_its_verdict(self):
        self.verdicts(AIO)

    def test_a_killed_worker_charges_the_message_that_it_had_begun(self):
        gw = self.serve(PLAIN + "    note(m.text(), m.attempt)\n"
                        "    if m.text() == 'killer': os.kill(os.getpid(), 9)\n" + RUN)
        self.settle(gw, b"a", b"killer", *(b"b%d" % i for i in range(20)))
        dead = self.dead(gw)
        self.assertEqual(set(dead), {"killer"})
        self.assertEqual([f["cause"] for f in dead["killer"]["failures"]], ["signal", "signal"])
        self.assertEqual({n.split()[0] for n in self.notes()},
                         {"a", "killer", *(f"b{i}" for i in range(20))})

    def late(self, head, wait):
        gw = self.serve(head + f"""
    try:
        {wait}
    except SoftTimeLimit:
        note("late")
        raise
""" + RUN, time_limit="20s", soft_time_limit="100ms")
        self.settle(gw, b"x")
        self.assertEqual(self.notes(), ["late", "late"])
        failures = self.dead(gw)["x"]["failures"]
        self.assertEqual([f["cause"] for f in failures], ["retry", "retry"])
        self.assertIn("the soft time limit has passed", failures[0]["detail"])
        self.assertFalse(gw.has_event("worker_restart"))

    def test_the_soft_limit_is_raised_in_a_handler_that_sleeps(self):
        self.late(PLAIN, "time.sleep(60)")

    def test_the_soft_limit_is_raised_in_an_asyncio_handler_that_waits(self):
        self.late(AIO, "await asyncio.sleep(60)")

    def test_a_publish_is_done_when_it_returns(self):
        gw = self.serve(PLAIN + "    note(worker.publish('other/x', m.payload), worker.publish('nobody', b''))" + RUN,
                        {"work": QUICK, "other": {}})
        self.settle(gw, b"a", b"b")
        self.assertEqual(gw.counters("other")["accepted"], 2)
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(len([n for n in self.notes() if n.startswith("True")]), 2)

    def test_ack_and_publishes_are_one_step(self):
        """What was published with a failed attempt is never seen; with the ack all of it is."""
        gw = self.serve(PLAIN + """
    if m.attempt == 1:
        m.publish("other/early", b"early")
        raise Retry("not yet", delay=0.01)
    m.ack(publish=[("other/" + m.text(), b"1"), ("other/" + m.text(), b"2")])
""" + RUN, {"work": QUICK, "other": {}})
        self.settle(gw, b"a", b"b")
        self.assertEqual(gw.counters("other")["accepted"], 4)
        self.assertEqual(gw.stop(), 0)
        left = sorted((e["topic"], e["payload"]) for e in harness.dump(gw.data))
        self.assertEqual(left, [(f"other/{t}", p) for t in "ab" for p in (b"1", b"2")])


class Asyncio(PythonCase):
    def test_as_many_at_once_as_the_pool_allows(self):
        gw = self.serve(AIO.replace("@worker.handler", "now = 0\n@worker.handler") + """
    global now
    now += 1
    note(now)
    while now < 4 and os.fstat(OUT).st_size < 8: await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    now -= 1
""" + RUN, concurrency=4)
        self.settle(gw, *[b"m%d" % i for i in range(40)])
        self.assertEqual(max(int(n) for n in self.notes()), 4)
        self.assertEqual(len(self.notes()), 40)
        self.assertEqual(gw.stop(), 0)

    def test_a_loop_takes_publishes_and_answers(self):
        gw = self.serve(HEAD + """
import asyncio
from sluice_worker.aio import worker
async def main():
    async with worker:
        async for m in worker.messages():
            await worker.publish("other/x", m.payload)
            m.ack()
asyncio.run(main())
""", {"work": QUICK, "other": {}})
        self.settle(gw, *[b"m%d" % i for i in range(40)])
        self.assertEqual(gw.counters("other")["accepted"], 40)
        self.assertEqual(gw.stop(), 0)


class Batches(PythonCase):
    """Both flavours: what a pool with batches delivers, and what a worker gathers in one without."""

    FLAVOURS = {"plain": HEAD + "from sluice_worker import worker\n", "asyncio": HEAD + "from sluice_worker.aio import worker\n"}
    HANDLER = "@worker.batch_handler(max={max}, wait={wait})\ndef handle(batch):\n    note(len(batch), worker.batches)\n    {then}\n" + RUN[1:]

    def sizes(self, flavour, count, batches, max=1000, wait=3600, then="pass", **more):
        """Of the batches that a worker made of so many messages."""
        self.note_file().unlink(missing_ok=True)
        gw = self.serve(self.FLAVOURS[flavour] + self.HANDLER.format(max=max, wait=wait, then=then), **more)
        self.settle(gw, *[b"m%d" % i for i in range(count)])
        self.assertEqual(gw.counters("work")["acked"], count)
        self.assertEqual(self.dead(gw), {})
        gw.end()
        self.assertEqual({line.split()[1] for line in self.notes()}, {str(batches)})
        return [int(line.split()[0]) for line in self.notes()]

    def test_a_pool_with_batches_says_what_a_batch_is(self):
        for flavour in self.FLAVOURS:
            with self.subTest(flavour):
                sizes = self.sizes(flavour, 45, True, batch={"max": 10, "wait": "50ms"})
                self.assertEqual((sum(sizes), max(sizes)), (45, 10))

    def test_a_worker_gathers_in_a_pool_without_batches_however_slow_it_is(self):
        """Waiting is not taken for work, or there would be fewer and fewer messages at hand."""
        for flavour in self.FLAVOURS:
            with self.subTest(flavour):
                self.assertEqual(self.sizes(flavour, 60, False, max=10, then="time.sleep(0.2)"), [10] * 6)

    def test_one_of_a_batch_is_set_aside_and_the_others_are_done(self):
        gw = self.serve(self.FLAVOURS["plain"] + self.HANDLER.format(max=10, wait=1, then="[m.dead('bad') for m in batch if m.text() == 'm3']"),
                        batch={"max": 10, "wait": "50ms"})
        self.settle(gw, *[b"m%d" % i for i in range(10)])
        self.assertEqual(gw.counters("work")["acked"], 9)
        self.assertEqual({k: e["failures"][0]["detail"] for k, e in self.dead(gw).items()}, {"m3": "bad"})


class External(PythonCase):
    """A process that the gateway did not start, by the pool's worker_socket."""

    SCRIPTS = {"plain": PLAIN, "asyncio": AIO}
    NOTE = "    note(m.text(), worker.external, worker.pool)" + RUN

    def pool_of_others(self):
        return {"queue": "work", "workers": 0, "worker_socket": str(self.folder / "w.sock"), "worker_token": "s3cret"}

    def worker(self, script, token="s3cret"):
        environment = dict(os.environ, OUT=str(self.note_file()), PYTHONPATH=str(harness.SDK),
                           SLUICE_SOCKET=str(self.folder / "w.sock"), SLUICE_TOKEN=token)
        environment.pop("SLUICE_FD", None)
        process = self.child(subprocess.Popen([harness.PYTHON, "-B", "-c", script], env=environment,
                                              stderr=subprocess.PIPE, text=True))
        self.addCleanup(process.stderr.close)
        return process

    def test_it_joins_before_and_after_a_restart_of_the_gateway_and_ends_by_sigterm(self):
        for flavour, head in self.SCRIPTS.items():
            with self.subTest(flavour):
                process = self.worker(head + self.NOTE)
                self.assertIn("again in", process.stderr.readline())
                gw = self.gateway(harness.config(pools={"p": self.pool_of_others()}))
                for payload, end in ((b"first", gw.stop), (b"second", gw.kill), (b"third", gw.stop)):
                    gw.start()
                    seen = len(self.notes())
                    self.publish_async(gw, payload)
                    self.assertEqual(self.await_notes(seen + 1)[-1], f"{payload.decode()} True p")
                    gw.await_empty("work")
                    if payload == b"third":
                        process.terminate()
                        self.assertEqual(process.wait(harness.PATIENCE), 0)
                    end()
                self.assertEqual(harness.dump(gw.data), [])

    def test_a_wrong_token_ends_it_with_1(self):
        self.gateway(harness.config(pools={"p": self.pool_of_others()})).start()
        for head in self.SCRIPTS.values():
            process = self.worker(head + self.NOTE, "guessed")
            self.assertEqual(process.wait(harness.PATIENCE), 1)
            self.assertIn("refused", process.stderr.read())


class Draining(PythonCase):
    """A stopped gateway, or worker, loses nothing, and what was done is not done again."""

    def drained(self, script, **more):
        gw = self.serve(script, **more)
        client = self.publish_async(gw, *[b"m%d" % i for i in range(60)])
        gw.await_queue("work", lambda c: c["accepted"] == 60, "all to be there")
        self.await_notes(3)
        self.assertEqual(gw.stop(), 0)
        client.close()
        left = [e["payload"].decode() for e in harness.dump(gw.data)]
        done = [word for line in self.notes() for word in line.split()]
        self.assertEqual(sorted([*left, *done]), sorted(f"m{i}" for i in range(60)))
        self.assertTrue(left, "it drained too late to show anything")
        self.assertEqual({e["attempts"] for e in harness.dump(gw.data)}, {0})

    def test_plain(self):
        self.drained(PLAIN + "    time.sleep(0.1)\n    note(m.text())" + RUN, workers=2)

    def test_asyncio(self):
        self.drained(AIO + "    await asyncio.sleep(0.1)\n    note(m.text())" + RUN, concurrency=2)

    def test_batches(self):
        self.drained(HEAD + """
from sluice_worker import worker
@worker.batch_handler(max=3, wait=0)
def handle(batch):
    time.sleep(0.1)
    note(*(m.text() for m in batch))
""" + RUN)

    def test_a_worker_that_is_told_to_go_gives_back_what_it_has_not_begun(self):
        gw = self.serve(PLAIN + "    time.sleep(0.02)\n    note(m.text())" + RUN)
        client = self.publish_async(gw, *[b"m%d" % i for i in range(60)])
        for n in (2, 10, 20):
            self.await_notes(n)
            for pid in gw.workers():
                os.kill(pid, signal.SIGTERM)
        gw.await_queue("work", lambda c: c["acked"] == 60, "all to be worked")
        client.disconnect()
        self.assertEqual(sorted(self.notes()), sorted(f"m{i}" for i in range(60)))
        self.assertEqual(self.dead(gw), {})


class Examples(PythonCase):
    """The blocks of the SDK's README, each pasted into a file and named as a pool's command."""

    BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)

    def pasted(self, number, queues=None, **more):
        path = self.folder / "worker.py"
        path.write_text(self.BLOCKS[number])
        pool = self.pool("", **more)
        pool.update(command=[harness.PYTHON, "-B", str(path)], cwd=str(self.folder))
        return self.gateway(harness.config(queues or {"work": {}}, {"p": pool})).start()

    def test_there_are_three(self):
        self.assertEqual(len(self.BLOCKS), 3)

    def test_the_plain_one_prints(self):
        gw = self.pasted(0)
        self.settle(gw, b'{"t": 21.5}')
        gw.log.wait(lambda line: "work/x {'t': 21.5}" in line) or self.fail(gw.tail())
        self.assertEqual(self.dead(gw), {})

    def test_the_asyncio_one_publishes(self):
        gw = self.pasted(1, {"work": {}, "seen": {}}, concurrency=4)
        self.settle(gw, b"a", b"b")
        self.assertEqual(gw.counters("seen")["accepted"], 2)
        self.assertEqual(self.dead(gw), {})

    def rows(self, path, *payloads):
        db = sqlite3.connect(path)
        self.addCleanup(db.close)
        self.assertEqual(sorted(db.execute("select topic, payload from telemetry")),
                         sorted(("work/x", p) for p in payloads))

    def test_the_batch_one_fills_a_table(self):
        gw = self.pasted(2)
        payloads = [b"%d" % i for i in range(250)]
        self.settle(gw, *payloads)
        self.rows(self.folder / "telemetry.db", *payloads)
        self.assertEqual(self.dead(gw), {})

    def test_telemetry_goes_into_sqlite_in_batches(self):
        path = self.folder / "t.db"
        pool = self.pool("")
        pool["command"] = [harness.PYTHON, "-B", str(EXAMPLES / "telemetry_to_sqlite.py"), str(path)]
        gw = self.gateway(harness.config(pools={"p": pool})).start()
        payloads = [b"%d" % i for i in range(250)]
        self.settle(gw, *payloads)
        self.rows(path, *payloads)
        self.assertEqual(self.dead(gw), {})


if __name__ == "__main__":
    unittest.main()
