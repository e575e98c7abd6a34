#!/usr/bin/python3
"""PostgreSQL on the mount, and as of any LSN.

Four clients (ledger.py) do pgbench's transaction, each with a row of pgbench_history that tells
client and number. Server and daemon are killed under that load, in either order. So:
(1) after the remount the server recovers, and every acknowledged transaction is there;
(2) the data directory as of any LSN, copied out, recovers too: it has every transaction that
    was acknowledged by then, and none that had not begun;
(3) whatever is there is whole: the sums of accounts, tellers, branches and history agree;
(4) pg_amcheck and pg_checksums find nothing, neither at the head nor in a copy of the past.
"""
import os
import random as randoms
import shutil
import signal
import time

from programs import harness
import cluster
import ledger

SCALE = harness.by_size(1, 1, 5)
ROUNDS = harness.by_size(1, 2, 4)
LOAD_S = harness.by_size(2, 4, 20)
PAST_PER_ROUND = harness.by_size(1, 2, 5)
CLIENTS = 4
ROLLED_BACK = 0.05
CHECKPOINTS = 0.003         # of a client's transactions; by time there would be none in a short load
harness.DEADLINE_S = harness.by_size(900, 900, 3600)

TRANSACTION = """
UPDATE pgbench_accounts SET abalance = abalance + %(delta)s WHERE aid = %(aid)s;
SELECT abalance FROM pgbench_accounts WHERE aid = %(aid)s;
UPDATE pgbench_tellers SET tbalance = tbalance + %(delta)s WHERE tid = %(tid)s;
UPDATE pgbench_branches SET bbalance = bbalance + %(delta)s WHERE bid = %(bid)s;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler)
    VALUES (%(tid)s, %(bid)s, %(aid)s, %(delta)s, CURRENT_TIMESTAMP, %(filler)s);
"""
SUMS = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
       (SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
"""


def client_life(log, postgres, name, random):
    cursor = postgres.connect().cursor()
    while True:
        if random.random() < CHECKPOINTS:
            cursor.execute("CHECKPOINT")
        end = "ROLLBACK" if random.random() < ROLLED_BACK else "COMMIT"
        number = log.begin(kept=end == "COMMIT")
        cursor.execute("BEGIN;" + TRANSACTION + end, {
            "delta": random.randrange(-5000, 5001), "aid": random.randrange(1, 100_000 * SCALE + 1),
            "tid": random.randrange(1, 10 * SCALE + 1), "bid": random.randrange(1, SCALE + 1),
            "filler": f"{name} {number}"})
        log.done()


class Postgres(harness.ServerCase):
    def setUp(self):
        self.random = harness.seeded_random()
        self.m = self.mount_new()
        self.m.folder.chmod(0o755)
        self.clients = []
        run_folder = cluster.folder_for_user(self.m.folder / "run")
        self.postgres = cluster.Cluster(self.m.head / "pg", run_folder)
        self.addCleanup(self.postgres.kill)

    def assert_rows(self, server, lsn=None):
        """Every transaction is there that has to be, and no other."""
        rows = [filler.split() for filler, in server.query("SELECT filler FROM pgbench_history")]
        faults = ledger.faults(self.clients, [(name, int(number)) for name, number in rows], lsn)
        self.assertEqual(faults, [], f"as of LSN {lsn}")
        sums = server.query(SUMS)[0]
        self.assertEqual(len(set(sums)), 1, f"sums {sums} as of LSN {lsn}")

    def assert_past(self, lsn):
        """A copy of the data directory as of @lsn is a database."""
        folder = self.m.folder / f"past-{lsn}"
        folder.mkdir()
        harness.run("cp", "-a", self.m.at(lsn) / "pg", folder / "pg")
        (folder / "pg" / "postmaster.pid").unlink(missing_ok=True)      # of a server that is elsewhere
        past = cluster.Cluster(folder / "pg", cluster.folder_for_user(folder / "run"))
        try:
            past.start(fsync="off")
            self.assert_rows(past, lsn)
            past.assert_sound()
        finally:
            past.kill()
        shutil.rmtree(folder)

    def load(self, round_number):
        """Four clients, and in the midst of it the end of server and daemon."""
        clients = []
        for i in range(CLIENTS):
            name, random = f"r{round_number}c{i}", randoms.Random(self.random.random())
            clients.append(ledger.Client(self.m, name, lambda log: client_life(log, self.postgres, name, random)))
        time.sleep(LOAD_S * self.random.uniform(0.7, 1.3))
        for client in clients:
            client.assert_alive()
        (daemon,) = self.m.servers()
        killed_at = time.monotonic()
        first, second = self.random.sample([lambda: os.kill(daemon, signal.SIGKILL), self.postgres.kill], 2)
        first()
        time.sleep(self.random.choice((0, 0.05)))
        second()
        for client in clients:
            client.gather(killed_at)
        self.m.kill()
        self.clients += clients
        return ledger.newest(clients)

    def test_no_acknowledged_transaction_is_lost_and_any_lsn_is_a_database(self):
        self.postgres.init()
        self.postgres.start()
        self.postgres.command("createdb", "bench")
        self.postgres.command("pgbench", "-i", "-q", "-s", str(SCALE), "bench")
        checked = 0
        for round_number in range(ROUNDS):
            since = self.m.latest()
            if round_number:
                self.postgres.start()
            last = self.load(round_number)
            self.m.mount()
            started = time.monotonic()
            self.postgres.start()
            recovered_s = time.monotonic() - started
            self.assert_rows(self.postgres)
            self.postgres.assert_sound()
            for lsn in sorted(self.random.sample(range(since, last + 1), PAST_PER_ROUND)):
                self.assert_past(lsn)
                checked += 1
            print(f"round {round_number}: {sum(len(client.done) for client in self.clients)} transactions, "
                  f"{last - since} bytes of history, recovered in {recovered_s:.1f} s, "
                  f"{checked} databases of the past", flush=True)
        self.m.umount()
        self.m.assert_clean()


if __name__ == "__main__":
    harness.main()
