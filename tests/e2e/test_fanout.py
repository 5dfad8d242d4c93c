"""Many subscribers at once: `sluice bench fanout`, whose publishers wait until everybody has each message, finds nothing lost."""

import json
import subprocess
import unittest

import harness


class Fanout(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.gateway(harness.config()).start()

    def fan(self, *more):
        done = subprocess.run(
            [harness.binary(), "bench", "fanout", "--connect", str(self.server.mqtt), "--seconds", "0.2", "--warmup", "0",
             "--json", *more], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["lost"], found["repeated"], found["out_of_order"]), (0, 0, 0))
        return found

    def test_every_subscriber_has_every_message_once_and_in_order(self):
        for qos in ("0", "1", "2"):
            found = self.fan("--publishers", "2", "--subscribers", "50", "--qos", qos)
            self.assertEqual(found["deliveries_in_all"], 50 * found["published"])

    def test_sharing_subscribers_have_every_message_once_among_them(self):
        for qos in ("0", "1"):
            found = self.fan("--publishers", "50", "--subscribers", "3", "--group", "g", "--window", "4", "--qos", qos)
            self.assertEqual(found["deliveries_in_all"], found["published"])

    def test_what_a_queue_takes_too_is_in_the_queue_and_with_every_subscriber(self):
        found = self.fan("--topic", "work/fanout", "--subscribers", "20", "--qos", "1", "--protocol", "mqtt5")
        self.assertEqual(found["deliveries_in_all"], 20 * found["published"])
        self.assertEqual(int(self.server.counters("work")["accepted"]), found["published"])


if __name__ == "__main__":
    unittest.main()
