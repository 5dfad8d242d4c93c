"""What the README shows, pasted and run: the worker of one's own with its configuration, its sisters in other styles and
languages, and the pool that has every key; what it shows of queues is a good configuration. tests/workers/test_install.py
builds and runs the one in C."""

import json
import re
import shlex
import signal
import subprocess
import unittest

import harness
from test_stop import StopCase

README = (harness.ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "worker.run()" in b]
HELLO, BATCH, ATOMIC = PYTHON
CONFIGS = re.findall(r"```jsonc?\n(.*?)```", README, re.S)
SIMPLE, POOLS = (json.loads(b) for b in CONFIGS[:2])
NODE = re.search(r"```js\n(.*?)```", README, re.S).group(1)


class Readme(StopCase):
    def pasted(self, program, config, name="hello.py", **pool):
        """In a folder that has `workers` as a checkout has it; the listeners alone are the test's."""
        (self.folder / "workers").symlink_to(harness.ROOT / "workers")
        (self.folder / name).write_text(program)
        config = json.loads(json.dumps({**harness.config(), **config}))
        config["pools"]["jobs"].update(pool)
        return self.gateway(config).start()

    def publish_job(self, gw, payload):
        return self.publish(gw, payload, topic="jobs/1")

    def said(self, gw, text):
        harness.wait_for(lambda: any(text in line for line in gw.log.lines), f"{text!r} in the log")

    def test_each_configuration_is_a_good_one(self):
        for text in CONFIGS:
            path = self.folder / "shown.json"
            path.write_text(text)
            done = subprocess.run([harness.binary(), "check", "-c", path], capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 0, text + done.stderr)

    def test_a_worker_of_ones_own(self):
        gw = self.pasted(HELLO, SIMPLE)
        self.publish_job(gw, b'{"n":1}')
        self.said(gw, "hello, jobs/1 {'n': 1}")
        self.assertEqual(gw.stop(), 0)

    @unittest.skipUnless(harness.NODE_JS, "Node.js is not installed")
    def test_the_same_in_node(self):
        (self.folder / "node_modules").mkdir()
        (self.folder / "node_modules" / "sluice-worker").symlink_to(harness.ROOT / "workers" / "node")
        gw = self.pasted(NODE, SIMPLE, "hello.mjs", command=[harness.NODE_JS, "hello.mjs"])
        self.publish_job(gw, b'{"n":1}')
        self.said(gw, "hello, jobs/1 { n: 1 }")
        self.assertEqual(gw.stop(), 0)

    def test_in_bulk(self):
        batch = json.loads(re.search(r'"batch": (\{.*?\})', README).group(1))
        gw = self.pasted(BATCH, SIMPLE, batch=batch)
        self.publish_job(gw, b"a")
        self.said(gw, "1 rows: a")
        self.assertEqual(gw.stop(), 0)

    def test_in_one_step(self):
        gw = self.pasted(ATOMIC, SIMPLE)
        told = subprocess.run([harness.binary(), "pub", "-p", str(gw.mqtt), "--wait", "jobs/1", '{"n":7}'],
                              capture_output=True, text=True, timeout=harness.PATIENCE)
        self.assertEqual((told.returncode, told.stdout.strip()), (0, '{"seen":7}'), told.stderr)
        self.assertEqual(gw.stop(), 0)

    def test_a_pool_with_every_key_starts_a_worker_on_demand_and_lets_others_join(self):
        gw = self.pasted(HELLO, POOLS)
        self.publish_job(gw, b'{"n":1}')
        gw.await_empty("jobs")
        command = re.search(r"`(\S+ SLUICE_SOCKET=.*?)`", README).group(1)
        joined = self.child(subprocess.Popen(["/bin/sh", "-c", "exec env " + command], cwd=self.folder))
        gw.event("external_join")
        joined.send_signal(signal.SIGTERM)
        self.assertEqual(joined.wait(harness.PATIENCE), 0)
        self.assertEqual(gw.stop(), 0)

    def test_a_reload_changes_a_pool(self):
        gw = self.pasted(HELLO, SIMPLE)
        gw.config["pools"]["jobs"]["env"]["NEW"] = "1"
        gw.config_path.write_text(json.dumps(gw.config))
        before = set(gw.workers())
        gw.signal(signal.SIGHUP)
        harness.wait_for(lambda: gw.workers() and not before & set(gw.workers()), "the pool to be rolled")
        self.assertEqual(gw.stop(), 0)

    def test_its_headers_are_what_pub_takes(self):
        gw = self.pasted(HELLO, SIMPLE)
        words = shlex.split(re.search(r"`build/sluice (pub .*? -H priority.*?)`", README).group(1))
        told = subprocess.run([harness.binary(), *words[:1], "-p", str(gw.mqtt), *words[1:]], capture_output=True, text=True,
                              timeout=harness.PATIENCE)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.said(gw, "hello, jobs/1 {'n': 1}")
        self.assertEqual(gw.stop(), 0)


if __name__ == "__main__":
    unittest.main()
