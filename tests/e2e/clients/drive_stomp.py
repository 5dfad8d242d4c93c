"""stomp.py on a string: see ../stomp_drivers.py."""

import json
import logging
import sys
import threading

import stomp

CLASSES = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}
RETRY_S = 0.05
ports, version, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
beats = tuple(options.get("beats", (0, 0)))
lock = threading.Lock()
logging.disable(logging.CRITICAL)  # of what the tests kill on purpose


def say(what, **more):
    with lock:
        sys.stdout.write(f"{what} {json.dumps(more)}\n")
        sys.stdout.flush()


class Listener(stomp.ConnectionListener):
    """Of one connection."""

    def __init__(self, driver):
        self.driver, self.stood = driver, False

    def on_connected(self, frame):
        self.stood = True
        say("connected", headers=frame.headers)

    def on_message(self, frame):
        self.driver.messages.append(frame.headers)
        say("message", headers=frame.headers, hex=frame.body.hex())

    def on_receipt(self, frame):
        say("receipt", id=frame.headers["receipt-id"])

    def on_error(self, frame):
        say("error", message=frame.headers.get("message", ""), hex=frame.body.hex())

    def on_heartbeat(self):
        say("beat")

    def on_disconnected(self):
        if self.stood:
            say("left" if self.driver.leaving else "lost")
            self.driver.gone.set()


class Driver:
    def __init__(self):
        self.leaving, self.messages, self.connection = False, [], None
        self.gone = threading.Event()

    def connect(self):
        """To where the gateway listens now."""
        with open(ports) as f:
            door = ("127.0.0.1", json.load(f)["stomp"])
        more = {} if version == "1.0" else {"heartbeats": beats}
        self.connection = CLASSES[version]([door], auto_decode=False, reconnect_attempts_max=1, **more)
        self.connection.set_listener("", Listener(self))
        self.gone.clear()
        self.connection.connect(wait=True, headers=dict(options.get("headers", {})))

    def come_back(self):
        """Whenever the connection is lost."""
        pause = threading.Event()
        while self.gone.wait() and not self.leaving:
            try:
                self.connect()
            except (stomp.exception.StompException, OSError):
                self.gone.set()
                pause.wait(RETRY_S)

    def do_send(self, to, hex, headers):
        self.connection.send(to, bytes.fromhex(hex), headers=headers)

    def do_subscribe(self, to, id, ack, headers):
        self.connection.subscribe(to, id, ack, headers=headers)

    def do_unsubscribe(self, id, to, headers):
        self.connection.unsubscribe(**({"destination": to} if id is None else {"id": id}), headers=headers)

    def _answer(self, verb, n, transaction=None, receipt=None, **headers):
        m = self.messages[n]
        names = {"1.0": ["message-id"], "1.1": ["message-id", "subscription"], "1.2": ["ack"]}[version]
        verb(*[m[name] for name in names], transaction=transaction, receipt=receipt, **headers)

    def do_ack(self, n, headers):
        self._answer(self.connection.ack, n, **headers)

    def do_nack(self, n, headers):
        self._answer(self.connection.nack, n, **headers)

    def do_begin(self, transaction, headers):
        self.connection.begin(transaction, headers=headers)

    def do_commit(self, transaction, headers):
        self.connection.commit(transaction, headers=headers)

    def do_abort(self, transaction, headers):
        self.connection.abort(transaction, headers=headers)

    def do_expect(self, id):
        pass  # it gives all messages to its listener

    def do_disconnect(self):
        self.leaving = True
        self.connection.disconnect()


def main():
    driver = Driver()
    driver.connect()
    if options.get("reconnect"):
        threading.Thread(target=driver.come_back, daemon=True).start()
    for line in sys.stdin:
        what = json.loads(line)
        getattr(driver, "do_" + what.pop("do"))(**what)


main()
