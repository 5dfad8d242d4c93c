"""Workers that are written with the C SDK, under the real gateway: batches of the pool's and gathered ones, and
a worker_socket with its token. test_workers.py and the crash tests have the same SDK one message at a time."""

import os
import subprocess
import unittest

import harness
from test_stop import StopCase

FOREVER_MS = 3600 * 1000


class CCase(StopCase):
    def command(self, max, wait_ms, work_ms=0):
        return [harness.program("e2e_batches"), str(self.note_file()), str(max), str(wait_ms), str(work_ms)]


class Batches(CCase):
    def settled(self, command, *payloads, **pool):
        """The gateway, stopped in order, when all payloads have been settled; and what is left."""
        gw = self.gateway(harness.config(pools={"p": {"queue": "work", "command": command, **pool}})).start()
        self.publish_async(gw, *payloads)
        gw.await_queue("work", lambda c: c["accepted"] == len(payloads) and c["ready"] + c["leased"] == 0, "all to be settled")
        acked = gw.counters("work")["acked"]
        self.assertEqual(gw.stop(), 0)
        self.assertFalse(gw.has_event("worker_restart"))
        return acked, {e["payload"].decode(): e["failures"][0]["detail"] for e in harness.dump(gw.data)}

    def sizes(self):
        return [int(line) for line in self.notes()]

    def test_a_pool_with_batches_says_what_a_batch_is(self):
        done = self.settled(self.command(1000, FOREVER_MS), *[b"x"] * 45, batch={"max": 10, "wait": "50ms"})
        self.assertEqual(done, (45, {}))
        self.assertEqual((sum(self.sizes()), max(self.sizes())), (45, 10))

    def test_one_of_a_batch_is_set_aside_and_the_others_are_done(self):
        payloads = [b"bad" if i == 3 else b"good" for i in range(10)]
        done = self.settled(self.command(10, 1000), *payloads, batch={"max": 10, "wait": "50ms"})
        self.assertEqual(done, (9, {"bad": "bad"}))

    def test_a_worker_gathers_in_a_pool_without_batches_however_slow_it_is(self):
        """Waiting is not taken for work, or there would be fewer and fewer messages at hand."""
        self.assertEqual(self.settled(self.command(10, FOREVER_MS, 200), *[b"x"] * 60), (60, {}))
        self.assertEqual(self.sizes(), [10] * 6)


class External(CCase):
    """A process that the gateway did not start, by the pool's worker_socket."""

    def pool(self):
        return {"queue": "work", "workers": 0, "worker_socket": str(self.folder / "w.sock"), "worker_token": "s3cret"}

    def worker(self, token="s3cret"):
        environment = dict(os.environ, SLUICE_SOCKET=str(self.folder / "w.sock"), SLUICE_TOKEN=token)
        environment.pop("SLUICE_FD", None)
        return self.child(subprocess.Popen(self.command(100, 10), env=environment, stderr=subprocess.DEVNULL))

    def test_it_joins_before_and_after_a_restart_of_the_gateway_and_ends_by_sigterm(self):
        process = self.worker()
        gw = self.gateway(harness.config(pools={"p": self.pool()}))
        for end in (gw.stop, gw.kill, gw.stop):
            gw.start()
            seen = len(self.notes())
            self.publish_async(gw, b"x")
            self.await_notes(seen + 1)
            gw.await_empty("work")
            if seen == 2:
                process.terminate()
                self.assertEqual(process.wait(harness.PATIENCE), 0)
            end()
        self.assertEqual(harness.dump(gw.data), [])

    def test_a_wrong_token_ends_it_with_1(self):
        self.gateway(harness.config(pools={"p": self.pool()})).start()
        self.assertEqual(self.worker("guessed").wait(harness.PATIENCE), 1)
        self.assertEqual(self.notes(), [])


if __name__ == "__main__":
    unittest.main()
