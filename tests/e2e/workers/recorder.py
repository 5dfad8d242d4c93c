"""A worker that writes down what it does, each line with one write to an O_APPEND file, and
misbehaves as it is told. Lines: what, CLOCK_MONOTONIC in ns, who, message id, attempt, word.

    S … uid        has begun                     H …          still holds it
    E … verdict    is about to answer            X … how      is about to die

RECORD_FILE   where        RECORD_SEED   of its dice       RECORD_CHAOS   thousandths of misbehaviour
RECORD_WORK   microseconds of work per message            RECORD_FULL=1  the whole message, as JSON
RECORD_STYLE  batch: in batches, each message of one answered by itself
RECORD_WORSE, RECORD_POISON  see mischief.py
"""

import json
import os
import random
import signal
import time
import zlib

import mischief
from sluice_worker import worker

OUT = os.open(os.environ["RECORD_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
CHAOS = int(os.environ.get("RECORD_CHAOS", "0"))
WORK = int(os.environ.get("RECORD_WORK", "0")) / 1e6
WORSE = int(os.environ.get("RECORD_WORSE", "0"))
POISON = int(os.environ.get("RECORD_POISON", "0"))
FULL = os.environ.get("RECORD_FULL") == "1"
SEED = int(os.environ.get("RECORD_SEED", "0"))
WHO = f"{os.getpid()}.{os.urandom(4).hex()}"


def note(what, message, word):
    line = f"{what} {time.monotonic_ns()} {WHO} {message.id} {message.attempt} {word}\n"
    os.write(OUT, line.encode())


def whole(m):
    return json.dumps({
        "topic": m.topic, "payload": m.payload.hex(), "headers": m.headers, "qos": m.qos,
        "content_type": m.content_type, "correlation": m.correlation.hex(),
        "reply_to": m.reply_to, "protocol": m.protocol, "client_id": m.client_id,
    }, separators=(",", ":")).replace(" ", "\\u0020")


def uid_of(message):
    return message.payload[:64].split(b" ")[0].decode("ascii", "replace") or "-"


def hold(message, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
        note("H", message, "-")


def answer(message, dice):
    """Of 20 misbehaviours: 8 retries, 5 releases, 1 dead, 2 kills, 1 exit, 3 long holds."""
    roll = dice.randrange(20000)
    fate = roll // CHAOS if CHAOS and roll < CHAOS * 20 else 20
    if fate < 8:
        note("E", message, "retry")
        message.retry()
    elif fate < 13:
        note("E", message, "release")
        message.release()
    elif fate < 14:
        note("E", message, "dead")
        message.dead("poison")
    elif fate < 16:
        note("X", message, "kill")
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate < 17:
        note("X", message, "exit")
        os._exit(3)
    else:
        if fate < 20:
            hold(message, 0.06)
        note("E", message, "ack")
        message.ack()


def bad_way(message, dice):
    """What is to be done with it instead of an answer, or None."""
    number = uid_of(message).rpartition("-")[2] if POISON else ""
    if number.isdigit() and int(number) % POISON == 0:
        return mischief.POISON[int(number) // POISON % len(mischief.POISON)]
    return dice.choice(mischief.WAYS) if WORSE and dice.randrange(1000) < WORSE else None


def work(message):
    note("S", message, whole(message) if FULL else uid_of(message))
    if WORK:
        time.sleep(WORK)
    dice = random.Random(zlib.crc32(f"{SEED} {message.id} {message.attempt} {WHO}".encode()))
    way = bad_way(message, dice)
    if way is None:
        answer(message, dice)
    else:
        way(note, message)


def work_all(batch):
    for message in batch:
        work(message)


if os.environ.get("RECORD_STYLE") == "batch":
    worker.batch_handler(max=100, wait=0.05)(work_all)
    worker.run()
elif "SLUICE_SOCKET" in os.environ:
    worker.run(work)
else:
    for message in worker.messages():
        work(message)
