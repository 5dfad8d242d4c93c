"""A worker in `lines` that writes down what it does as recorder.py does, and now and then answers
for a message that another worker holds: it finds the id in their notes."""

import json
import os
import random
import sys
import time

import mischief

OUT = os.open(os.environ["RECORD_FILE"], os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
WORSE = int(os.environ.get("RECORD_WORSE", "0"))
POISON = int(os.environ.get("RECORD_POISON", "0"))
WHO = f"{os.getpid()}.{os.urandom(4).hex()}"
DICE = random.Random(f"{os.environ.get('RECORD_SEED')} {WHO}")
TAIL_BYTES = 4096


def note(what, message, word):
    os.write(OUT, f"{what} {time.monotonic_ns()} {WHO} {message['id']} {message['attempt']} {word}\n".encode())


def say(answer):
    print(json.dumps(answer), flush=True)


def held_by_another():
    """The youngest id that somebody began and has not ended."""
    end = os.lseek(OUT, 0, os.SEEK_END)
    lines = os.pread(OUT, TAIL_BYTES, max(end - TAIL_BYTES, 0)).decode("ascii", "replace").splitlines()[1:]
    begun = {}
    for line in lines:
        what, _, who, message, *_ = line.split()
        if what == "S" and who != WHO:
            begun[message] = True
        else:
            begun.pop(message, None)
    return next(reversed(begun), None)


def lie(message):
    theirs = held_by_another()
    if theirs is None:
        return False
    note("X", message, "foreign")
    say({"id": theirs, "ack": True})
    time.sleep(600)
    return True


for line in sys.stdin:
    m = json.loads(line)
    uid = m["payload"].split(" ")[0]
    note("S", m, uid)
    number = int(uid.rpartition("-")[2])
    if POISON and number % POISON == 0:
        mischief.POISON[number // POISON % 2](note, m)
    if DICE.randrange(1000) < WORSE and lie(m):
        continue
    note("E", m, "ack")
    say({"id": m["id"], "ack": True})
