#!/usr/bin/python3
"""kill -9 of the server under four writers, again and again on one store, up to 50 times:
after each remount every acknowledged change is there, at the head and at its LSN.

Each writer is a process with a directory of its own. It logs, outside of the mount, what it
is about to do (intent), does it, reads /lsn/latest and logs that (done). So:
(1) at the head its directory is the outcome of all changes it was told were done, and of the
    one under way when the server died either the whole or nothing; but a write that begins
    inside of a page reaches the server as two, cut by the kernel at the page's end;
(2) at the LSN read after a change its directory is the outcome of the changes up to it:
    checked for every change where it wrote, for a sample over the whole directory;
(3) until the kill no call fails;
(4) varve check finds nothing: not in what the kill left, not after the remount, not in the end.
"""
import errno
import hashlib
import json
import os
import pathlib
import random as randoms
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness      # noqa: E402

ROUNDS = harness.by_size(5, 20, 1000)
ROUNDS_PER_STORE = 50   # a check takes as long as the history is large
WRITERS = 4
CHECK_EVERY = 4
FILES = [f"f{i}" for i in range(6)]
FILE_LIMIT = 2_000_000
SIZES = (50, 100, 700, 4096, 8192, 10_000, 60_000, 300 * 1024)
SAMPLES_PER_ROUND = 6
KERNEL_PAGE = 4096
harness.DEADLINE_S = max(harness.DEADLINE_S, ROUNDS * 15 + 300)


def record(change):
    """The bytes that a change writes: a function of its seed."""
    return randoms.Random(change["seed"]).randbytes(change["size"])


def change_new(random, files):
    """A change that can succeed on @files, a dict of sizes; one request of the server each."""
    name, other = random.choice(FILES), random.choice(FILES)
    if name not in files:
        return {"what": "create", "name": name}
    size, seed = random.choice(SIZES), random.randrange(1 << 40)
    what = random.choice(("append",) * 6 + ("overwrite",) * 6 + ("rename", "unlink", "truncate"))
    if what == "append" and files[name] + size > FILE_LIMIT:
        what = "truncate"
    if what == "append":
        return {"what": what, "name": name, "offset": files[name], "size": size, "seed": seed,
                "sync": random.random() < 0.1}
    if what == "overwrite":
        return {"what": what, "name": name, "offset": random.randrange(files[name] + 1),
                "size": size, "seed": seed, "sync": random.random() < 0.1}
    if what == "truncate":
        return {"what": what, "name": name, "size": random.randrange(files[name] + 100)}
    if what == "rename" and name != other:
        return {"what": what, "name": name, "to": other}
    return {"what": "unlink", "name": name}


def change_do(folder, change):
    """Make the change in the mount."""
    path = folder / change["name"]
    what = change["what"]
    if what == "create":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    elif what in ("append", "overwrite"):
        fd = os.open(path, os.O_WRONLY | (os.O_APPEND if what == "append" else 0))
        try:
            data = memoryview(record(change))
            written = 0
            while written < len(data):
                written += (os.write(fd, data[written:]) if what == "append"
                            else os.pwrite(fd, data[written:], change["offset"] + written))
            if change["sync"]:
                os.fsync(fd)
        finally:
            os.close(fd)
    elif what == "truncate":
        os.truncate(path, change["size"])
    elif what == "rename":
        os.rename(path, folder / change["to"])
    else:
        os.unlink(path)


def change_apply(state, change):
    """Make the change in the reference: a dict of names to bytearrays."""
    name, what = change["name"], change["what"]
    if what == "create":
        state[name] = bytearray()
    elif what in ("append", "overwrite"):
        data, file = record(change), state[name]
        file[change["offset"]:change["offset"] + len(data)] = data
    elif what == "truncate":
        file = state[name]
        size = change["size"]
        file[size:] = b"\0" * max(0, size - len(file))
    elif what == "rename":
        state[change["to"]] = state.pop(name)
    else:
        del state[name]


def digest(state):
    """What identifies a directory's content."""
    return {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in state.items()}


def digest_of(folder):
    return digest({name: (folder / name).read_bytes() for name in os.listdir(folder)})


def writer_run(m, folder, log_path, files, seed):
    """A writer's life, in a process of its own, until the server is gone."""
    random = randoms.Random(seed)
    log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    scratch = {name: bytearray(size) for name, size in files.items()}
    try:
        while True:
            change = change_new(random, {name: len(data) for name, data in scratch.items()})
            os.write(log, json.dumps({"intent": change}).encode() + b"\n")
            change_do(folder, change)
            os.write(log, b'{"done": %d}\n' % m.latest())
            change_apply(scratch, change)
    except OSError as error:
        os.write(log, json.dumps({"error": errno.errorcode[error.errno], "at": time.monotonic(),
                                  "text": str(error)}).encode() + b"\n")


class Writer:
    """What the test knows of one writer: all changes acknowledged, and the state they give."""

    def __init__(self, m, index):
        self.m = m
        self.name = f"writer{index}"
        self.log_path = m.folder / f"log{index}"
        self.state = {}
        self.samples = []       # (LSN, digest then)
        self.count = 0

    def start(self, seed):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                sizes = {name: len(data) for name, data in self.state.items()}
                writer_run(self.m, self.m.head / self.name, self.log_path, sizes, seed)
            finally:
                os._exit(0)

    def gather(self, random, killed_at):
        """Read the log of the round: the changes done with their LSNs, the one under way.

        A request that the server was just reading from the kernel when it was killed is EIO, not
        ECONNABORTED: fuse_dev_do_read says so of a copy that fails. Before the kill it would be the server's
        own, and no good."""
        os.waitpid(self.pid, 0)
        lines = [json.loads(line) for line in self.log_path.read_bytes().splitlines()]
        end = lines.pop()
        gone = ["ENOTCONN", "ECONNABORTED"] + ["EIO"] * (end.get("at", 0) >= killed_at)
        if end.get("error") not in gone:
            raise AssertionError(f"{self.name}: a call failed before the kill: {end} after {lines[-1:]}")
        under_way = lines.pop()["intent"] if lines and "intent" in lines[-1] else None
        pairs = [(lines[i]["intent"], lines[i + 1]["done"]) for i in range(0, len(lines), 2)]
        sampled = set(random.sample(range(len(pairs)), min(len(pairs), SAMPLES_PER_ROUND)))
        sampled |= {len(pairs) - 1}
        done = []
        for i, (change, lsn) in enumerate(pairs):
            change_apply(self.state, change)
            done.append((change, lsn))
            if i in sampled:
                self.samples.append((lsn, digest(self.state)))
        self.count += len(pairs)
        return done, under_way


class Kill(harness.ServerCase):
    def assert_at_its_lsn(self, m, writer, change, lsn):
        """The effect of one change, at the LSN read right after it."""
        folder = m.at(lsn) / writer.name
        path = folder / change["name"]
        what = change["what"]
        if what in ("append", "overwrite"):
            with open(path, "rb", buffering=0) as file:
                found = os.pread(file.fileno(), change["size"], change["offset"])
            self.assertEqual(found, record(change), f"{writer.name} at {lsn}: {change}")
        elif what == "create":
            self.assertEqual(os.stat(path).st_size, 0)
        elif what == "truncate":
            self.assertEqual(os.stat(path).st_size, change["size"])
        else:
            self.assertFalse(path.exists(), f"{writer.name} at {lsn}: {change}")
            if what == "rename":
                self.assertTrue((folder / change["to"]).exists())

    def assert_head(self, m, writer, under_way):
        """All that was done, and the change under way whole or not at all."""
        found = digest_of(m.head / writer.name)
        if found == digest(writer.state):
            return
        if under_way is not None:
            if under_way["what"] in ("append", "overwrite") and found == digest(
                    self.with_first_request(writer.state, under_way)):
                writer.state = self.with_first_request(writer.state, under_way)
                return
            change_apply(writer.state, under_way)
        self.assertEqual(found, digest(writer.state),
                         f"{writer.name}: neither with nor without {under_way}")

    @staticmethod
    def with_first_request(state, change):
        """@state with that part of a write that the kernel sends first."""
        state = {name: bytearray(data) for name, data in state.items()}
        data, offset = record(change), change["offset"]
        first = data[:KERNEL_PAGE - offset % KERNEL_PAGE]
        state[change["name"]][offset:offset + len(first)] = first
        return state

    def kill_one_store(self, random, rounds):
        """Returns how many changes were acknowledged, and the slowest remount."""
        m = self.mount_new()
        writers = [Writer(m, i) for i in range(WRITERS)]
        for writer in writers:
            os.mkdir(m.head / writer.name)
        slowest = 0.0
        for round_number in range(rounds):
            for writer in writers:
                writer.start(random.randrange(1 << 40))
            time.sleep(random.uniform(0.05, 1.5))
            (server,) = m.servers()
            killed_at = time.monotonic()
            os.kill(server, signal.SIGKILL)
            gathered = [(writer, *writer.gather(random, killed_at)) for writer in writers]
            m.kill()
            if round_number % CHECK_EVERY == 0:
                m.assert_clean()
            started = time.monotonic()
            m.mount()
            slowest = max(slowest, time.monotonic() - started)
            if round_number % CHECK_EVERY == 0:
                m.assert_clean()
            for writer, done, under_way in gathered:
                with self.subTest(round=round_number, writer=writer.name):
                    self.assert_head(m, writer, under_way)
                    for change, lsn in done:
                        self.assert_at_its_lsn(m, writer, change, lsn)
            for writer in writers:
                for lsn, wanted in random.sample(writer.samples, min(len(writer.samples), 10)):
                    with self.subTest(round=round_number, writer=writer.name, lsn=lsn):
                        self.assertEqual(digest_of(m.at(lsn) / writer.name), wanted)
        m.remount()
        for writer in writers:
            self.assertEqual(digest_of(m.head / writer.name), digest(writer.state))
        m.umount()
        m.assert_clean()
        m.close()
        return sum(writer.count for writer in writers), slowest

    def test_no_acknowledged_change_is_lost(self):
        random = harness.seeded_random()
        kills, total, slowest = 0, 0, 0.0
        while kills < ROUNDS:
            rounds = min(ROUNDS_PER_STORE, ROUNDS - kills)
            count, remount = self.kill_one_store(random, rounds)
            kills, total, slowest = kills + rounds, total + count, max(slowest, remount)
            print(f"{kills} kills, {total} acknowledged changes, slowest remount {slowest:.2f} s",
                  flush=True)
        self.assertGreater(total, ROUNDS * 10)


if __name__ == "__main__":
    harness.main()
