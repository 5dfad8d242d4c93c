"""One measurement: a fresh server, the row's load, the findings as a dictionary (a raw line)."""

import json
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import probe
from rows import ROWS

PATIENCE = 300          # seconds for one measurement
STEADY = 2.5            # a disk whose sync time changed by more became another disk meanwhile
AGAIN = 2               # so often a measurement is repeated for that
LOG_TAIL = 3            # lines of each log in a trouble line


class Tools:
    def __init__(self, build, ledger):
        self.sluice = str(build / "sluice")
        self.peers = str(build / "bench_peers")
        self.ledger = ledger


def amount(row, options):
    if "messages" in row:
        return ["--messages", str(max(1, int(row["messages"] * options.scale))), "--warmup", "0"]
    return ["--seconds", str(options.seconds), "--warmup", str(min(1, options.seconds / 2))]


def run_producer(command, patience=PATIENCE, at_settling=None):
    """The findings. `at_settling` is called once when all has been answered and the consumers are awaited."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(patience, process.kill)
    watchdog.start()
    said = []
    for line in process.stderr:
        said.append(line)
        if at_settling and " settling " in line:
            at_settling()
            at_settling = None
    out = process.stdout.read()
    process.wait()
    watchdog.cancel()
    if not out.strip():
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {''.join(said[-3:])}")
    return json.loads(out)


class Meter:
    """What a server's processes have used since it was made."""

    def __init__(self, server):
        self.pids = server.server_pids()
        self.cpu, self.disk = probe.cpu_us(self.pids), probe.written_bytes(self.pids)

    def used(self):
        return {"cpu_us": probe.cpu_us(self.pids) - self.cpu, "disk_bytes": probe.written_bytes(self.pids) - self.disk,
                "anonymous": probe.anonymous_bytes(self.pids)}


def per_message(used, messages):
    return {"cpu_us": used["cpu_us"] / messages, "disk_bytes": used["disk_bytes"] / messages}


def paused_extra(stored, whole, messages, worked_per_second):
    """What a row with a backlog tells beside its value."""
    return {
        "drained/s": worked_per_second, "CPU us until let go": stored["cpu_us"] / messages,
        "disk B until let go": stored["disk_bytes"] / messages, "CPU us in all": whole["cpu_us"] / messages,
        "disk B in all": whole["disk_bytes"] / messages,
        "anonymous MB when let go": stored["anonymous"] / 1e6, "MB after": whole["anonymous"] / 1e6,
    }


def measure_load(server, row, options):
    command = server.producer() + row["producer"] + amount(row, options)
    command += ["--ledger", server.ledger, "--settle", "30", "--json"]
    paused, meter, stored = row.get("paused", False), Meter(server), []

    def let_go():
        stored.append(meter.used())
        server.pause(False)

    server.pause(paused)
    found = run_producer(command, row.get("patience", PATIENCE), let_go if paused else None)
    whole, consumers = meter.used(), found["consumers"]
    messages, worked_s = max(1, found["answered_in_all"]), consumers["worked_seconds"]
    worked = consumers["received"] - consumers["repeated"] - consumers["failed"]
    worked_per_second = worked / worked_s if worked_s > 0 else 0
    by_work = row["unit"] == "worked/s"
    result = {
        "value": worked_per_second if by_work else found["per_second"],
        **per_message(stored[0] if stored and not by_work else whole, messages),
        "p50_ms": found["latency_us"]["p50"] / 1e3, "p99_ms": found["latency_us"]["p99"] / 1e3,
        "worked_p50_ms": consumers["latency_us"]["p50"] / 1e3, "worked_p99_ms": consumers["latency_us"]["p99"] / 1e3,
        "lost": consumers["lost"], "repeated": consumers["repeated"], "never_written": server.never_written(),
        "findings": found,
    }
    if result["cpu_us"] > 0:
        result["generator_share"] = found["generator_us_per_message"] / result["cpu_us"]
    if stored:
        result["extra"] = paused_extra(stored[0], whole, messages, worked_per_second)
    return result


def measure_fanout(server, row, options):
    command = server.fanout() + row["arguments"] + ["--seconds", str(options.seconds), "--warmup", str(min(1, options.seconds / 2)), "--json"]
    meter = Meter(server)
    found = run_producer(command)
    result = {
        "value": found["deliveries_per_second"], **per_message(meter.used(), max(1, found["deliveries_in_all"])),
        "p50_ms": found["latency_us"]["p50"] / 1e3, "p99_ms": found["latency_us"]["p99"] / 1e3,
        "lost": found["lost"], "repeated": found["repeated"], "findings": found,
    }
    if result["cpu_us"] > 0:
        result["generator_share"] = found["generator_us_per_delivery"] / result["cpu_us"]
    return result


def connections_command(server, row, options, seconds):
    count = max(1, int(row["connections"] * options.scale))
    command = server.producer() + ["--connections", str(count), "--idle", str(seconds), "--json"]
    if row.get("subscribed"):
        command.append("--subscribed")
    return count, command


def measure_idle(server, row, options):
    """Anonymous memory of the server's processes, before and with idle connections."""
    pids = server.server_pids()
    before = probe.anonymous_bytes(pids)
    count, command = connections_command(server, row, options, 60)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if " connected in " in line:
            break
    time.sleep(1)
    grown = probe.anonymous_bytes(pids) - before
    process.send_signal(signal.SIGTERM)
    found = json.loads(process.communicate()[0])
    return {"value": grown / count, "findings": found, "failed": count - found["connected"]}


def measure_empty(server, row, options):
    """Anonymous memory of the server's processes that serve nobody."""
    time.sleep(1)
    return {"value": probe.anonymous_bytes(server.server_pids()) / 1e6}


def measure_accept(server, row, options):
    count, command = connections_command(server, row, options, 0.1)
    meter = Meter(server)
    found = run_producer(command)
    return {"value": found["connected"] / max(found["connect_seconds"], 1e-6), "failed": count - found["connected"],
            "cpu_us": meter.used()["cpu_us"] / count, "findings": found}


MEASURES = {"load": measure_load, "fanout": measure_fanout, "idle": measure_idle, "empty": measure_empty, "accept": measure_accept}


# ---- what went wrong ----

def last_words(folder):
    """The end of each log in the server's folder, which goes away with it."""
    words = []
    for path in sorted(pathlib.Path(folder).rglob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL:]
        words += [f"{path.name}: {line}" for line in lines]
    return words


def ended(server):
    """A process that should be running and is not; None: all run."""
    for what, process in [("the server", server.process), *(("a consumer", c) for c in server.consumers)]:
        if process is not None and process.poll() is not None:
            return f"{what} ended with {process.returncode}"
    return None


def run_row(server, row, options):
    try:
        server.start()
        result = MEASURES[row["kind"]](server, row, options)
        gone = ended(server)
        return result if gone is None else {"trouble": gone, "log": last_words(server.folder), "instead": result}
    except (RuntimeError, OSError, ValueError, KeyError) as trouble:
        told = f"{type(trouble).__name__}: {trouble}" if isinstance(trouble, KeyError) else str(trouble)
        gone = ended(server)
        return {"trouble": told if gone is None else f"{told}; {gone}", "log": last_words(server.folder)}


def measure(kind, name, options, tools):
    row = ROWS[name]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        sync_before = probe.sync_us(folder)
        server = kind(tools, folder, row)
        try:
            result = run_row(server, row, options)
        finally:
            server.stop()
            pathlib.Path(tools.ledger).unlink(missing_ok=True)
        return {"row": name, "server": kind.name, **result, "sync_us": [sync_before, probe.sync_us(folder)]}


def straddles(line):
    """Whether the disk became another one in the middle; connections and memory have nothing to do with it."""
    low, high = sorted(line["sync_us"])
    return ROWS[line["row"]]["kind"] == "load" and "trouble" not in line and high > STEADY * low


def measure_steadily(once):
    """Calls `once` again, at most twice, while the disk's speed changed under it. All lines; the last one counts."""
    lines = [once()]
    while straddles(lines[-1]) and len(lines) <= AGAIN:
        lines[-1]["discarded"] = "the disk's speed changed meanwhile"
        lines.append(once())
    if straddles(lines[-1]):
        lines[-1]["unsteady"] = True
    return lines
