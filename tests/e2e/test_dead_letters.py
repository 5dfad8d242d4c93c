"""Dead letters that go on: to another queue whose worker sees why, at once and later, with the
gateway killed in between; what expires while it waits."""

import time
import unittest

import harness
from test_stop import StopCase

# Poison: two kinds of failure, each told on stderr.
POISON = 'read -r what; echo "cannot do $what" >&2; case $what in good*) exit 0;; bad*) exit 65;; *) exit 3;; esac'
MORGUE = ('read -r what; echo "$what|$SLUICE_QUEUE|$SLUICE_TOPIC|$SLUICE_ATTEMPT|$SLUICE_HEADER_DEAD_QUEUE|'
          '$SLUICE_HEADER_DEAD_CAUSE|$SLUICE_HEADER_DEAD_ATTEMPTS|$SLUICE_HEADER_DEAD_REASON|$SLUICE_HEADER_DEAD_AT" >> "$OUT"')


class DeadLetters(StopCase):
    def configuration(self, forward=True, morgue=True, **work):
        queue = {"max_attempts": 2, "retry": {"initial": "10ms", "factor": 1}, **work}
        if forward:
            queue.setdefault("dead", {})["forward_to"] = "morgue"
        pools = {"p": harness.shell(POISON, workers=2)}
        if morgue:
            pools["m"] = harness.shell(MORGUE, queue="morgue", env={"OUT": str(self.note_file())})
        return harness.config({"work": queue, "morgue": {}}, pools)

    def told(self, n):
        return {l.split("|")[0]: l.split("|")[1:] for l in self.await_notes(n)}

    def test_poison_goes_on_to_a_worker_that_sees_why(self):
        gw = self.gateway(self.configuration()).start()
        self.publish_async(gw, b"good\n", b"bad one\n", b"ugly\n")
        told = self.told(2)
        gw.await_empty("work")
        gw.await_empty("morgue")
        at = time.strftime("%Y-%m-%dT", time.gmtime())
        self.assertEqual(set(told), {"bad one", "ugly"})
        self.assertEqual(told["bad one"][:6], ["morgue", "work/x", "1", "work", "rejected", "1"])
        self.assertEqual(told["ugly"][:7], ["morgue", "work/x", "1", "work", "exit", "2", "exit 3"])
        self.assertTrue(told["ugly"][7].startswith(at[:8]), told)
        counters = gw.summary()
        self.assertEqual((counters["work"]["dead"], counters["work"]["moved"]), (2, 2))
        self.assertEqual((counters["morgue"]["accepted"], counters["morgue"]["acked"]), (2, 2))
        self.assertEqual(gw.stop(), 0)
        self.assertEqual(harness.dump(gw.data), [])

    def test_after_a_kill_each_is_in_one_place_and_goes_on(self):
        gw = self.gateway(self.configuration(morgue=False)).start()
        self.publish(gw, *[b"bad %d\n" % i for i in range(20)])
        gw.await_queue("morgue", lambda c: c["ready"] >= 10, "half of them to be forwarded")
        gw.kill()
        kept = harness.dump(gw.data)  # what was not committed is where it was: each is in one place
        self.assertEqual(sorted(e["payload"] for e in kept), sorted(b"bad %d\n" % i for i in range(20)))
        self.assertIn("morgue", {e["queue"] for e in kept})
        again = self.gateway(self.configuration()).start()
        told = self.told(20)
        self.assertEqual(set(told), {"bad %d" % i for i in range(20)})
        self.assertEqual({t[4] for t in told.values()}, {"rejected"})
        again.await_empty("morgue")
        self.assertEqual(len(self.notes()), 20)
        self.assertEqual(again.stop(), 0)

    def test_what_was_dead_already_goes_on_with_a_new_configuration(self):
        gw = self.gateway(self.configuration(forward=False)).start()
        self.publish_async(gw, *[b"ugly %d\n" % i for i in range(5)])
        gw.await_queue("work", lambda c: c["dead"] == 5, "all to be dead")
        gw.kill()
        again = self.gateway(self.configuration()).start()
        told = self.told(5)
        self.assertEqual({tuple(t[3:6]) for t in told.values()}, {("work", "exit", "2")})
        again.event("dead_letters_moved", queue="work", to="morgue")
        again.await_empty("morgue")
        self.assertEqual(again.stop(), 0)
        self.assertEqual(harness.dump(again.data), [])

    def test_what_expires_while_it_waits_goes_on_too(self):
        cfg = self.configuration(ttl="300ms", dead={"expired": True})
        cfg["pools"]["p"]["command"] = ["/bin/sh", "-c", "sleep 1"]
        cfg["pools"]["p"]["workers"] = 1
        gw = self.gateway(cfg).start()
        self.publish_async(gw, b"first\n", b"second\n", b"third\n")
        told = self.told(2)
        self.assertEqual({tuple(t[3:6]) for t in told.values()}, {("work", "expired", "0")})
        counters = gw.await_empty("work")
        self.assertEqual((counters["expired"], counters["expired_dead"]), (0, 2))
        gw.await_empty("morgue")
        self.assertEqual(gw.stop(), 0)


if __name__ == "__main__":
    unittest.main()
