#!/usr/bin/env python3
"""What the instrument makes of its raw lines, without a measurement: ratios, verdicts, repeats, rooms."""

import contextlib
import io
import unittest

import goals
import measure
import profile_rooms
import table
from rows import BY_DEFAULT, ROWS, fits
from servers import Redis, Sluice, SluiceStomp


def raw(server, value, number=0, row="core", **more):
    return {"row": row, "server": server, "round": number, "value": value, "sync_us": [80, 80], **more}


def goal_of(row, key="ratio", against=None):
    return next(g for g in goals.GOALS if (g.row, g.key, g.against) == (row, key, against))


def said(function, *arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        function(*arguments)
    return out.getvalue()


class Ratios(unittest.TestCase):
    def test_a_ratio_is_taken_within_its_round(self):
        own = [raw("sluice", 800, 0), raw("sluice", 900, 1)]
        peer = [raw("redis", 200, 0), raw("redis", 300, 1), raw("redis", 1, 2)]
        self.assertEqual(table.ratios(peer, own, fewer=False), [4, 3])

    def test_over_one_is_better_where_fewer_is_better(self):
        self.assertEqual(table.ratios([raw("mosquitto", 740)], [raw("sluice", 1480)], fewer=True), [0.5])

    def test_a_server_that_did_nothing_has_no_ratio(self):
        self.assertEqual(table.ratios([raw("redis", 0)], [raw("sluice", 5)], fewer=False), [])


class Verdicts(unittest.TestCase):
    def test_a_goal_is_reached_at_its_value(self):
        self.assertEqual(goals.verdict(goal_of("core", against="redis"), 4), "reached")

    def test_a_miss_tells_by_how_much(self):
        self.assertEqual(goals.verdict(goal_of("core", against="redis"), 3), "missed by 1.00x (25%)")

    def test_under_its_own_floor(self):
        self.assertTrue(goals.verdict(goal_of("core", against="redis"), 1.6).startswith("under the floor"))

    def test_without_a_floor_of_its_own_it_is_six_tenths_of_the_goal(self):
        deep = goal_of("deep", "value")
        self.assertFalse(goals.verdict(deep, 180000).startswith("under"))
        self.assertTrue(goals.verdict(deep, 179999).startswith("under"))

    def test_where_fewer_is_better_it_is_sixteen_tenths(self):
        late = goal_of("open50k", "worked_p50_ms")
        self.assertEqual(goals.verdict(late, 0.5), "reached")
        self.assertFalse(goals.verdict(late, 0.79).startswith("under"))
        self.assertTrue(goals.verdict(late, 0.81).startswith("under"))

    def test_every_goal_names_a_row_and_a_server_that_exist(self):
        for goal in goals.GOALS:
            self.assertIn(goal.row, ROWS)
            self.assertIn(goal.against, (None, *table.AGAINST))

    def test_stomp_is_judged_against_stomp(self):
        lines = [raw("sluice", 9000), raw("sluice-stomp", 500), raw("rabbitmq-stomp", 10)]
        self.assertEqual(goals.measured(goal_of("core", against="rabbitmq-stomp"), lines), [50])

    def test_a_discarded_line_counts_nowhere(self):
        lines = [raw("sluice", 1, row="deep", discarded="why"), raw("sluice", 400000, row="deep")]
        self.assertEqual(goals.measured(goal_of("deep", "value"), lines), [400000])

    def test_a_peer_that_is_missing_is_told(self):
        text = said(goals.print_goals, [raw("sluice", 5, row="1x20")])
        self.assertIn("not measured", text)
        self.assertNotIn("deep", text)


class Repeats(unittest.TestCase):
    def once(self, *syncs, **more):
        left = list(syncs)
        return lambda: raw("sluice", 1, sync_us=left.pop(0), **more) | more

    def test_a_steady_disk_is_measured_once(self):
        self.assertEqual(len(measure.measure_steadily(self.once([100, 240]))), 1)

    def test_a_disk_that_changed_is_measured_once_more_and_the_first_line_is_marked(self):
        lines = measure.measure_steadily(self.once([600, 200], [80, 80]))
        self.assertEqual(["discarded" in line for line in lines], [True, False])

    def test_the_third_counts_whatever_the_disk_did(self):
        lines = measure.measure_steadily(self.once([1, 9], [9, 1], [1, 9]))
        self.assertEqual(["discarded" in line for line in lines], [True, True, False])
        self.assertTrue(lines[-1]["unsteady"])

    def test_memory_is_not_measured_again_for_the_disk(self):
        self.assertEqual(len(measure.measure_steadily(self.once([1, 9], row="empty"))), 1)


class Rows(unittest.TestCase):
    def test_what_takes_minutes_is_measured_when_asked_for(self):
        self.assertNotIn("deep", BY_DEFAULT)
        self.assertIn("stopped", BY_DEFAULT)

    def test_a_row_of_its_own_servers_takes_others_when_asked_for(self):
        self.assertTrue(fits(Sluice, ROWS["deep"], ""))
        self.assertFalse(fits(Redis, ROWS["deep"], ""))
        self.assertTrue(fits(Redis, ROWS["deep"], "redis"))

    def test_rows_of_mqtt_leave_others_out(self):
        self.assertFalse(fits(Redis, ROWS["accept"], ""))
        self.assertFalse(fits(SluiceStomp, ROWS["idle"], ""))
        self.assertTrue(fits(SluiceStomp, ROWS["stomp-consume"], ""))
        self.assertFalse(fits(Sluice, ROWS["stomp-consume"], ""))
        self.assertFalse(fits(SluiceStomp, ROWS["fanout"], ""))


class Table(unittest.TestCase):
    def test_a_trouble_is_told_with_the_end_of_the_log(self):
        text = said(table.print_table, [{"row": "core", "server": "redis", "round": 1, "trouble": "the server ended with -9",
                                         "log": ["redis.log: out of memory"], "sync_us": [1, 1]}])
        self.assertIn("round 1: the server ended with -9", text)
        self.assertIn("redis.log: out of memory", text)

    def test_messages_without_an_answer_are_told(self):
        text = said(table.print_table, [raw("redis", 5, findings={"unanswered": 7, "refused": 0, "faults": 0})])
        self.assertIn("7 never answered", text)


    def test_consumers_that_fall_behind_are_told(self):
        found = {"per_second": 250000, "consumers": {"per_second": 130000}}
        self.assertIn("130,000 worked/s", said(table.print_table, [raw("redis", 250000, findings=found)]))
        found["consumers"]["per_second"] = 249000
        self.assertNotIn("behind", said(table.print_table, [raw("redis", 250000, findings=found)]))


class Rooms(unittest.TestCase):
    def test_source_names_its_room(self):
        self.assertEqual(profile_rooms.source_room("/x/gateway/hub/publish.c"), "hub")
        self.assertEqual(profile_rooms.source_room("/x/protocols/mqtt/packet.c"), "mqtt")
        self.assertEqual(profile_rooms.source_room("/x/protocols/common/proto.h"), "protocols")
        self.assertEqual(profile_rooms.source_room("/usr/include/string.h"), None)

    def test_the_innermost_family_of_a_kernel_chain_counts(self):
        waking = ["_raw_spin_lock", "try_to_wake_up", "ep_poll_callback", "sock_def_readable", "tcp_rcv_established",
                  "tcp_sendmsg", "do_syscall_64"]
        self.assertEqual(profile_rooms.kernel_room(waking), "kernel: epoll, wakeups, scheduling")
        self.assertEqual(profile_rooms.kernel_room(["copy_user_generic", "tcp_recvmsg", "do_syscall_64"]), "kernel: tcp/ip, sockets")
        self.assertEqual(profile_rooms.kernel_room(["memset", "unix_stream_sendmsg"]), "kernel: unix sockets")
        self.assertEqual(profile_rooms.kernel_room(["clear_page_erms", "ext4_da_write_begin", "ksys_pwrite64"]),
                         "kernel: files, block, sync")
        self.assertEqual(profile_rooms.kernel_room(["entry_SYSCALL_64_after_hwframe"]), "kernel: entering system calls")
        self.assertEqual(profile_rooms.kernel_room(["something_else"]), "kernel: other")

    def test_samples_are_read_with_their_chains(self):
        text = ("sluice  77   250000 \n\tffff01 tcp_sendmsg ([kernel.kallsyms])\n\t55aa write ([x]/libc.so.6)\n\n"
                "store  78   250000 \n\t5501 commit (/b/sluice)\n\n")
        samples = list(profile_rooms.samples(text))
        self.assertEqual(samples[0], (77, 250000, [(0xffff01, "tcp_sendmsg", "[kernel.kallsyms]"), (0x55aa, "write", "[x]/libc.so.6")]))
        self.assertEqual(samples[1][2][0][2], "/b/sluice")


if __name__ == "__main__":
    unittest.main()
