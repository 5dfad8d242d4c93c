"""What is wanted of each row, and whether it was reached."""

import dataclasses
import statistics

from rows import ROWS
from table import AGAINST, counted, ratios

FLOOR = 0.6             # of the goal, where a goal names no floor of its own
FLOOR_FEWER = 1.6       # the same where fewer is better


@dataclasses.dataclass(frozen=True)
class Goal:
    row: str
    key: str                    # of a raw line; "ratio": value against the server `against`
    goal: float
    floor: float = None
    against: str = None
    fewer: bool = False
    form: str = "{:,.0f}"
    what: str = ""              # for people

    def limit(self):
        return self.floor if self.floor is not None else self.goal * (FLOOR_FEWER if self.fewer else FLOOR)


def times(row, against, goal, floor=None):
    own = AGAINST[against]
    return Goal(row, "ratio", goal, floor, against, form="{:.2f}x", what=f"{own} against {against}")


def at_least(row, goal, what, key="value"):
    return Goal(row, key, goal, what=what)


def at_most(row, key, goal, what, form, floor=None):
    return Goal(row, key, goal, floor, fewer=True, form=form, what=what)


GOALS = (
    times("core", "mosquitto", 5, 2),
    times("core", "redis", 4, 1.7),
    times("core", "nats-mqtt", 15, 6),
    times("core", "rabbitmq-mqtt", 25, 10),
    times("core", "rabbitmq-stomp", 25, 10),
    times("core", "beanstalkd", 130, 50),
    at_most("core", "cpu_us", 2, "gateway's CPU us per message", "{:.2f}"),
    at_most("core", "generator_share", 0.25, "generator's CPU in parts of the gateway's", "{:.2f}"),
    times("16KiB", "mosquitto", 2),
    times("500", "mosquitto", 5),
    times("1x20", "mosquitto", 1.8),
    times("50x1", "mosquitto", 1),
    times("1x1", "redis", 1),
    times("1x1", "mosquitto", 1),
    at_most("open50k", "worked_p50_ms", 0.5, "meant to worked, p50 ms", "{:.2f}"),
    at_most("open50k", "worked_p99_ms", 4, "meant to worked, p99 ms", "{:.2f}"),
    at_most("open200k", "worked_p50_ms", 0.8, "meant to worked, p50 ms", "{:.2f}"),
    at_most("open200k", "worked_p99_ms", 3, "meant to worked, p99 ms", "{:.2f}"),
    times("stopped", "redis", 1.5),
    at_most("stopped", "disk_bytes", 1500, "disk B per stored message", "{:,.0f}"),
    at_least("deep", 300000, "worked/s"),
    times("fanout", "mosquitto", 3, 1.5),
    times("fanout-qos1", "mosquitto", 3, 1.5),
    times("shared", "mosquitto", 3, 1.5),
    times("shared-qos1", "mosquitto", 3, 1.5),
    times("stomp-send", "rabbitmq-stomp", 25, 10),
    times("stomp-send-20", "rabbitmq-stomp", 25, 10),
    times("stomp-consume", "rabbitmq-stomp", 25, 10),
    times("stomp-consume-client", "rabbitmq-stomp", 25, 10),
    times("stomp-topic", "rabbitmq-stomp", 25, 10),
    times("stomp-topic-acked", "rabbitmq-stomp", 25, 10),
    times("subscribed", "mosquitto", 1),
    at_most("idle", "value", 740, "anonymous B per connection", "{:,.0f}", 1200),
    at_most("empty", "value", 10, "anonymous MB", "{:.2f}"),
    at_least("accept", 11000, "connections/s"),
)


def measured(goal, lines):
    """One value for each round."""
    mine = [line for line in counted(lines) if line["row"] == goal.row]
    own = [line for line in mine if line["server"] == (AGAINST[goal.against] if goal.against else "sluice")]
    if goal.key != "ratio":
        return [line[goal.key] for line in own if line.get(goal.key) is not None]
    theirs = [line for line in mine if line["server"] == goal.against]
    return ratios(theirs, own, ROWS[goal.row].get("fewer", False))


def verdict(goal, value):
    short = value - goal.goal if goal.fewer else goal.goal - value
    if short <= 0:
        return "reached"
    beyond = value - goal.limit() if goal.fewer else goal.limit() - value
    missed = f"missed by {goal.form.format(short)} ({short / goal.goal:.0%})"
    return f"under the floor, {missed}" if beyond > 0 else missed


def goal_line(goal, values):
    bound = "at most" if goal.fewer else "at least"
    wish = f"{bound} {goal.form.format(goal.goal)}, floor {goal.form.format(goal.limit())}"
    if not values:
        return f"  {goal.row:20} {goal.what:43} {'not measured':>31}  {wish:33}"
    low, middle, high = (goal.form.format(v) for v in (min(values), statistics.median(values), max(values)))
    return f"  {goal.row:20} {goal.what:43} {f'{middle} ({low} to {high})':>31}  {wish:33} {verdict(goal, statistics.median(values))}"


def print_goals(lines):
    rows = {line["row"] for line in lines}
    wanted = [goal for goal in GOALS if goal.row in rows]
    if wanted:
        print("\ngoals (median of the rounds, from lowest to highest)")
    for goal in wanted:
        print(goal_line(goal, measured(goal, lines)).rstrip())
