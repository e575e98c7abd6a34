#!/usr/bin/python3
"""What programs get done on a varve mount, beside libfuse's own passthrough and a plain directory.

    tests/bench/apps.py                              # all; some ten minutes
    tests/bench/apps.py --only sqlite --rounds 7
    tests/bench/apps.py --quick                      # does it run, not how fast

passthrough_ll is the example that comes with libfuse: it hands each request on to a directory, and
keeps nothing of the past. It is compiled here, with optimisation, and gets what varve has: kernel
caches without time-out, a descriptor for each thread, 32 threads, the same read-ahead. The three sides
lie on one disk, that of --dir, which is what is measured: not a tmpfs. In every round (the first warms
up and is not counted) they take short turns, in the opposite order every other time, so that a machine
that drifts meets all alike; rates are medians of the rounds, with the smallest and the largest, and the
ratio is that of the medians. Nothing here is a test: a target that is missed is MISS, exit status 0.

Needs root, and what tools/check installs.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "apps"))
import cluster              # noqa: E402
from programs import harness    # noqa: E402

EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")
PASSTHROUGH_OPTIONS = "allow_other,clone_fd,max_threads=32,max_idle_threads=32,cache=always,timeout=86400"
READ_AHEAD_KIB = 1024
SMALL_FILES = 10_000
PGBENCH_SCALE = 10
PGBENCH_CLIENTS = 4


class Plain:
    """A directory of the disk itself."""
    name = "plain"

    def __init__(self, folder):
        self.folder = folder
        self.dir = folder / "plain"
        self.dir.mkdir()

    def close(self):
        pass


class Passthrough:
    """The example, built and mounted over a directory of the disk."""
    name = "passthrough"

    def __init__(self, folder):
        program = folder / "passthrough_ll"
        source, self.dir = folder / "passed", folder / "passthrough"
        source.mkdir()
        self.dir.mkdir()
        flags = harness.run("pkg-config", "--cflags", "--libs", "fuse3").split()
        harness.run("gcc", "-O2", "-o", program, EXAMPLES / "passthrough_ll.c", *flags)
        self.server = subprocess.Popen([program, "-f", "-o", f"source={source},{PASSTHROUGH_OPTIONS}", self.dir],
                                       stdin=subprocess.DEVNULL)
        try:
            harness.wait_for("passthrough_ll is mounted", lambda: harness.is_mounted(self.dir))
            device = os.stat(self.dir).st_dev
            pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text(
                str(READ_AHEAD_KIB), "utf-8")
        except BaseException:
            self.close()
            raise

    def close(self):
        if harness.is_mounted(self.dir):
            harness.run("umount", "-l", self.dir)
        self.server.terminate()
        self.server.wait(timeout=60)


class Varve:
    name = "varve"

    def __init__(self, folder):
        (folder / "varve").mkdir()
        self.mount = harness.Mount(folder=folder / "varve").mount()
        self.dir = self.mount.head

    def close(self):
        self.mount.close()


def turns(sides, count):
    """Each side @count times, in the opposite order every other time."""
    for number in range(count):
        yield from sides if number % 2 == 0 else reversed(sides)


class Pgbench:
    """pgbench's transactions, each made durable by fsync. All servers are up; the one whose turn it was
    writes its pages back before the next."""
    rates = {"pgbench, 4 clients": ("transactions/s", 0.9)}

    def __init__(self, sides, folder, quick):
        self.turns, self.seconds = (1, 2) if quick else (2, 8)
        self.clusters = {}
        for side in sides:
            (folder / f"run-{side.name}").mkdir()
            harness.run("chown", cluster.USER, folder / f"run-{side.name}")
            server = cluster.Cluster(side.dir / "pg", folder / f"run-{side.name}")
            self.clusters[side.name] = server
            server.init()
            server.start(max_wal_size="1GB", autovacuum="off", checkpoint_timeout="1h")
            server.command("createdb", "bench")
            server.command("pgbench", "-i", "-q", "-s", str(1 if quick else PGBENCH_SCALE), "bench")

    def round(self, sides):
        rates = {side.name: [] for side in sides}
        for side in turns(sides, self.turns):
            server = self.clusters[side.name]
            said = server.command("pgbench", "-n", "-c", str(PGBENCH_CLIENTS), "-j", "2",
                                  "-T", str(self.seconds), "bench")
            rates[side.name].append(float(re.search(r"tps = ([\d.]+) \(without", said).group(1)))
            server.command("psql", "-qc", "CHECKPOINT", "bench")
        return {"pgbench, 4 clients": {name: statistics.mean(values) for name, values in rates.items()}}

    def close(self):
        for server in self.clusters.values():
            server.kill()


class Sqlite:
    """Rows inserted, a transaction each, made durable by SQLite's own syncs."""
    rates = {f"SQLite, {journal}": ("transactions/s", 0.9) for journal in ("WAL", "DELETE")}
    TURN = 25

    def __init__(self, _sides, _folder, quick):
        self.turns = 4 if quick else 30

    def round(self, sides):
        return {f"SQLite, {journal}": self.rates_of(sides, journal) for journal in ("WAL", "DELETE")}

    def rates_of(self, sides, journal):
        bases, took = {}, {side.name: 0.0 for side in sides}
        for side in sides:
            (side.dir / "sqlite").mkdir()
            base = bases[side.name] = sqlite3.connect(side.dir / "sqlite" / "db", isolation_level=None)
            base.execute(f"PRAGMA journal_mode={journal}")
            base.execute("PRAGMA synchronous=FULL")
            base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        for side in turns(sides, self.turns):
            started = time.perf_counter()
            for i in range(self.TURN):
                bases[side.name].execute("INSERT INTO t (text) VALUES (?)", (f"row {i} " + "x" * 90,))
            took[side.name] += time.perf_counter() - started
        for side in sides:
            bases[side.name].close()
            shutil.rmtree(side.dir / "sqlite")
        return {name: self.turns * self.TURN / seconds for name, seconds in took.items()}

    def close(self):
        pass


class Tar:
    """Small files unpacked, and removed again; neither is synced."""
    rates = {"tar -x": ("files/s", 0.8), "rm -rf": ("files/s", 0.8)}

    def __init__(self, _sides, folder, quick):
        self.files = SMALL_FILES // 20 if quick else SMALL_FILES
        self.archive = folder / "small.tar"
        source = folder / "small"
        dice = random.Random(1)
        for i in range(self.files):
            path = source / f"dir{i // 100}" / f"file{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dice.randbytes(dice.randrange(100, 8000)))
        harness.run("tar", "-C", folder, "-cf", self.archive, "small")
        shutil.rmtree(source)

    def round(self, sides):
        rates = {claim: {} for claim in self.rates}
        for side in sides:
            for claim, words in {"tar -x": ("tar", "-C", side.dir, "-xf", self.archive),
                                 "rm -rf": ("rm", "-rf", side.dir / "small")}.items():
                os.sync()
                started = time.perf_counter()
                harness.run(*words)
                rates[claim][side.name] = self.files / (time.perf_counter() - started)
        return rates

    def close(self):
        pass


SUBJECTS = {"pgbench": Pgbench, "sqlite": Sqlite, "tar": Tar}


def measure(subject_class, sides, folder, arguments):
    """Run the rounds; what each gave, by claim and side."""
    rates = {claim: {side.name: [] for side in sides} for claim in subject_class.rates}
    subject = subject_class(sides, folder, arguments.quick)
    try:
        for number in range(arguments.rounds + 1):
            for claim, by_side in subject.round(sides if number % 2 == 0 else sides[::-1]).items():
                for name, rate in by_side.items():
                    if number > 0:
                        rates[claim][name].append(rate)
    finally:
        subject.close()
    return rates


def report(rates, targets):
    for claim, by_side in rates.items():
        unit, target = targets[claim]
        middle = {side: statistics.median(values) for side, values in by_side.items()}
        ratio = middle["varve"] / middle["passthrough"]
        print(f"{claim}, {unit}:")
        for side, values in by_side.items():
            print(f"    {side:<12} {middle[side]:10.1f}  ({min(values):.1f} to {max(values):.1f})")
        print(f"    varve is {ratio:.2f}x passthrough, target {target}x: {'PASS' if ratio >= target else 'MISS'};"
              f" {middle['varve'] / middle['plain']:.2f}x plain; passthrough is"
              f" {middle['passthrough'] / middle['plain']:.2f}x plain", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(SUBJECTS), action="append")
    parser.add_argument("--rounds", type=int, help="rounds that count; 5")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--dir", default="/var/tmp", help="where to work; a disk, open to all users (/var/tmp)")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    if os.geteuid() != 0:
        sys.exit("apps.py: this mounts for other users and has to be run as root")
    if not (EXAMPLES / "passthrough_ll.c").exists():
        sys.exit(f"apps.py: no passthrough_ll.c in {EXAMPLES}: "
                 "apt-get install --reinstall libfuse3-dev, and let dpkg unpack documents")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="varve-bench-", dir=arguments.dir)).resolve()
    folder.chmod(0o755)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors: "
          "what others do meanwhile moves the figures", flush=True)
    sides = []
    try:
        for side in (Varve, Passthrough, Plain):
            sides.append(side(folder))
        for name in arguments.only or SUBJECTS:
            report(measure(SUBJECTS[name], sides, folder, arguments), SUBJECTS[name].rates)
    finally:
        for side in sides:
            side.close()
        harness.clear_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
