"""Messages at given times: each time once, also when the gateway is killed; what was missed while it
did not run; time zones as the machine has them; changes while it runs. The distances are short,
and everything waits for a line: of the worker, of the log."""

import collections
import datetime
import json
import os
import signal
import subprocess
import time
import unittest
import zoneinfo

import harness
from test_reload import ReloadCase

# Notes what it gets: id, attempt, schedule, scheduled-for in ms.
WORKER = """
import datetime, json, os, sys
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for line in sys.stdin:
    m = json.loads(line)
    headers = dict(m["headers"])
    at = datetime.datetime.fromisoformat(headers["scheduled-for"].replace("Z", "+00:00"))
    os.write(out, f"{m['id']} {m['attempt']} {headers['schedule']} {round(at.timestamp() * 1000)} {m['payload']}\\n".encode())
    print(json.dumps({"id": m["id"], "ack": True}), flush=True)
"""

Fired = collections.namedtuple("Fired", "id attempt schedule at payload")


def every(name, text="1s", topic="work/tick", **more):
    return {"name": name, "every": text, "publish": {"topic": topic, "payload": "p"}, **more}


class ScheduleCase(ReloadCase):

    def worker(self):
        return {"p": {"queue": "work", "mode": "lines", "command": [harness.PYTHON, "-c", WORKER, str(self.folder / "notes")],
                      "restart": {"initial": "10ms", "factor": 1, "max": "50ms"}}}

    def config(self, schedules, pools=None, **more):
        return harness.config(pools=self.worker() if pools is None else pools, schedules=schedules, **more)

    def fired(self, schedule=None):
        whole = [l.split() for l in self.notes() if len(l.split()) == 5]
        all_of_them = [Fired(l[0], int(l[1]), l[2], int(l[3]), l[4]) for l in whole]
        return [f for f in all_of_them if schedule in (None, f.schedule)]

    def await_fired(self, n, schedule=None):
        harness.wait_for(lambda: len(self.fired(schedule)) >= n, f"{n} firings of {schedule}")
        return self.fired(schedule)

    def times(self, schedule):
        """When it was scheduled for, in order; a message that came again after a crash is still that one."""
        ids = collections.defaultdict(set)
        for f in self.fired(schedule):
            ids[f.at].add(f.id)
        self.assertEqual({at: n for at, n in ids.items() if len(n) > 1}, {}, f"{schedule} fired twice")
        return sorted(ids)


class Firing(ScheduleCase):

    def test_each_time_is_one_message_however_often_the_gateway_is_killed(self):
        _, dice = harness.seeded()
        gw = self.gateway(self.config([every("a", missed="all"), every("b", "1500ms", missed="all")]))
        for round_ in range(1, 7):
            gw.start()
            self.await_fired(round_ * 2, "a")
            # anywhere between two firings, and often at one
            moment = time.time() + dice.choice([0, 0.2, 1]) * dice.random()
            harness.wait_for(lambda: time.time() >= moment, "the moment")
            gw.kill()
        gw.start()
        self.await_fired(len(self.fired("a")) + 2, "a")
        self.assertEqual(gw.stop(), 0)
        for name, distance in (("a", 1000), ("b", 1500)):
            times = self.times(name)
            self.assertEqual(times, list(range(times[0], times[-1] + 1, distance)), f"{name}: one was lost, or its phase")

    def test_a_message_is_what_is_configured(self):
        publish = {"topic": "/queue/work", "payload_base64": "aGVsbG8=", "content_type": "text/plain", "headers": {"x": ["1", "2"], "priority": "7"}}
        gw = self.gateway(self.config([{"every": "1s", "publish": publish}])).start()
        first = self.await_fired(1)[0]
        self.assertEqual(first.payload, "hello")
        self.assertRegex(first.schedule, r"^schedule-[0-9a-f]{16}$")
        gw.stop()
        gw.start()
        self.await_fired(len(self.fired()) + 1)
        self.assertEqual({f.schedule for f in self.fired()}, {first.schedule}, "its name is the same at each start")
        self.assertEqual(gw.stop(), 0)

    def test_a_full_queue_drops_it_and_counts(self):
        cfg = self.config([every("a")], {}, queues={"work": {"max_messages": 1}})
        gw = self.gateway(cfg).start()
        gw.event("schedule_dropped", schedule="a")
        counters = gw.summary()
        self.assertEqual(counters[""]["schedules_fired"], 1)
        self.assertGreaterEqual(counters[""]["schedules_dropped"], 1)
        self.assertEqual(counters["work"]["ready"], 1)
        self.assertEqual(gw.stop(), 0)


class Missed(ScheduleCase):

    def test_what_was_missed_goes_by_the_policy(self):
        policies = ("skip", "once", "all")
        gw = self.gateway(self.config([every(p, missed=p) for p in policies])).start()
        for p in policies:
            self.await_fired(1, p)
        self.assertEqual(gw.stop(), 0)
        before = {p: self.times(p)[-1] for p in policies}
        back = max(before.values()) / 1000 + 3.2
        harness.wait_for(lambda: time.time() >= back, "three to be missed")
        gw.start()
        for p in policies:
            said = gw.event("schedule_missed", schedule=p)
            n, skipped = int(said["missed"]), int(said["skipped"])
            self.assertGreaterEqual(n, 3)
            self.assertEqual(skipped, {"skip": n, "once": n - 1, "all": 0}[p])
            self.await_fired(len([t for t in self.times(p) if t <= before[p]]) + n - skipped + 1, p)
            first = {"skip": n + 1, "once": n, "all": 1}[p]
            after = [t for t in self.times(p) if t > before[p]]
            self.assertEqual(after, [before[p] + 1000 * (first + i) for i in range(len(after))], p)
        self.assertEqual(gw.stop(), 0)


class Zones(ScheduleCase):

    def check(self, schedules):
        path = self.folder / "sluice.json"
        path.write_text(json.dumps(self.config(schedules, {}), indent=1))
        return subprocess.run([harness.binary(), "check", "-c", str(path)], capture_output=True, text=True, timeout=harness.PATIENCE)

    def next_noon(self, zone, month):
        now = datetime.datetime.now(datetime.timezone.utc)
        for year in (now.year, now.year + 1):
            noon = datetime.datetime(year, month, 15, 12, 0, tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(datetime.timezone.utc)
            if noon > now:
                return noon.strftime("%Y-%m-%dT%H:%M:00.000Z")
        return None

    def test_noon_is_noon_in_every_zone_in_winter_and_summer(self):
        zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Kiritimati", "Africa/Casablanca", "Etc/GMT+5"]
        rows = [(zone, month) for zone in zones for month in (1, 4, 7, 10)]
        done = self.check([{"name": f"s{i}", "cron": f"0 12 15 {month} *", "timezone": zone, "publish": {"topic": "a"}} for i, (zone, month) in enumerate(rows)])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        told = [l.rsplit(" ", 1)[1] for l in done.stdout.splitlines() if l.startswith("schedules[")]
        self.assertEqual(dict(zip(rows, told)), {row: self.next_noon(*row) for row in rows})

    def test_a_zone_that_is_not_there_is_a_fault_at_its_place(self):
        for zone in ("Europe/Bonn", "zone.tab", "Europe", "posix/../Europe/Berlin"):
            done = self.check([{"cron": "@daily", "timezone": zone, "publish": {"topic": "a"}}])
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, r"sluice\.json:\d+:\d+: schedules\[0\]\.timezone: ")

    def test_workers_have_the_zone_that_the_gateway_was_started_in(self):
        pools = {"p": harness.shell("echo \"zone ${TZ-none}\" >> \"$NOTES\"", env={"NOTES": str(self.note_file())})}
        for tz in ("Asia/Tokyo", None):
            self.note_file().unlink(missing_ok=True)
            gw = self.gateway(self.config([{"cron": "* * * * *", "timezone": "Europe/Berlin", "publish": {"topic": "work/a"}}], pools), env={} if tz is None else {"TZ": tz})
            gw.start()
            self.publish(gw, b"m")
            self.assertEqual(self.await_notes(1)[0], f"zone {tz or os.environ.get('TZ', 'none')}")
            self.assertEqual(gw.stop(), 0)


class Reloaded(ScheduleCase):

    def test_schedules_are_taken_over_and_those_that_stay_go_on(self):
        gw = self.gateway(self.config([every("stays"), every("goes")])).start()
        self.await_fired(1, "stays")
        self.await_fired(1, "goes")
        self.reload(gw, self.config([every("comes"), every("stays"), every("off", enabled=False)]))
        gone = len(self.fired("goes"))
        self.await_fired(2, "comes")
        self.await_fired(len(self.fired("stays")) + 2, "stays")
        self.assertLessEqual(len(self.fired("goes")), gone + 1, "one may have been on its way")
        self.assertEqual(self.fired("off"), [])
        times = self.times("stays")
        self.assertEqual(times, list(range(times[0], times[-1] + 1, 1000)))
        self.assertEqual(gw.stop(), 0)

    def test_a_zone_of_the_start_may_be_used_and_another_one_is_refused(self):
        cron = lambda zone: {"cron": "@daily", "timezone": zone, "publish": {"topic": "work/a"}}
        gw = self.gateway(self.config([cron("Europe/Berlin")])).start()
        self.reload(gw, self.config([dict(cron("Europe/Berlin"), cron="@hourly")]))
        _, said = self.reload(gw, self.config([cron("Asia/Tokyo")]), "reload_refused")
        self.assertIn("Asia/Tokyo", said["reason"])
        self.assertEqual(gw.stop(), 0)


if __name__ == "__main__":
    unittest.main()
