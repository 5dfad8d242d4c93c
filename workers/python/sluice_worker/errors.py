"""What can go wrong, and what a handler can say by raising.

    WorkerError               everything that the SDK itself has to say
      NoGateway               nothing tells where the gateway is
      GatewayGone             the connection has ended without DRAIN
      ProtocolError           the gateway sent what is no frame
      Refused                 the gateway said ERROR and closed
      AlreadyAnswered         a second answer for one message
      PublishRefused          one publish was not taken; everything else goes on
    Retry, Release, Dead      the handler's verdict
    SoftTimeLimit             raised in the handler when its soft time limit has passed
"""


class WorkerError(Exception):
    """Whatever the SDK itself has to say."""


class NoGateway(WorkerError):
    """Neither SLUICE_FD nor SLUICE_SOCKET nor an argument tells where the gateway is."""


class GatewayGone(WorkerError):
    """The gateway has gone without saying DRAIN."""


class ProtocolError(WorkerError):
    """The gateway sent what is no frame."""


class Refused(WorkerError):
    """The gateway said ERROR; the text is its own."""

    VERSION, FAULT, LIMIT, TIME, NOT_ALLOWED, STORE = range(1, 7)

    def __init__(self, code, text):
        super().__init__(f"the gateway refused this worker: {text}")
        self.code, self.text = code, text


class AlreadyAnswered(WorkerError):
    """This message has had its answer."""

    def __init__(self):
        super().__init__("this message has had its answer")


class PublishRefused(WorkerError):
    """The gateway did not take a publish."""

    REASONS = {1: "not a topic to publish to", 2: "a queue refused it", 3: "larger than max_message",
               4: "its message is no longer this worker's", 5: "the gateway cannot store at present"}

    def __init__(self, topic, code, detail=""):
        reason = self.REASONS.get(code, f"refused with code {code}")
        super().__init__(f"{topic}: {reason}" + (f" ({detail})" if detail else ""))
        self.topic, self.code, self.detail = topic, code, detail


class Retry(Exception):
    """A failed attempt: again after `delay` seconds, or after the queue's backoff."""

    def __init__(self, reason="", delay=None):
        super().__init__(reason)
        self.reason, self.delay = reason, delay


class Release(Exception):
    """Not my fault: to another worker, not counted."""


class Dead(Exception):
    """Poison: to the dead letters at once."""

    def __init__(self, reason=""):
        super().__init__(reason)
        self.reason = reason


class SoftTimeLimit(BaseException):
    """The soft time limit has passed: put things in order, the hard one is near. What is not
    caught is a failed attempt. As KeyboardInterrupt it is no Exception, so that an
    `except Exception` around a loop in the handler does not swallow it."""

    def __init__(self, reason="the soft time limit has passed"):
        super().__init__(reason)
        self.reason = reason
