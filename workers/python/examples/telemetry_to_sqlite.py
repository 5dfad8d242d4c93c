#!/usr/bin/env python3
"""Writes telemetry into an SQLite file, a batch in one transaction.

"pools": { "archive": { "queue": "telemetry", "batch": { "max": 500, "wait": "1s" }, "prefetch": 1000,
    "command": ["python3", "workers/python/examples/telemetry_to_sqlite.py", "telemetry.db"] } }

A batch is acked when its transaction is on the disk. After a crash in between it comes again, and the
message's id, which is the table's key, keeps it from being counted twice.
"""

import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from sluice_worker import Retry, worker  # noqa: E402

TABLE = """CREATE TABLE IF NOT EXISTS telemetry (
    id TEXT PRIMARY KEY, at REAL, client TEXT, topic TEXT, payload BLOB) WITHOUT ROWID"""


def open_database(path):
    db = sqlite3.connect(path, timeout=5)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(TABLE)
    return db


def row(message):
    return message.id, message.accepted_at.timestamp(), message.client_id, message.topic, message.payload


db = open_database(sys.argv[1] if len(sys.argv) > 1 else "telemetry.db")


@worker.batch_handler(max=500, wait=1.0)
def store(batch):
    try:
        with db:  # One transaction: all rows of the batch or none.
            db.executemany("INSERT OR IGNORE INTO telemetry VALUES (?, ?, ?, ?, ?)", map(row, batch))
    except sqlite3.OperationalError as error:  # The file is locked, or the disk is full.
        raise Retry(str(error), delay=5)


if __name__ == "__main__":
    worker.run()
