"""Where the gateway is, and the socket to it."""

import os
import random
import socket

from .errors import NoGateway

_BACKOFF_FIRST, _BACKOFF_MOST = 0.1, 5.0


class Place:
    """The gateway's descriptor (its own process), or the path of a `worker_socket` (anybody's)."""

    def __init__(self, fd=None, worker_socket=None, token=None):
        self.fd, self.path = fd, worker_socket
        self.token = token
        if fd is None and worker_socket is None:
            self._by_environment()
        if self.token is None and self.path is not None:
            self.token = os.environ.get("SLUICE_TOKEN")

    def _by_environment(self):
        self.fd, self.path = os.environ.get("SLUICE_FD"), os.environ.get("SLUICE_SOCKET")
        if self.fd is not None:
            self.path = None
        elif self.path is None:
            raise NoGateway('SLUICE_FD is not set: let a sluice pool with mode "socket" start me, '
                            "or name its worker_socket in SLUICE_SOCKET")

    @property
    def external(self):
        """Not the gateway's own process: it may come back after the connection was lost."""
        return self.path is not None

    def open(self):
        return self._connected() if self.external else self._inherited()

    def _inherited(self):
        try:
            opened = socket.socket(fileno=int(self.fd))
        except (ValueError, OSError):
            raise NoGateway(f"SLUICE_FD={self.fd} is not an open socket") from None
        opened.set_inheritable(False)
        return opened

    def _connected(self):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.connect(self.path)
        except OSError as error:
            opened.close()
            raise type(error)(error.errno, error.strerror, self.path) from None
        return opened


class Backoff:
    """Waits of 0.1 s doubling to 5 s, each shortened by up to a half, so that workers whose gateway
    was restarted do not come back all at once."""

    def __init__(self, dice=random.random):
        self._dice, self._next = dice, _BACKOFF_FIRST

    def wait(self):
        wait, self._next = self._next, min(self._next * 2, _BACKOFF_MOST)
        return wait * (1 - self._dice() / 2)

    def reset(self):
        self._next = _BACKOFF_FIRST
