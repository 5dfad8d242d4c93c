"""Write a worker for a sluice pool of mode "socket", or of a pool's `worker_socket`.

    from sluice_worker import worker

    @worker.handler
    def handle(message):
        print(message.topic, message.json())

    worker.run()

What the handler returns is the result (None: no result) and the message is acked; an
exception is a failed attempt. `raise Retry(delay=5)`, `raise Release()` and
`raise Dead("why")` say more. Or as a loop, answering yourself:

    for message in worker.messages():
        message.ack()

README.md beside this package tells the rest, aio.py has the same verbs for asyncio.
"""

from .errors import (AlreadyAnswered, Dead, GatewayGone, NoGateway, ProtocolError, PublishRefused, Refused,
                     Release, Retry, SoftTimeLimit, WorkerError)
from .message import Batch, Message, Publish
from .plain import Worker

__all__ = ["AlreadyAnswered", "Batch", "Dead", "GatewayGone", "Message", "NoGateway", "ProtocolError",
           "Publish", "PublishRefused", "Refused", "Release", "Retry", "SoftTimeLimit", "Worker",
           "WorkerError", "worker"]

__version__ = "0.1.0"

worker = Worker()
