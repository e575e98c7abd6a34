#!/usr/bin/python3
"""A soak: a writer with syncs and renames and two readers of the past on one mount for
$VARVE_SOAK_SECONDS. The server's memory, descriptors and threads don't grow, and what was
written is there.

The load is paced ($VARVE_SOAK_PACE seconds between two rounds), so that an hour's history
fits a disk. Memory is what is the process's own (RssAnon): mapped layers are the page
cache's. A line is printed a minute, so that what grows can be told from what grows with it.

The first third fills every cache there is: it reads more of the past than the server lets the
kernel remember. Then the highest memory of the last third is held against the highest of the
second. A sealed layer keeps its file open and some memory, a merged one may (256 of them at a time), so
both are taken off by the layer."""
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
LINE_S = min(60, SECONDS / 10)
# A short run is over before every cache is full.
MEMORY_SLACK = (4 if SECONDS >= 600 else 16) << 20
# What a sealed layer takes: its descriptor and footer, and its place in the map.
LAYER_BYTES = 4096
TABLE_FILES_OPEN = 256          # as core/README.md's bounds have it
THREADS_MAX = 32 + 10           # those that answer requests (fs/README.md), and varve's own
# So that even a short run seals layers.
OPTIONS = ["layer=4M", "cache=4M"] if SECONDS < 600 else ["cache=4M"]


class Soak(harness.ServerCase):
    def figures(self, m):
        """What the server holds now."""
        (server,) = m.servers()
        process = pathlib.Path("/proc", str(server))
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        info = json_of(self, varve("info", m.point, "--json"))
        layers = info["layer_count"] + min(info["table_count"], TABLE_FILES_OPEN)
        threads = int(status["Threads"])
        return {"memory": int(status["RssAnon"].split()[0]) << 10,
                "index": info["index_bytes"], "cache": info["cache_bytes"],
                "nodes": info["past_node_count"], "node limit": info["past_node_limit"],
                "layers": layers, "threads": threads,
                # libfuse starts threads as requests meet, up to a bound; each has a descriptor.
                "descriptors": len(os.listdir(process / "fd")) - layers - threads}

    def watch(self, m, failures, rounds):
        """The samples of the run, each with its time; a line of them now and then."""
        samples, started, told = [], time.monotonic(), 0
        while (now := time.monotonic() - started) < SECONDS and not failures:
            samples.append((now, self.figures(m)))
            if now >= told * LINE_S:
                told += 1
                found = samples[-1][1]
                print(f"{now:6.0f} s: memory {found['memory'] / 1e6:6.1f} MB, "
                      f"index {found['index'] / 1e6:5.1f} MB, cache {found['cache'] / 1e6:.1f} MB, "
                      f"{found['nodes']:6} nodes, {found['layers']:4} layers, "
                      f"{found['threads']} threads, {found['descriptors']} other descriptors, "
                      f"{rounds[0]} writes, {sum(rounds[1:])} reads", flush=True)
            time.sleep(SAMPLE_S)
        return samples

    def assert_steady(self, samples):
        def peak(of, first, last):
            return max(of(found) for at, found in samples if first <= at / SECONDS < last)

        def memory(found):
            return found["memory"] - found["layers"] * LAYER_BYTES

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
