"""libsluice-worker as others get it: installed under a prefix, found by CMake and by pkg-config; the example
of each README is built as it stands there and does what it says.

    test_install.py BUILD_DIR SOURCE_DIR C_FLAGS"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import unittest

BUILD, SOURCE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
FLAGS = sys.argv[3].split()
FRAMES = {}
for line in (SOURCE / "tests/workers/frames.txt").read_text(encoding="utf-8").splitlines():
    if not line.startswith("#"):
        name, _, hexed, _ = line.split(" | ", 3)
        FRAMES[name] = bytes.fromhex(hexed)


def do(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory()
        cls.prefix = pathlib.Path(cls.work.name) / "prefix"
        do("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "sluice-worker")
        cls.libdir = next(cls.prefix.rglob("libsluice-worker.a")).parent

    @classmethod
    def tearDownClass(cls):
        cls.work.cleanup()

    def serve(self, program, *arguments, expect):
        """Plays the gateway for one message; returns the program's output."""
        ours, theirs = socket.socketpair()
        env = {**os.environ, "SLUICE_FD": str(theirs.fileno()), "LD_LIBRARY_PATH": str(self.libdir)}
        ours.sendall(FRAMES["welcome"] + FRAMES["deliver-full"] + FRAMES["drain"])
        done = subprocess.run([program, *arguments], env=env, pass_fds=[theirs.fileno()], capture_output=True,
                              timeout=30, check=False)
        theirs.close()
        said = b""
        while got := ours.recv(1 << 16):
            said += got
        ours.close()
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(said.endswith(expect + FRAMES["bye"]), said)
        return done.stdout

    def test_nothing_but_the_public_names_is_exported(self):
        listed = do("nm", "-D", "--defined-only", self.libdir / "libsluice-worker.so")
        names = {line.split()[-1] for line in listed.splitlines()}
        self.assertEqual({n for n in names if not n.startswith(("sluice_worker_", "_", "asan", "ubsan"))}, set())
        self.assertIn("sluice_worker_next_batch", names)

    def test_an_out_of_tree_project_finds_the_package(self):
        build = pathlib.Path(self.work.name) / "examples"
        do("cmake", "-S", SOURCE / "workers/c/examples", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
           f"-DCMAKE_C_FLAGS={' '.join(FLAGS)}")
        do("cmake", "--build", build)
        table = pathlib.Path(self.work.name) / "telemetry.tsv"
        acks = FRAMES["acks-one"][:5] + bytes([8]) + bytes(7)
        self.serve(build / "bulk_write", str(table), expect=acks)
        self.assertEqual(table.read_text(encoding="utf-8"), '1700000000123\tsite/1/t\t{"t":21.5}\n')
        out = self.serve(build / "telemetry_stats", expect=FRAMES["ack"][:5] + bytes([8]) + bytes(7))
        self.assertIn(b"mean=21.5", out)

    def test_the_readmes_examples_work_when_pasted(self):
        env = {**os.environ, "PKG_CONFIG_PATH": str(self.libdir / "pkgconfig")}
        flags = do("pkg-config", "--cflags", "--libs", "sluice-worker", env=env).split()
        for readme, says in (("workers/c/README.md", b""), ("workers/README.md", b""), ("README.md", b"hello, ")):
            text = (SOURCE / readme).read_text(encoding="utf-8")
            source = pathlib.Path(self.work.name) / "worker.c"
            source.write_text(re.search(r"```c\n(.*?)```", text, re.DOTALL).group(1), encoding="utf-8")
            program = source.with_suffix("")
            do("cc", "-Wall", "-Wextra", "-Werror", *FLAGS, source, "-o", program, *flags)
            out = self.serve(program, expect=FRAMES["ack"][:5] + bytes([8]) + bytes(7))
            self.assertEqual(out.strip(), says + b'{"t":21.5}')


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
