#!/usr/bin/python3
"""A soak: writers, syncs, renames and readers of the past on one mount for
$VARVE_SOAK_SECONDS. The server's memory, descriptors and threads don't grow, and what
was written is there.

The load is paced, so that an hour's history fits a disk. Memory is what is the process's
own (RssAnon): mapped layers are the page cache's. A sealed layer keeps its file open, so
that is taken off the descriptors; layers are not merged yet."""
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness      # noqa: E402
from harness import json_of, pattern, read_file, varve, write_file      # noqa: E402

SECONDS = int(os.environ.get("VARVE_SOAK_SECONDS", harness.by_size(10, 20, 3600)))
harness.DEADLINE_S = SECONDS + 600
# By then every cache there is has been filled that this load fills.
WARM_UP = 0.3
PACE_S = 0.02
FILES = 20
FILE_BYTES = 64 * 1024
MEMORY_SLACK = 16 << 20
THREADS_MAX = 32 + 8            # those that answer requests (fs/README.md), and varve's own
# So that even a short run seals layers.
OPTIONS = ["layer=4M", "cache=4M"] if SECONDS < 600 else ["cache=4M"]


class Soak(harness.ServerCase):
    def figures(self, m):
        """What the server holds now: anonymous memory, descriptors, threads."""
        (server,) = m.servers()
        process = pathlib.Path("/proc", str(server))
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        layers = json_of(self, varve("info", m.point, "--json"))["layer_count"]
        return {"memory": int(status["RssAnon"].split()[0]) << 10,
                "descriptors": len(os.listdir(process / "fd")) - layers,
                "threads": int(status["Threads"]), "layers": layers}

    def test_nothing_grows(self):
        m = self.mount_new(options=OPTIONS)
        stop, failures, rounds = threading.Event(), [], [0, 0]

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

        threads = [threading.Thread(target=worker, args=(0, write)),
                   threading.Thread(target=worker, args=(1, read))]
        for thread in threads:
            thread.start()
        try:
            started, first = time.monotonic(), None
            while time.monotonic() - started < SECONDS and not failures:
                time.sleep(min(5, SECONDS / 20))
                if first is None and time.monotonic() - started > SECONDS * WARM_UP:
                    first = self.figures(m)
            last = self.figures(m)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        print(f"{SECONDS} s, {rounds[0]} rounds of writes, {rounds[1]} of reads\n"
              f"first: {first}\nlast:  {last}")
        self.assertGreater(rounds[0], SECONDS)
        self.assertLess(last["memory"], first["memory"] + MEMORY_SLACK)
        # libfuse starts threads as requests meet, up to a bound; each has a descriptor.
        self.assertLessEqual(last["threads"], THREADS_MAX)
        self.assertLessEqual(last["descriptors"] - last["threads"],
                             first["descriptors"] - first["threads"] + 4)
        m.remount()
        for i in range(max(0, rounds[0] - FILES), rounds[0]):
            data = bytearray(pattern(FILE_BYTES, salt=i))
            data[i * 137 % FILE_BYTES:i * 137 % FILE_BYTES + 21] = b"changed in the middle"
            self.assertEqual(read_file(m.head / f"file{i % FILES}"), bytes(data))


if __name__ == "__main__":
    harness.main()
