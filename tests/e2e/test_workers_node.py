"""Workers that are written with the Node.js SDK, under the real gateway: every style, an ack with publishes, the death
of the process, the orderly end, and the examples of its README as they are printed there."""

import json
import os
import re
import subprocess
import unittest

import harness
from test_stop import StopCase

SDK = harness.ROOT / "workers" / "node"
NODE = harness.NODE_JS

# What every worker of these tests begins with: note(…) writes a line that the test reads.
HEAD = f"""
import fs from 'node:fs'
import {{ setTimeout as pause }} from 'node:timers/promises'
import * as sdk from {json.dumps(str(SDK / "index.js"))}
const {{ worker }} = sdk
const note = (...words) => fs.appendFileSync(process.env.OUT, words.join(' ') + '\\n')
"""


def knows(folder, pool):
    """Whether this gateway can have such a pool."""
    path = folder / "asked.json"
    path.write_text(json.dumps(harness.config(pools={"p": pool})))
    return subprocess.run([harness.binary(), "check", "-c", str(path)], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(NODE, "Node.js is not installed")
class NodeWorkers(StopCase):
    def pool(self, script, queue="work", **more):
        return {"queue": queue, "command": [NODE, "--input-type=module", "-e", HEAD + script],
                "env": {"OUT": str(self.note_file())}, "restart": {"initial": "10ms", "factor": 1, "max": "20ms"}, **more}

    def settled(self, script, payloads, queue=None, routes=None, **more):
        """The gateway, when all payloads have been settled in the queue "work"."""
        queues = {"work": {"retry": {"initial": "10ms"}, **(queue or {})}}
        gw = self.gateway(harness.config({**queues, **more.pop("queues", {})}, {"p": self.pool(script, **more)}, routes)).start()
        client = self.publish_async(gw, *payloads)
        gw.await_queue("work", lambda c: c["accepted"] == len(payloads) and c["ready"] + c["leased"] + c["delayed"] == 0,
                       "all to be settled")
        client.disconnect()
        return gw

    def left(self, gw):
        self.assertEqual(gw.stop(), 0)
        return {e["payload"].decode(): e for e in harness.dump(gw.data)}

    def test_handler_style(self):
        payloads = [b"m%d" % i for i in range(500)]
        gw = self.settled("worker.handler(async (m) => note(m.topic, m.text(), m.queue, m.protocol))\nawait worker.run()", payloads)
        self.assertEqual(sorted(self.notes()), sorted(f"work/x m{i} work mqtt" for i in range(500)))
        self.assertEqual(gw.counters("work")["acked"], 500)
        self.assertEqual(self.left(gw), {})
        self.assertFalse(gw.has_event("worker_restart"))

    def test_loop_style(self):
        script = "for await (const m of worker.messages()) {\n  note(m.text())\n  await pause(1)\n  m.ack()\n}"
        gw = self.settled(script, [b"m%d" % i for i in range(50)], workers=2)
        self.assertEqual(sorted(self.notes()), sorted(f"m{i}" for i in range(50)))
        self.assertEqual(self.left(gw), {})

    def test_batch_style(self):
        script = ("worker.batchHandler(async (batch) => {\n"
                  "  note(batch.length, batch.messages.map((m) => m.text()).join(' '))\n"
                  "  batch.messages[0].dead('the first of a batch')\n"
                  "}, { max: 10, wait: 0.02 })\nawait worker.run()")
        gw = self.settled(script, [b"m%d" % i for i in range(40)])
        self.assertLessEqual(max(int(l.split()[0]) for l in self.notes()), 10)
        self.assertGreater(max(int(l.split()[0]) for l in self.notes()), 1)
        firsts = {l.split()[1] for l in self.notes()}
        self.assertEqual(sum(len(l.split()) - 1 for l in self.notes()), 40)
        dead = self.left(gw)
        self.assertEqual(set(dead), firsts)
        self.assertEqual({f["detail"] for e in dead.values() for f in e["failures"]}, {"the first of a batch"})

    def test_a_pool_with_batches_says_what_a_batch_is(self):
        script = ("worker.batchHandler((batch) => note(batch.length, worker.batches), { max: 1000, wait: 3600 })\nawait worker.run()")
        pool = {"batch": {"max": 10, "wait": "50ms"}}
        if not knows(self.folder, self.pool("", **pool)):
            self.skipTest("this gateway has no batches")
        gw = self.settled(script, [b"m%d" % i for i in range(45)], **pool)
        self.assertEqual({l.split()[1] for l in self.notes()}, {"true"})
        sizes = [int(l.split()[0]) for l in self.notes()]
        self.assertEqual((sum(sizes), max(sizes)), (45, 10))
        self.assertEqual(self.left(gw), {})

    def test_a_worker_gathers_in_a_pool_without_batches_however_slow_it_is(self):
        """Waiting is not taken for work, or there would be fewer and fewer messages at hand."""
        script = ("worker.batchHandler(async (batch) => {\n  note(batch.length)\n  await pause(200)\n}, { max: 10, wait: 3600 })\n"
                  "await worker.run()")
        gw = self.settled(script, [b"m%d" % i for i in range(60)])
        self.assertEqual(self.notes(), ["10"] * 6)
        self.assertEqual(self.left(gw), {})

    def test_as_many_handlers_at_once_as_the_pool_says(self):
        script = ("let running = 0\nworker.handler(async (m) => {\n  note(++running)\n  await pause(5)\n  running--\n})\nawait worker.run()")
        self.settled(script, [b"x"] * 40, concurrency=4).stop()
        self.assertEqual(max(int(l) for l in self.notes()), 4)

    def test_what_is_thrown_is_the_answer(self):
        script = ("worker.handler(async (m) => {\n  const what = m.text()\n"
                  "  if (what === 'retry') throw new sdk.Retry('later', { delay: 0.01 })\n"
                  "  if (what === 'dead') throw new sdk.Dead('poison')\n"
                  "  if (what === 'error') throw new TypeError('no unit in it')\n"
                  "  if (what === 'release' && !globalThis.once) { globalThis.once = true; throw new sdk.Release() }\n"
                  "})\nawait worker.run()")
        gw = self.settled(script, [b"retry", b"dead", b"error", b"release", b"fine"], queue={"max_attempts": 2})
        self.assertEqual(gw.counters("work")["acked"], 2)
        dead = self.left(gw)
        told = {name: [(f["cause"], f["detail"]) for f in e["failures"]] for name, e in dead.items()}
        self.assertEqual(told, {"retry": [("retry", "later")] * 2, "dead": [("rejected", "poison")],
                                "error": [("retry", "TypeError: no unit in it")] * 2})

    OUT = {"out": {}}
    ROUTES = [{"match": "work/#", "queues": ["work"]}, {"match": "out/#", "queues": ["out"]}]

    def test_what_is_published_with_an_ack_is_stored_and_otherwise_not(self):
        script = ("worker.handler(async (m) => {\n"
                  "  if (m.text() === 'dies' && m.attempt === 1) {\n"
                  "    m.publish('out/x', 'of the dead')\n    worker.flush()\n    process.kill(process.pid, 'SIGKILL')\n    await pause(60000)\n  }\n"
                  "  m.publish('out/x', `of ${m.text()}`)\n})\nawait worker.run()")
        gw = self.settled(script, [b"a", b"dies"], queues=self.OUT, routes=self.ROUTES)
        gw.await_queue("out", lambda c: c["accepted"] == 2, "both publishes")
        self.assertEqual(set(self.left(gw)), {"of a", "of dies"})

    def test_a_publish_on_its_own_is_awaited(self):
        script = "worker.handler(async (m) => {\n  await worker.publish('out/x', m.text())\n  note('stored')\n})\nawait worker.run()"
        gw = self.settled(script, [b"a", b"b"], queues=self.OUT, routes=self.ROUTES)
        self.assertEqual(self.notes(), ["stored"] * 2)
        self.assertEqual(set(self.left(gw)), {"a", "b"})

    def test_a_handler_that_kills_its_process_is_charged_and_no_other_message(self):
        script = ("worker.handler(async (m) => {\n  note(m.text(), m.attempt)\n"
                  "  if (m.text() === 'poison') process.kill(process.pid, 'SIGKILL')\n"
                  "  await pause(1)\n})\nawait worker.run()")
        payloads = [b"m%d" % i for i in range(10)] + [b"poison"] + [b"n%d" % i for i in range(10)]
        gw = self.settled(script, payloads, queue={"max_attempts": 3})
        self.assertEqual(gw.counters("work")["acked"], 20)
        self.assertEqual({l for l in self.notes() if l[0] != "p" and not l.endswith(" 1")}, set(), "others were charged")
        dead = self.left(gw)
        self.assertEqual(set(dead), {"poison"})
        self.assertEqual([f["cause"] for f in dead["poison"]["failures"]], ["signal"] * 3)

    def test_an_exception_beside_the_handler_is_a_crash_with_its_stack(self):
        script = ("worker.handler(async () => {\n  setImmediate(() => { throw new Error('beside') })\n  await pause(60000)\n})\n"
                  "await worker.run()")
        dead = self.left(self.settled(script, [b"x"], queue={"max_attempts": 1}))
        self.assertEqual([f["cause"] for f in dead["x"]["failures"]], ["exit"])
        self.assertIn("beside", dead["x"]["failures"][0]["tail"])

    def test_the_soft_limit_is_thrown_in_the_handler(self):
        script = "worker.handler((m) => pause(60000, null, { signal: m.signal }))\nawait worker.run()"
        if not knows(self.folder, self.pool("", soft_time_limit="100ms")):
            self.skipTest("this gateway has no soft_time_limit")
        gw = self.settled(script, [b"x"], queue={"max_attempts": 1}, soft_time_limit="100ms", time_limit="60s")
        dead = self.left(gw)
        self.assertEqual([(f["cause"], f["detail"]) for f in dead["x"]["failures"]],
                         [("retry", "SoftTimeLimit: the soft time limit has passed")])

    def test_extend_puts_the_time_limit_off(self):
        script = "worker.handler(async (m) => {\n  m.extend(60)\n  m.progress(0.5)\n  await pause(900)\n})\nawait worker.run()"
        gw = self.settled(script, [b"x"], soft_time_limit="0s", time_limit="500ms")
        self.assertEqual(gw.counters("work")["acked"], 1)
        self.assertEqual(self.left(gw), {})

    def drained(self, script, **more):
        """Stopped in the middle: what was begun is finished, the rest is there uncharged, nothing is lost."""
        total = 60
        gw = self.gateway(harness.config(pools={"p": self.pool(script, prefetch=16, **more)})).start()
        self.publish_async(gw, *[b"m%d" % i for i in range(total)])
        self.await_notes(4)
        self.assertEqual(gw.stop(), 0)
        began, ended = ({l.split()[1] for l in self.notes() if l.startswith(word)} for word in ("start", "end"))
        left = harness.dump(gw.data)
        self.assertEqual(began, ended)
        names = [e["payload"].decode() for e in left]
        self.assertEqual(set(names) & ended, set(), "what a worker finished is still there")
        self.assertEqual(set(names) | ended, {f"m{i}" for i in range(total)})
        self.assertEqual({e["attempts"] for e in left} - {0}, set())
        self.assertFalse(gw.has_event("worker_restart"))

    def test_a_stop_finishes_handlers_that_have_begun(self):
        self.drained("worker.handler(async (m) => {\n  note('start', m.text())\n  await pause(30)\n  note('end', m.text())\n})\n"
                     "await worker.run()", concurrency=3, workers=2)

    def test_a_stop_ends_loops(self):
        self.drained("for await (const m of worker.messages()) {\n  note('start', m.text())\n  await pause(10)\n"
                     "  note('end', m.text())\n  m.ack()\n}")

    def test_a_stop_ends_batches(self):
        self.drained("for (let b; (b = await worker.nextBatch(4, 0.01)) !== null; b.ack()) {\n"
                     "  for (const m of b) note('start', m.text())\n  await pause(20)\n  for (const m of b) note('end', m.text())\n}")

    def test_the_largest_message_and_result_pass(self):
        large = bytes(range(256)) * 4096
        script = ("worker.handler((m) => {\n  fs.writeFileSync(process.env.OUT, m.payload)\n"
                  "  return m.payload.subarray(0, worker.maxResult)\n})\nawait worker.run()")
        gw = self.settled(script, [large])
        self.assertTrue(self.note_file().read_bytes() == large)
        self.assertEqual(self.left(gw), {})


@unittest.skipUnless(NODE, "Node.js is not installed")
class External(StopCase):
    """A process that the gateway did not start, by the pool's worker_socket."""

    ECHO = "worker.handler(async (m) => note(m.text(), worker.external, worker.pool))\nawait worker.run()"

    def setUp(self):
        super().setUp()
        self.socket = self.folder / "w.sock"
        self.pool = {"queue": "work", "workers": 0, "worker_socket": str(self.socket), "worker_token": "s3cret"}
        if not knows(self.folder, self.pool):
            self.skipTest("this gateway has no worker_socket")

    def worker(self, token="s3cret", script=ECHO):
        environment = dict(os.environ, OUT=str(self.note_file()), SLUICE_SOCKET=str(self.socket), SLUICE_TOKEN=token)
        process = self.child(subprocess.Popen([NODE, "--input-type=module", "-e", HEAD + script], env=environment,
                                              stderr=subprocess.PIPE, text=True))
        self.addCleanup(process.stderr.close)
        return process

    def test_it_joins_before_and_after_a_restart_of_the_gateway_and_ends_by_sigterm(self):
        process = self.worker()
        self.assertIn("trying again", process.stderr.readline())
        gw = self.gateway(harness.config(pools={"p": self.pool}))
        for payload, end in ((b"first", gw.stop), (b"second", gw.kill), (b"third", gw.stop)):
            gw.start()
            seen = len(self.notes())
            self.publish_async(gw, payload)
            self.assertEqual(self.await_notes(seen + 1)[-1], f"{payload.decode()} true p")
            gw.await_empty("work")
            if payload == b"third":
                process.terminate()
                self.assertEqual(process.wait(harness.PATIENCE), 0)
            end()
        self.assertEqual(harness.dump(gw.data), [])

    def test_a_wrong_token_ends_it_with_1(self):
        self.gateway(harness.config(pools={"p": self.pool})).start()
        process = self.worker("guessed")
        self.assertEqual(process.wait(harness.PATIENCE), 1)
        self.assertIn("the gateway refused this worker", process.stderr.read())

    def test_an_overdue_answer_is_stale_and_the_message_is_worked_again(self):
        script = ("let late = true\nworker.handler(async (m) => {\n  note('begun', m.attempt)\n"
                  "  if (late) {\n    late = false\n    await pause(900)\n  }\n})\n"
                  "setInterval(() => worker.staleAnswers && note('stale'), 50).unref()\nawait worker.run()")
        queue = {"ack_timeout": "300ms", "retry": {"initial": "10ms"}}
        gw = self.gateway(harness.config({"work": queue}, {"p": self.pool})).start()
        self.worker(script=script)
        self.publish_async(gw, b"x")
        harness.wait_for(lambda: "begun 2" in self.notes() and "stale" in self.notes(), "the second attempt")
        gw.await_empty("work")
        self.assertEqual(gw.counters("work")["acked"], 1)


@unittest.skipUnless(NODE, "Node.js is not installed")
class Printed(StopCase):
    """The examples of the README and of the folder, as a user has them."""

    def program(self, name, text):
        """In a folder where the package is installed as `npm install PATH` does it: by a link."""
        modules = self.folder / "node_modules"
        modules.mkdir(exist_ok=True)
        (modules / "sluice-worker").symlink_to(SDK)
        path = self.folder / name
        path.write_text(text)
        return {"queue": "work", "command": [NODE, str(path)]}

    def said(self, gw, text):
        return harness.wait_for(lambda: any(text in line for line in gw.log.lines), f"{text!r} in the log")

    def test_the_example_of_the_readme_works_when_pasted(self):
        example = re.search(r"```js\n(.*?)```", (SDK / "README.md").read_text(encoding="utf-8"), re.S).group(1)
        self.assertLessEqual(len(example.strip().splitlines()), 5)
        gw = self.gateway(harness.config(pools={"p": self.program("worker.mjs", example)})).start()
        self.publish_async(gw, b'{"t": 21.5}')
        self.said(gw, 'work/x {')
        gw.await_empty("work")
        self.assertEqual(gw.counters("work")["acked"], 1)
        self.assertEqual(gw.stop(), 0)

    def test_print_telemetry(self):
        command = [NODE, str(SDK / "examples" / "print_telemetry.js")]
        gw = self.gateway(harness.config(pools={"p": {"queue": "work", "command": command}})).start()
        self.publish_async(gw, b'{"t":21.5,"unit":"C"}', b"plain\x07", b"\xff\xfe")
        gw.await_queue("work", lambda c: c["acked"] == 3, "all to be printed")
        self.said(gw, "t=21.5  unit=C")
        self.said(gw, "plain")
        self.assertEqual(gw.stop(), 0)

    def test_telemetry_bulk(self):
        out = self.folder / "telemetry.jsonl"
        command = [NODE, str(SDK / "examples" / "telemetry_bulk.js"), str(out), "90"]
        gw = self.gateway(harness.config({"work": {}, "alerts": {}}, {"p": {"queue": "work", "command": command}})).start()
        self.publish_async(gw, b'{"t":21.5}', b'{"t":91}', b"no json")
        gw.await_queue("alerts", lambda c: c["accepted"] == 1, "the alert")
        gw.await_queue("work", lambda c: c["ready"] + c["leased"] == 0, "all to be settled")
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(sorted(json.loads(l)["value"]["t"] for l in out.read_text().splitlines()), [21.5, 91])
        left = {e["queue"]: e for e in harness.dump(gw.data)}
        self.assertEqual(left["work"]["payload"], b"no json")
        self.assertEqual(json.loads(left["alerts"]["payload"]), {"topic": "work/x", "value": {"t": 91}})

    def test_the_types_name_what_the_package_exports(self):
        """Without a compiler: every export has its declaration, and every declared class its export."""
        declared = set(re.findall(r"^export (?:class|const) (\w+)", (SDK / "index.d.ts").read_text(encoding="utf-8"), re.M))
        script = f"import * as sdk from {json.dumps(str(SDK / 'index.js'))}\nconsole.log(...Object.keys(sdk))"
        done = subprocess.run([NODE, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
        self.assertEqual(declared, set(done.stdout.split()))


if __name__ == "__main__":
    unittest.main()
