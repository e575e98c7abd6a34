#!/usr/bin/python3
"""SQLite in several processes on the mount, and as of any LSN.

Four writers (ledger.py) move money between accounts and book each transfer in a table, with some
rows of padding, so that a transaction is many pages. A writer is killed in mid-transaction now and
then and another takes its place; in the end the daemon is killed under them. So:
(1) after the remount the database recovers, and has every acknowledged transaction;
(2) its files as of any LSN, copied out, are a sound database with every transaction that was
    acknowledged by then, and none that had not begun;
(3) whatever is there is whole: the accounts sum up to zero, and each booking has all its rows.
"""
import os
import pathlib
import random as randoms
import shutil
import signal
import sqlite3
import tempfile
import time

from programs import harness
import ledger

ROUNDS = harness.by_size(1, 2, 10)
LOAD_S = harness.by_size(1, 3, 15)
PAST_PER_ROUND = harness.by_size(10, 20, 40)
WRITERS = 4
ACCOUNTS = 500
ROLLED_BACK = 0.05
KILL_EVERY_S = 0.4
BUSY_S = 120
CHECKPOINT_PAGES = 200      # a fifth of the default, so that some fall into each load
harness.DEADLINE_S = harness.by_size(900, 900, 3600)

SCHEMA = f"""
CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER);
CREATE TABLE booking (name TEXT, number INTEGER, lines INTEGER, PRIMARY KEY (name, number));
CREATE TABLE line (name TEXT, number INTEGER, text TEXT);
CREATE INDEX line_booking ON line (name, number);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
    INSERT INTO account SELECT i, 0 FROM n;
"""
NOT_WHOLE = """
SELECT name, number FROM booking WHERE lines !=
    (SELECT count(*) FROM line WHERE line.name = booking.name AND line.number = booking.number)
"""


def connect(path, journal):
    base = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    base.execute(f"PRAGMA journal_mode={journal}")
    base.execute("PRAGMA synchronous=FULL")
    base.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return base


def writer_life(log, path, journal, name, random):
    base = connect(path, journal)
    base.execute("PRAGMA cache_size=20")    # pages are written before the commit, too
    while True:
        kept = random.random() >= ROLLED_BACK
        number = log.begin(kept)
        base.execute("BEGIN IMMEDIATE")
        for _ in range(random.randrange(1, 10)):
            amount = random.randrange(1000)
            for change in (amount, -amount):
                base.execute("UPDATE account SET balance = balance + ? WHERE id = ?",
                             (change, random.randrange(1, ACCOUNTS + 1)))
        lines = random.choice((0, 1, 3, 30))
        base.execute("INSERT INTO booking VALUES (?, ?, ?)", (name, number, lines))
        for _ in range(lines):
            base.execute("INSERT INTO line VALUES (?, ?, ?)", (name, number, "x" * random.randrange(3000)))
        base.execute("COMMIT" if kept else "ROLLBACK")
        log.done()


class Sqlite(harness.MountCase):
    def assert_database(self, path, lsn=None):
        base = sqlite3.connect(path)
        try:
            self.assertEqual(base.execute("PRAGMA integrity_check").fetchall(), [("ok",)], f"LSN {lsn}")
            self.assertEqual(base.execute("SELECT sum(balance) FROM account").fetchone(), (0,), f"LSN {lsn}")
            self.assertEqual(base.execute(NOT_WHOLE).fetchall(), [], f"LSN {lsn}")
            rows = base.execute("SELECT name, number FROM booking").fetchall()
            self.assertEqual(ledger.faults(self.writers, rows, lsn), [], f"LSN {lsn}")
        finally:
            base.close()

    def assert_past(self, lsn):
        with tempfile.TemporaryDirectory(prefix="varve-sqlite-") as folder:
            for name in ("db", "db-wal", "db-journal"):
                if (self.past(lsn) / name).exists():
                    shutil.copyfile(self.past(lsn) / name, pathlib.Path(folder, name))
            self.assert_database(pathlib.Path(folder, "db"), lsn)

    def load(self, journal, round_number, random):
        """Writers, some of them killed, and in the midst of it the end of the daemon."""
        def start(index):
            name, dice = f"r{round_number}w{index}", randoms.Random(random.random())
            writer = ledger.Client(self.m, f"{journal}-{name}",
                                   lambda log: writer_life(log, self.dir / "db", journal, f"{journal}-{name}", dice))
            self.writers.append(writer)
            return writer
        running = [start(i) for i in range(WRITERS)]
        until = time.monotonic() + LOAD_S * random.uniform(0.7, 1.3)
        while time.monotonic() < until:
            time.sleep(random.uniform(0, 2 * KILL_EVERY_S))
            for writer in running:
                writer.assert_alive()
            running.pop(random.randrange(WRITERS)).kill()
            running.append(start(len(self.writers)))
        (daemon,) = self.m.servers()
        killed_at = time.monotonic()
        os.kill(daemon, signal.SIGKILL)
        for writer in self.writers[self.gathered:]:
            writer.gather(killed_at)
        self.gathered = len(self.writers)
        self.m.kill()

    def check(self, journal):
        random = harness.seeded_random()
        self.writers, self.gathered = [], 0
        base = connect(self.dir / "db", journal)
        base.executescript(SCHEMA)
        base.close()
        for round_number in range(ROUNDS):
            since = self.m.latest()
            self.load(journal, round_number, random)
            last = ledger.newest(self.writers)
            self.m.mount()
            for lsn in sorted(random.sample(range(since, last + 1), PAST_PER_ROUND)):
                self.assert_past(lsn)
            self.assert_past(self.m.latest())
            self.assert_database(self.dir / "db")
            for lsn in random.sample(range(since, last + 1), PAST_PER_ROUND // 4):
                self.assert_past(lsn)
        print(f"{journal}: {sum(len(writer.done) for writer in self.writers)} transactions, "
              f"{sum(writer.killed for writer in self.writers)} writers and {ROUNDS} daemons killed", flush=True)

    def test_wal(self):
        self.check("WAL")

    def test_rollback_journal(self):
        self.check("DELETE")


if __name__ == "__main__":
    harness.main()
