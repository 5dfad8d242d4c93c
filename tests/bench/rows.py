"""What is measured: one row each. README.md tells what a row is for.

A row of kind "load" has a producer (arguments of `sluice bench`) and consumers; `paused` says that they stand still
(SIGSTOP) until all has been answered. `unit` names the value; `fewer`: less is better. `needs`: what a server must be
able to do. `alone`: measured with these servers unless others are asked for. `long`: only when asked for by name.
"""

CORE = ("--connections", "50", "--window", "20")


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
    "idle": {"kind": "idle", "connections": 5000, "needs": "mqtt", "unit": "bytes/connection", "fewer": True},
    "empty": {"kind": "empty", "consumers": False, "unit": "MB", "fewer": True, "form": "{:,.2f}"},
    "accept": {"kind": "accept", "connections": 15000, "needs": "mqtt", "unit": "connections/s"},
}

BY_DEFAULT = [name for name, row in ROWS.items() if not row.get("long")]


def fits(kind, row, wanted):
    """Whether the row is measured with this server; `wanted`: the names that were asked for, empty: all."""
    if not wanted and kind.name not in row.get("alone", (kind.name,)):
        return False
    needs = row.get("needs")
    return needs is None or (kind.fails if needs == "fails" else kind.protocol == "mqtt")
