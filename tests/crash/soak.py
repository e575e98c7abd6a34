#!/usr/bin/python3
"""A soak: a writer with syncs and renames and two readers of the past on one mount for
$VARVE_SOAK_SECONDS. The server's memory, descriptors and threads don't grow, and what was
written is there.

The load is paced ($VARVE_SOAK_PACE seconds between two rounds), so that an hour's history
fits a disk. Memory is what is the process's own (RssAnon): mapped layers are the page
cache's. A line is printed a minute, so that what grows can be told from what grows with it.

The first third fills every cache there is, and all threads that answer requests are made before it
begins. Then the highest memory of the last third is held against the highest of the
second. It is looked at so often that no merge is missed, and in a short run, which might meet none,
each third has one. What grows up to a bound of its own is taken off by the piece, and the bound is
looked at: layers, of which a sealed one keeps its file open and some memory and a merged one may
(256 of them at a time), and nodes of the past."""
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness      # noqa: E402
from harness import json_of, pattern, read_file, varve, write_file      # noqa: E402

SECONDS = int(os.environ.get("VARVE_SOAK_SECONDS", harness.by_size(10, 20, 3600)))
PACE_S = float(os.environ.get("VARVE_SOAK_PACE", "0.02"))
harness.DEADLINE_S = SECONDS + 600
READERS = 2
FILES = 20
FILE_BYTES = 64 * 1024
SAMPLE_S = min(2, SECONDS / 30)
PEAK_S = 0.05                   # between two looks at the memory
LINE_S = min(60, SECONDS / 10)
SHORT = SECONDS < 600
# A third of a short run may meet a merge of 16 runs, of 544 KiB each (engine/merge.h), where the one before met
# few; those of a long run all do.
MEMORY_SLACK = (4 << 20) + (16 * 544 << 10 if SHORT else 0)
# What a sealed layer takes: its descriptor and footer, and its place in the map.
LAYER_BYTES = 4096
NODE_BYTES = 88                 # fs/README.md
TABLE_FILES_OPEN = 256          # as core/README.md's bounds have it
THREADS_MAX = 32 + 10           # those that answer requests (fs/README.md), and varve's own
# So that even a short run seals layers, and an hour's are merged on two levels.
OPTIONS = ["layer=4M" if SHORT else "layer=16M", "cache=4M"]


class Peak:
    """The highest RssAnon of a process since it was last asked for, seen by a thread."""

    def __init__(self, pid):
        self.status = pathlib.Path("/proc", str(pid), "status")
        self.highest, self.stopping = 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stopping.wait(PEAK_S):
            self.highest = max(self.highest, self.now())

    def now(self):
        line = self.status.read_text().partition("RssAnon:")[2]
        return int(line.split()[0]) << 10

    def take(self):
        highest, self.highest = max(self.highest, self.now()), 0
        return highest

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


class Soak(harness.ServerCase):
    def figures(self, m, peak):
        """What the server holds now; of memory the most since the figures before."""
        (server,) = m.servers()
        process = pathlib.Path("/proc", str(server))
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        info = json_of(self, varve("info", m.point, "--json"))
        layers = info["layer_count"] + min(info["table_count"], TABLE_FILES_OPEN)
        threads = int(status["Threads"])
        return {"memory": peak.take(),
                "index": info["index_bytes"], "cache": info["cache_bytes"],
                "nodes": info["past_node_count"], "node limit": info["past_node_limit"],
                "layers": layers, "threads": threads,
                # libfuse starts threads as requests meet, up to a bound; each has a descriptor.
                "descriptors": len(os.listdir(process / "fd")) - layers - threads}

    def watch(self, m, failures, rounds):
        """The samples of the run, each with its time; a line of them now and then."""
        samples, started, told = [], time.monotonic(), 0
        merged = 0
        with Peak(m.servers()[0]) as peak:
            while (now := time.monotonic() - started) < SECONDS and not failures:
                samples.append((now, self.figures(m, peak)))
                if now >= told * LINE_S:
                    told += 1
                    self.tell(samples[-1], rounds)
                if SHORT and now > (merged + 1 / 2) * SECONDS / 3:
                    merged += 1
                    self.assertEqual(varve("compact", m.point).returncode, 0)
                time.sleep(SAMPLE_S)
        return samples

    def tell(self, sample, rounds):
        now, found = sample
        print(f"{now:6.0f} s: memory {found['memory'] / 1e6:6.1f} MB, "
              f"index {found['index'] / 1e6:5.1f} MB, cache {found['cache'] / 1e6:.1f} MB, "
              f"{found['nodes']:6} nodes, {found['layers']:4} layers, "
              f"{found['threads']} threads, {found['descriptors']} other descriptors, "
              f"{rounds[0]} writes, {sum(rounds[1:])} reads", flush=True)

    def meet_all_threads(self, m):
        """libfuse makes one more when a request finds all others busy: let many come at once, each for a
        file of its own, as the kernel lets one sync of a file go at a time."""
        def turn(i):
            path = m.head / f"caller{i}"
            with open(path, "wb") as file:
                for _ in range(10):
                    file.write(pattern(FILE_BYTES, salt=i))
                    file.flush()
                    os.fsync(file.fileno())
            os.unlink(path)

        callers = [threading.Thread(target=turn, args=(i,)) for i in range(2 * THREADS_MAX)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    def assert_steady(self, samples):
        def peak(of, first, last):
            return max(of(found) for at, found in samples if first <= at / SECONDS < last)

        def memory(found):
            return (found["memory"] - found["layers"] * LAYER_BYTES -
                    min(found["nodes"], found["node limit"]) * NODE_BYTES)

        before, after = peak(memory, 1 / 3, 2 / 3), peak(memory, 2 / 3, 2)
        print(f"highest memory {before / 1e6:.1f} MB in the second third, {after / 1e6:.1f} MB in the "
              f"last; up to {peak(lambda found: found['nodes'], 0, 2)} nodes")
        self.assertLess(after, before + MEMORY_SLACK)
        self.assertLess(peak(lambda found: found["nodes"] - found["node limit"], 0, 2), 0)
        self.assertLessEqual(peak(lambda found: found["threads"], 0, 2), THREADS_MAX)
        self.assertLessEqual(peak(lambda found: found["descriptors"], 2 / 3, 2),
                             peak(lambda found: found["descriptors"], 1 / 3, 2 / 3) + 4)

    def test_nothing_grows(self):
        m = self.mount_new(options=OPTIONS)
        self.meet_all_threads(m)
        stop, failures, rounds = threading.Event(), [], [0] * (1 + READERS)

        def worker(index, turn):
            try:
                while not stop.is_set():
                    turn(rounds[index])
                    rounds[index] += 1
                    time.sleep(PACE_S)
            except (OSError, AssertionError) as error:
                failures.append(error)

        def write(i):
            path = m.head / f"file{i % FILES}"
            write_file(path, pattern(FILE_BYTES, salt=i))
            with open(path, "r+b") as file:
                file.seek(i * 137 % FILE_BYTES)
                file.write(b"changed in the middle")
                if i % 8 == 0:
                    os.fsync(file.fileno())
            os.rename(path, m.head / "moved")
            os.rename(m.head / "moved", path)

        def read(i):
            if not rounds[0]:
                return
            lsn = m.oldest() + (m.latest() - m.oldest()) * (i % 97) // 97
            for name in os.listdir(m.at(lsn)):
                if (i + len(name)) % 3 == 0:
                    read_file(m.at(lsn) / name)

        threads = [threading.Thread(target=worker, args=(i, read if i else write))
                   for i in range(1 + READERS)]
        for thread in threads:
            thread.start()
        try:
            samples = self.watch(m, failures, rounds)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(rounds[0], SECONDS)
        self.assert_steady(samples)
        m.remount()
        for i in range(max(0, rounds[0] - FILES), rounds[0]):
            data = bytearray(pattern(FILE_BYTES, salt=i))
            data[i * 137 % FILE_BYTES:i * 137 % FILE_BYTES + 21] = b"changed in the middle"
            self.assertEqual(read_file(m.head / f"file{i % FILES}"), bytes(data))


if __name__ == "__main__":
    harness.main()
