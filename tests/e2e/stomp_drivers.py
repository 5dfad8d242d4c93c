"""The STOMP clients that people use, all moved by the same few verbs: each has a small driver in
clients/, which is told what to do on stdin and says what happens on stdout, a line each.

    argv    PORTS_FILE VERSION OPTIONS      OPTIONS  {"beats": [sends, wants], "headers": {…}, "reconnect": true}
    stdin   {"do": VERB, …}                 VERB     send, subscribe, unsubscribe, ack, nack, begin, commit, abort,
                                                     expect, disconnect
    stdout  WHAT {…}                        WHAT     connected, receipt, message, error, beat, lost, left

Headers of frames are given in "headers", the receipt that is wanted and the transaction among them.
ack and nack name a message by its place among those that came. `expect` announces a subscription
that the gateway makes. `left` is a good-bye that was answered, `lost` any other end."""

import collections
import itertools
import json
import os
import pathlib
import subprocess

import drivers
import harness
import stomp_raw

FENCE = "/topic/e2e/fence"
Got = collections.namedtuple("Got", "headers body")


class Peer:
    """A connected client. What it does is done when the verb returns, unless `wait` is false."""

    receipts = ()  # verbs whose frames this client can ask a receipt for; after others comes a fence

    def __init__(self, test, gateway, version, **options):
        self.version, self._numbers = version, itertools.count(1)
        self.process = test.child(subprocess.Popen(
            [str(w) for w in (*self.program(), gateway.ports_file, version, json.dumps(options))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, **self.environment())))
        test.addCleanup(self.process.stdin.close)
        self.lines = drivers.Lines(self.process)
        self.connected = self.told("connected")["headers"]

    def environment(self):
        return {}

    # -- what it says

    def told(self, what, at=0, seconds=None):
        """The n-th of that kind, from 0."""
        return json.loads(self.lines.wait(what + " ", at, seconds))

    def all(self, what):
        return [json.loads(line) for line in self.lines.all(what + " ")]

    def error(self):
        """The first ERROR: its message and its body."""
        told = self.told("error")
        return told["message"], bytes.fromhex(told["hex"]).decode()

    def messages(self, n=0):
        """All that came, at least n."""
        if n:
            self.told("message", n - 1)
        return [Got(m["headers"], bytes.fromhex(m["hex"])) for m in self.all("message")]

    def bodies(self, n=0):
        return [m.body for m in self.messages(n)]

    def receipt(self, name):
        harness.wait_for(lambda: {"id": name} in self.all("receipt") or self.ended(), f"receipt {name}")
        if {"id": name} not in self.all("receipt"):
            raise AssertionError(f"no receipt {name}: {self.lines.all('')[-3:]}")

    def ended(self):
        return self.process.poll() is not None or len(self.all("lost")) >= len(self.all("connected"))

    # -- what it does

    def say(self, verb, **more):
        self.process.stdin.write((json.dumps({"do": verb, **more}) + "\n").encode())
        self.process.stdin.flush()

    def do(self, verb, wait=True, headers=None, **more):
        asks = wait and verb in self.receipts
        name = f"r{next(self._numbers)}"
        self.say(verb, headers={**(headers or {}), **({"receipt": name} if asks else {})}, **more)
        if asks:
            self.receipt(name)
        elif wait:
            self.fence()

    def fence(self):
        """What was sent before is processed now."""
        self.do("send", to=FENCE, hex="")

    def send(self, to, body, wait=True, **headers):
        self.do("send", wait, to=to, hex=body.hex(), headers=dict(stomp_raw.pairs(headers)))

    def subscribe(self, to, ack="auto", id="s1", wait=True, **headers):
        self.do("subscribe", wait, to=to, id=id, ack=ack, headers=dict(stomp_raw.pairs(headers)))

    def unsubscribe(self, id="s1", to=None):
        self.do("unsubscribe", id=id, to=to)

    def ack(self, n, wait=True, **headers):
        self.do("ack", wait, n=n, headers=headers)

    def nack(self, n, wait=True, **headers):
        self.do("nack", wait, n=n, headers=headers)

    def begin(self, transaction):
        self.do("begin", transaction=transaction)

    def commit(self, transaction, wait=True):
        self.do("commit", wait, transaction=transaction)

    def abort(self, transaction):
        self.do("abort", transaction=transaction)

    def expect(self, id):
        self.say("expect", id=id)

    def disconnect(self):
        self.say("disconnect")
        self.told("left")
        self.process.stdin.close()
        if self.process.wait(harness.PATIENCE) != 0:
            raise AssertionError(f"{self.process.args} ended with {self.process.returncode}")

    def kill(self):
        self.process.kill()
        self.process.wait()


class StompPy(Peer):
    receipts = ("send", "subscribe", "unsubscribe", "ack", "nack", "begin", "commit", "abort")

    def program(self):
        return [harness.PYTHON, "-B", drivers.CLIENTS / "drive_stomp.py"]


class FromNpm(Peer):
    @staticmethod
    def installed():
        return drivers.npm_modules("stomp_npm")

    def environment(self):
        return {"NODE_PATH": str(self.installed())}


class Stompit(FromNpm):
    receipts = ("send", "ack", "nack", "commit", "abort")

    def program(self):
        return ["node", drivers.CLIENTS / "drive_stompit.js"]


class StompJs(FromNpm):
    receipts = ("send", "subscribe", "unsubscribe", "ack", "nack")

    def program(self):
        return ["node", drivers.CLIENTS / "drive_stompjs.js"]
