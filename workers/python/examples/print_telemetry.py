#!/usr/bin/env python3
"""Prints one neat line per message: topic, client, payload, and the attempt from the second on.

Run by a pool of sluice.json: "command": ["python3", "workers/python/examples/print_telemetry.py"].
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from sluice_worker import worker  # noqa: E402

PAYLOAD_WIDTH = 100


def short(text):
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= PAYLOAD_WIDTH else text[:PAYLOAD_WIDTH - 1] + "…"


def readable(message):
    """A JSON object as k=v, any other text as it is, bytes as their number and start."""
    try:
        value = message.json()
    except ValueError:
        try:
            return short(message.text())
        except UnicodeDecodeError:
            return f"{len(message.payload)} bytes: {message.payload[:16].hex(' ')}"
    if isinstance(value, dict):
        return short("  ".join(f"{key}={item}" for key, item in value.items()))
    return short(str(value))


@worker.handler
def print_message(message):
    at = message.accepted_at
    time = at.astimezone().strftime("%H:%M:%S") if at else "--:--:--"
    again = f"  (attempt {message.attempt})" if message.attempt > 1 else ""
    print(f"{time}  {short(message.topic):<28}  {short(message.client_id) or '-':<16}  "
          f"{readable(message)}{again}", flush=True)


if __name__ == "__main__":
    worker.run()
