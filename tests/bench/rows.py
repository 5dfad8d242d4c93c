"""What is measured: one row each. README.md tells what a row is for.

A row of kind "fanout" has publishers and subscribers of one topic in one process (arguments of `sluice bench fanout`).
A row of kind "load" has a producer (arguments of `sluice bench`) and consumers; `paused` says that they stand still
(SIGSTOP) until all has been answered. `unit` names the value; `fewer`: less is better. `needs`: what a server must be
able to do. `alone`: measured with these servers unless others are asked for. `long`: only when asked for by name.
"""

CORE = ("--connections", "50", "--window", "20")


STOMP_TOPIC = ("--protocol", "stomp", "--publishers", "10", "--subscribers", "10")
SHARED = ("--publishers", "1000", "--subscribers", "5", "--group", "g", "--window", "4")


def fanout(*arguments, needs="mqtt", alone=("sluice", "mosquitto")):
    return {"kind": "fanout", "arguments": list(arguments), "consumers": False, "needs": needs, "unit": "deliveries/s",
            **({"alone": alone} if alone else {})}


def stomp_queue(*consumer, **more):
    """SEND to a durable queue, which STOMP clients empty. With 1,024 at a time none waits for its next message."""
    return load(*more.pop("producer", CORE), consumer=["--prefetch", "1024", *consumer], consumers="stomp", needs="stomp", **more)


def load(*producer, unit="messages/s", **more):
    return {"kind": "load", "producer": list(producer), "unit": unit, **more}


ROWS = {
    "core": load(*CORE),
    "16KiB": load(*CORE, "--payload", "16KiB"),
    "500": load("--connections", "500", "--window", "20"),
    "1x20": load("--connections", "1", "--window", "20"),
    "50x1": load("--connections", "50", "--window", "1"),
    "1x1": load("--connections", "1", "--window", "1"),
    "open50k": load("--connections", "50", "--rate", "50000"),
    "open200k": load("--connections", "50", "--rate", "200000"),
    # The core row without a worker that runs: all of it has to be written.
    "stopped": load(*CORE, paused=True),
    # 20 workers x 1 ms cannot work more than about 17,000/s. A producer without a limit would only fill the queue,
    # and the disk figures would be the backlog's.
    "slow": load("--connections", "50", "--rate", "15000", consumer=["--work", "1ms"], workers=20, unit="worked/s"),
    "failing": load(*CORE, consumer=["--fail-percent", "10"], needs="fails", unit="worked/s"),
    "backlog": load(*CORE, paused=True, messages=200000, unit="worked/s"),
    "deep": load(*CORE, paused=True, messages=10000000, unit="worked/s", long=True, alone=("sluice",), patience=1200),
    # One publisher, 1,000 subscribers; 1,000 publishers, 5 who share; and a few of each for the latency of one delivery.
    "fanout": fanout(),
    "fanout-qos1": fanout("--qos", "1"),
    "fanout-mqtt5": fanout("--protocol", "mqtt5"),
    "shared": fanout(*SHARED),
    "shared-qos1": fanout(*SHARED, "--qos", "1"),
    "pairs": fanout("--publishers", "1", "--subscribers", "1", "--window", "1"),
    # STOMP alone: SEND with receipts while the consumers stand still, consuming, and topics.
    "stomp-send": stomp_queue(paused=True, producer=("--connections", "50", "--window", "200")),
    "stomp-send-20": stomp_queue(paused=True),
    "stomp-consume": stomp_queue(unit="worked/s"),
    "stomp-consume-client": stomp_queue("--ack", "client", unit="worked/s"),
    "stomp-topic": fanout(*STOMP_TOPIC, needs="stomp", alone=()),
    "stomp-topic-acked": fanout(*STOMP_TOPIC, "--qos", "1", needs="stomp", alone=()),
    "idle": {"kind": "idle", "connections": 5000, "needs": "mqtt", "unit": "bytes/connection", "fewer": True},
    "subscribed": {"kind": "idle", "connections": 15000, "subscribed": True, "needs": "mqtt", "unit": "bytes/connection",
                   "fewer": True, "alone": ("sluice", "mosquitto")},
    "empty": {"kind": "empty", "consumers": False, "unit": "MB", "fewer": True, "form": "{:,.2f}"},
    "accept": {"kind": "accept", "connections": 15000, "needs": "mqtt", "unit": "connections/s"},
}

BY_DEFAULT = [name for name, row in ROWS.items() if not row.get("long")]


def fits(kind, row, wanted):
    """Whether the row is measured with this server; `wanted`: the names that were asked for, empty: all."""
    if not wanted and kind.name not in row.get("alone", (kind.name,)):
        return False
    needs = row.get("needs")
    return needs is None or (kind.fails if needs == "fails" else kind.protocol == needs)
