#!/usr/bin/python3
"""SQLite, unmodified: the files of any noted LSN, copied out, are a sound database that
holds exactly the rows committed by then."""
import os
import pathlib
import shutil
import sqlite3
import tempfile

import harness

TRANSACTIONS = harness.by_size(300, 1000)
SAMPLES = harness.by_size(60, 200)


class Sqlite(harness.MountCase):
    def run_transactions(self, mode):
        """Write; the rows that hold at each noted LSN, as (LSN, {id: text})."""
        random = harness.seeded_random()
        base = sqlite3.connect(self.dir / "db", isolation_level=None)
        self.addCleanup(base.close)
        self.assertEqual(base.execute(f"PRAGMA journal_mode={mode}").fetchone()[0], mode.lower())
        base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        base.execute("CREATE INDEX i ON t (text)")
        rows, noted = {}, []
        for i in range(TRANSACTIONS):
            base.execute("BEGIN IMMEDIATE")
            for _ in range(random.randrange(1, 4)):
                row, text = random.randrange(TRANSACTIONS), f"{i} " + "x" * random.randrange(2000)
                if row in rows and random.random() < 0.3:
                    base.execute("DELETE FROM t WHERE id = ?", (row,))
                    del rows[row]
                else:
                    base.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (row, text))
                    rows[row] = text
            if random.random() < 0.05:
                base.execute("SAVEPOINT s")
                base.execute("UPDATE t SET text = 'never seen'")
                base.execute("ROLLBACK TO s")
            base.execute("COMMIT")
            noted.append((self.m.latest(), dict(rows)))
            if mode == "WAL" and i % 200 == 150:
                base.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return noted, random

    def rows_at(self, lsn):
        """The rows of the database as of @lsn; its files are copied and recovered as SQLite does."""
        with tempfile.TemporaryDirectory(prefix="varve-sqlite-") as folder:
            for name in ("db", "db-wal", "db-journal"):
                if (self.past(lsn) / name).exists():
                    shutil.copyfile(self.past(lsn) / name, pathlib.Path(folder, name))
            base = sqlite3.connect(pathlib.Path(folder, "db"))
            try:
                self.assertEqual(base.execute("PRAGMA integrity_check").fetchall(), [("ok",)], lsn)
                return dict(base.execute("SELECT id, text FROM t"))
            finally:
                base.close()

    def assert_rows(self, lsn, rows):
        found = self.rows_at(lsn)
        differing = {row for row in found.keys() | rows.keys() if found.get(row) != rows.get(row)}
        self.assertEqual(differing, set(), f"rows that differ at LSN {lsn}")

    def check(self, mode):
        noted, random = self.run_transactions(mode)
        for lsn, rows in random.sample(noted, SAMPLES):
            self.assert_rows(lsn, rows)
        self.m.kill()
        self.m.mount()
        for lsn, rows in [noted[-1], *random.sample(noted, SAMPLES // 4)]:
            self.assert_rows(lsn, rows)
        print(f"{mode}: {len(noted)} transactions, {SAMPLES} + {SAMPLES // 4 + 1} databases checked")

    def test_delete_mode(self):
        self.check("DELETE")

    def test_wal_mode(self):
        self.check("WAL")

    def test_head_goes_on_after_a_kill(self):
        """A database in use by nobody when the server died is sound and writable after."""
        path = self.dir / "db"
        base = sqlite3.connect(path)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE t (id INTEGER)")
        base.execute("INSERT INTO t VALUES (1)")
        base.commit()
        self.m.kill()
        self.m.mount()
        try:
            base.close()
        except sqlite3.Error:
            pass                # its files went with the old mount
        base = sqlite3.connect(path)
        self.assertEqual(base.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        base.execute("INSERT INTO t VALUES (2)")
        base.commit()
        self.assertEqual(base.execute("SELECT id FROM t ORDER BY id").fetchall(), [(1,), (2,)])
        base.close()

    def test_the_names_of_the_journal_are_gone_when_they_should_be(self):
        """DELETE mode commits by unlinking the journal: at the LSN noted it is not there."""
        base = sqlite3.connect(self.dir / "db")
        base.execute("CREATE TABLE t (id INTEGER)")
        base.commit()
        self.assertEqual(os.listdir(self.past(self.m.latest())), ["db"])
        base.close()


if __name__ == "__main__":
    harness.main()
