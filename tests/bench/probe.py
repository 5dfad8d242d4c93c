"""What the system knows about processes and the disk."""

import os
import socket
import statistics
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def children(pid):
    """All descendants that live now."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in map(int, f.read().split()):
                    found += [child] + children(child)
    except OSError:
        pass
    return found


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().decode(errors="replace").split("\0")
    except OSError:
        return []


def cpu_us(pids):
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def written_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/io") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("write_bytes"))
        except OSError:
            pass
    return total


def anonymous_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon"))
        except OSError:
            pass
    return total


def sync_us(folder, times=200):
    """Median time of writing 4 KiB and fdatasync, in a file that was laid out before."""
    path = os.path.join(folder, "sync.probe")
    block = b"x" * 4096
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, block * times)
        os.fsync(fd)
        took = []
        for i in range(times):
            begin = time.monotonic()
            os.pwrite(fd, block, i * 4096)
            os.fdatasync(fd)
            took.append((time.monotonic() - begin) * 1e6)
        return statistics.median(took)
    finally:
        os.close(fd)
        os.unlink(path)
