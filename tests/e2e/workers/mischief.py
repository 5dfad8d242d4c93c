"""What recorder.py does with RECORD_WORSE (thousandths of deliveries) and with poison (each message
whose number RECORD_POISON divides, at every attempt): hanging, swelling, garbage, closing early,
answering twice, late, or for what it never had. Past the SDK, on its socket.

    X … how        is about to end, or lets the message go        F … how   has given an answer that must not count

RECORD_SWELL   MiB          RECORD_LATE   seconds until a hanging worker wakes up (0: never)
"""

import os
import signal
import struct
import time

SWELL = int(os.environ.get("RECORD_SWELL", "0"))
LATE = float(os.environ.get("RECORD_LATE", "0"))
ACK = 0x02
NEVER_GIVEN = 1000 << 20  # so many deliveries later in the same place


def _lie(message, data):
    """False when nobody listens any more."""
    try:
        message._session.flush()
        os.write(message._session._socket.fileno(), data)
        return True
    except Exception:  # the connection is over, in whichever way
        return False


def _ack(tag):
    return struct.pack("<IBQ", 9, ACK, tag)


def kill(note, message):
    note("X", message, "kill")
    os.kill(os.getpid(), signal.SIGKILL)


def leave(note, message):
    note("X", message, "exit")
    os._exit(3)


def hang(note, message):
    note("X", message, "hang")
    if LATE:
        message._session.flush()  # its own clock runs from now on
    time.sleep(LATE or 600)
    if _lie(message, _ack(message._tag)):
        note("F", message, "late")
    message._answered = True


def swell(note, message):
    memory = bytearray(b"x" * (SWELL << 20))
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        time.sleep(0.05)
        note("H", message, "-")
    del memory
    note("E", message, "ack")
    message.ack()


def garbage(note, message):
    note("X", message, "garbage")
    _lie(message, os.urandom(40))
    time.sleep(LATE or 600)
    message._answered = True


def half(note, message):
    note("X", message, "half")
    _lie(message, _ack(message._tag)[:7])
    os._exit(0)


def close(note, message):
    note("X", message, "close")
    message._session._socket.close()
    time.sleep(0.05)
    os._exit(0)


def twice(note, message):
    note("E", message, "ack")
    message.ack()
    if _lie(message, _ack(message._tag)):
        note("F", message, "twice")


def released(note, message):
    """And then acked, when another has it."""
    note("E", message, "release")
    message.release()
    message._session.flush()
    time.sleep(0.15)
    if _lie(message, _ack(message._tag)):
        note("F", message, "released")


def foreign(note, message):
    note("X", message, "foreign")
    _lie(message, _ack(message._tag + NEVER_GIVEN))
    time.sleep(LATE or 600)
    message._answered = True


POISON = [kill, leave, garbage, close]
WAYS = [hang, swell, garbage, half, close, twice, released, foreign, twice, released]
