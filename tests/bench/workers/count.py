#!/usr/bin/env python3
"""A worker that does nothing with its messages but count them: plain, batch, aio, pika or pika-multiple.

From the first message to the last of BENCH_MESSAGES it takes the time, and its own CPU time, and writes
both to BENCH_REPORT. A handler looks at the payload, as every handler would.
"""

import json
import os
import sys
import time

MESSAGES = int(os.environ["BENCH_MESSAGES"])
BATCH = 100
PREFETCH = 64


class Count:
    def __init__(self):
        self.left, self.bytes = MESSAGES, 0

    def see(self, payload):
        if self.left == MESSAGES:
            self.begun, self.cpu = time.monotonic(), time.process_time()
        self.bytes += len(payload)
        self.left -= 1
        if self.left == 0:
            self.report()

    def report(self):
        found = {"seconds": time.monotonic() - self.begun, "cpu_seconds": time.process_time() - self.cpu}
        scratch = os.environ["BENCH_REPORT"] + ".new"
        with open(scratch, "w") as out:
            json.dump(found, out)
        os.rename(scratch, os.environ["BENCH_REPORT"])


count = Count()


def plain():
    from sluice_worker import worker
    worker.run(lambda message: count.see(message.payload))


def batch():
    from sluice_worker import worker

    @worker.batch_handler(max=BATCH, wait=1.0)
    def handle(messages):
        for message in messages:
            count.see(message.payload)
    worker.run()


def aio():
    from sluice_worker.aio import worker

    @worker.handler
    async def handle(message):
        count.see(message.payload)
    worker.run()


def pika(multiple=False):
    """As Celery consumes: AMQP, manual acks, a prefetch; or one ack for each hundred."""
    import pika as amqp
    channel = amqp.BlockingConnection(amqp.ConnectionParameters(port=int(os.environ["BENCH_AMQP"]))).channel()
    channel.queue_declare("telemetry", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind("telemetry", "amq.topic", "telemetry.#")
    channel.basic_qos(prefetch_count=2 * BATCH if multiple else PREFETCH)

    def handle(channel, method, properties, body):
        count.see(body)
        if not multiple:
            channel.basic_ack(method.delivery_tag)
        elif method.delivery_tag % BATCH == 0 or count.left == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
    channel.basic_consume("telemetry", handle)
    channel.start_consuming()


if __name__ == "__main__":
    {"plain": plain, "batch": batch, "aio": aio, "pika": pika, "pika-multiple": lambda: pika(True)}[sys.argv[1]]()
