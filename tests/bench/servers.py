"""The servers that are measured: how each starts, who consumes from it, and how it is spoken to.

A new one is a class here, its configuration in peers/, and its name in SERVERS.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import probe

PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Server:
    name = ""
    packages = ()
    program = ""            # must exist
    protocol = "mqtt"       # of the producer
    against = "sluice"      # whom the table compares it with
    fails = False           # a consumer can send a message back
    topic = "telemetry/load"
    ports = ("MQTT",)
    stagger = 0             # seconds between the starts of consumers

    def __init__(self, tools, folder, row):
        self.tools, self.row = tools, row
        self.folder = pathlib.Path(folder)
        self.port = {name: probe.free_port() for name in self.ports}
        self.ledger = tools.ledger
        self.process = None
        self.others = []
        self.consumers = []

    # what differs

    def command(self):
        raise NotImplementedError

    def consumer(self, number):
        return self.subscriber("mqtt", self.port["MQTT"], "--group", "g")

    def producer(self):
        return [self.tools.sluice, "bench", "--protocol", self.protocol, "--connect", str(self.port["MQTT"]),
                "--topic", self.topic]

    def fanout(self):
        return [self.tools.sluice, "bench", "fanout", "--connect", str(self.port["MQTT"]), "--topic", "fanout/load"]

    # what is the same

    def subscriber(self, protocol, port, *more):
        return [self.tools.sluice, "bench", "subscriber", "--protocol", protocol, "--connect", str(port),
                "--topic", self.topic, *more, *self.witness()]

    def witness(self):
        return ["--ledger", self.ledger, *self.row.get("consumer", [])]

    def conf(self, name, **more):
        text = (PEERS / name).read_text()
        for key, value in {"DIR": self.folder, **self.port, **more}.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def spawn(self, command, **more):
        log = open(self.folder / f"{pathlib.Path(command[0]).name}.log", "ab")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **more)

    def start(self):
        self.process = self.spawn(self.command())
        probe.wait_for_port(self.listens(), self.process)
        self.start_consumers()

    def listens(self):
        return self.port[self.ports[0]]

    def start_consumers(self):
        if not self.row.get("consumers", True):
            return
        for number in range(self.row.get("workers", 2)):
            self.consumers.append(self.spawn(self.consumer(number)))
            time.sleep(self.stagger)
        time.sleep(1)
        for c in self.consumers:
            if c.poll() is not None:
                raise RuntimeError(f"a consumer of {self.name} ended at once")

    def consumer_pids(self):
        return [c.pid for c in self.consumers]

    def server_pids(self):
        return [self.process.pid] + probe.children(self.process.pid)

    def never_written(self):
        return None

    def stop(self):
        self.pause(False)
        for process in [*self.consumers, *([self.process] if self.process else []), *self.others]:
            end(process)

    def pause(self, paused):
        for pid in self.consumer_pids():
            try:
                os.kill(pid, signal.SIGSTOP if paused else signal.SIGCONT)
            except ProcessLookupError:
                pass


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Sluice(Server):
    name = "sluice"
    fails = True
    ports = ("MQTT", "STOMP")

    def pools(self):
        """Workers that need next to nothing for a message hold more than the default of 64. Those that are stopped on
        purpose are not to be killed for it."""
        worker = [self.tools.sluice, "bench", "worker", *self.witness()]
        return {"bench": {"queue": "telemetry", "command": worker, "workers": self.row.get("workers", 2), "prefetch": 1024,
                          "time_limit": "1h"}}

    def command(self):
        conf = self.conf("sluice.json", POOLS=json.dumps(self.pools()))
        return [self.tools.sluice, "run", "-c", conf]

    def start_consumers(self):
        end_at = time.monotonic() + 10
        while len(self.consumer_pids()) < self.row.get("workers", 2) and time.monotonic() < end_at:
            time.sleep(0.1)

    def consumer_pids(self):
        if self.process is None:
            return []
        return [p for p in probe.children(self.process.pid) if probe.command_line(p)[1:3] == ["bench", "worker"]]

    def server_pids(self):
        workers = self.consumer_pids()
        return [p for p in super().server_pids() if p not in workers]

    def never_written(self):
        """Share of the accepted messages that the store never saw."""
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        found = re.findall(r"summary_queue .*?accepted=(\d+).*?never_written=(\d+)", (self.folder / "sluice.log").read_text())
        accepted, never = map(int, found[-1]) if found else (0, 0)
        return never / accepted if accepted else None


class SluiceStomp(Sluice):
    name = "sluice-stomp"
    against = "sluice-stomp"
    protocol = "stomp"

    def by_stomp(self):
        return self.row.get("consumers") == "stomp"

    def pools(self):
        return {} if self.by_stomp() or not self.row.get("consumers", True) else super().pools()

    def start_consumers(self):
        if self.by_stomp():
            Server.start_consumers(self)
        elif self.row.get("consumers", True):
            super().start_consumers()

    def consumer_pids(self):
        return Server.consumer_pids(self) if self.by_stomp() else super().consumer_pids()

    def consumer(self, number):
        own = self.subscriber("stomp", self.port["STOMP"])
        own[own.index("--topic") + 1] = "/queue/telemetry"
        return own

    def producer(self):
        topic = "/queue/telemetry" if self.by_stomp() else self.topic
        return [self.tools.sluice, "bench", "--protocol", "stomp", "--connect", str(self.port["STOMP"]), "--topic", topic]

    def fanout(self):
        return stomp_fanout(self)


class Mosquitto(Server):
    name = "mosquitto"
    packages = ("mosquitto",)
    program = "/usr/sbin/mosquitto"

    def command(self):
        os.chmod(self.folder, 0o777)  # as root it becomes its own user
        return [self.program, "-c", self.conf(self.name + ".conf")]


class MosquittoMemory(Mosquitto):
    name = "mosquitto-memory"


def stomp_fanout(server, *more):
    return [server.tools.sluice, "bench", "fanout", "--connect", str(server.port["STOMP"]), "--topic", "/topic/fanout.load", *more]


class Rabbit(Server):
    name = "rabbitmq-mqtt"
    packages = ("rabbitmq-server", "librabbitmq-dev")
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    fails = True
    queue = "quorum"
    ports = ("MQTT", "STOMP", "AMQP", "DIST", "EPMD")

    def command(self):
        return [self.program]

    def start(self):
        (self.folder / "plugins").write_text("[rabbitmq_mqtt,rabbitmq_stomp].\n")
        env = {
            **os.environ, "HOME": str(self.folder), "ERL_EPMD_PORT": str(self.port["EPMD"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": f"bench{os.getpid()}@localhost",
            "RABBITMQ_CONFIG_FILE": self.conf("rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(self.port["DIST"]), "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        # Its name server is ours too: left to itself it would go on running as a daemon.
        self.others.append(self.spawn(["epmd", "-port", str(self.port["EPMD"]), "-address", "127.0.0.1"]))
        self.process = self.spawn(self.command(), env=env)
        for port in ("AMQP", "MQTT", "STOMP"):
            probe.wait_for_port(self.port[port], self.process)
        self.start_consumers()

    def consumer(self, number):
        return [self.tools.peers, "amqp", "--port", str(self.port["AMQP"]), "--queue", "telemetry",
                "--declare", self.queue, "--bind", "telemetry.#", *self.witness()]


class RabbitStomp(Rabbit):
    name = "rabbitmq-stomp"
    against = "sluice-stomp"
    protocol = "stomp"
    stagger = 0.5           # two at once that both make the queue: one may be refused

    guest = ("--user", "guest", "--password", "guest")

    def consumer(self, number):
        if self.row.get("consumers") != "stomp":
            return super().consumer(number)
        own = self.subscriber("stomp", self.port["STOMP"], *self.guest, "--header", f"x-queue-type:{self.queue}")
        own[own.index("--topic") + 1] = "/queue/telemetry"
        return own

    def producer(self):
        return [self.tools.sluice, "bench", "--protocol", "stomp", "--connect", str(self.port["STOMP"]), *self.guest,
                "--topic", "/amq/queue/telemetry"]

    def fanout(self):
        return stomp_fanout(self, *self.guest)


class Nats(Server):
    name = "nats-mqtt"
    packages = ("nats-server",)
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    ports = ("MQTT", "CLIENT")

    def command(self):
        return [self.program, "-c", self.conf("nats.conf")]

    def consumer(self, number):
        own = self.subscriber("mqtt", self.port["MQTT"])
        own[own.index("--topic") + 1] = f"{self.topic}/{number}"
        return own

    def producer(self):
        return super().producer() + ["--topics", str(self.row.get("workers", 2))]


class Redis(Server):
    name = "redis"
    packages = ("redis-server",)
    program = "/usr/bin/redis-server"
    protocol = "redis"
    ports = ("REDIS",)

    def command(self):
        return [self.program, self.conf("redis.conf")]

    def consumer(self, number):
        return [self.tools.peers, "subscriber", "--protocol", self.protocol, "--connect", str(self.listens()),
                "--topic", self.topic, *self.witness()]

    def producer(self):
        return [self.tools.peers, "--protocol", self.protocol, "--connect", str(self.listens()), "--topic", self.topic]


class Beanstalkd(Redis):
    name = "beanstalkd"
    packages = ("beanstalkd",)
    program = "/usr/bin/beanstalkd"
    protocol = "beanstalkd"
    fails = True
    ports = ("BEANSTALKD",)

    def command(self):
        lines = pathlib.Path(self.conf("beanstalkd.conf")).read_text().splitlines()
        return [self.program, *(word for line in lines if line.startswith("-") for word in line.split())]


SERVERS = (Sluice, Mosquitto, MosquittoMemory, Rabbit, SluiceStomp, RabbitStomp, Nats, Redis, Beanstalkd)
