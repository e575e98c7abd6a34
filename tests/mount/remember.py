#!/usr/bin/python3
"""What the kernel remembers of the past is bounded, and so is what the server holds of it;
what is in use stays, and what is shown stays right meanwhile.

Each class does the same by one of the two ways of asking the kernel to forget: by
FUSE_NOTIFY_PRUNE, which takes Linux 6.18, and as on a kernel that does not know it."""
import bisect
import os
import platform
import subprocess
import threading
import time
import unittest

import harness
from harness import json_of, read_file, varve, write_file

PATHS = harness.by_size(150_000, 150_000, 200_000)       # each of an LSN of its own
READERS = 4
READ_EVERY = 16


def kernel_prunes():
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) >= (6, 18)


class Remember:
    preload = None

    def mount_here(self):
        if self.preload:
            os.environ["LD_PRELOAD"] = str(self.preload)
        try:
            return self.mount_new()
        finally:
            os.environ.pop("LD_PRELOAD", None)

    def nodes(self):
        return json_of(self, varve("info", self.m.point, "--json"))["past_node_count"]

    def history_make(self):
        """A file of which the content is known at each LSN; the LSNs go on for PATHS."""
        random = harness.seeded_random()
        self.changes = []       # (LSN, content from there on)
        self.m.head.joinpath("folder").mkdir()
        first = None
        while first is None or self.m.latest() < first + PATHS + 1:
            content = random.randbytes(3000)
            write_file(self.m.head / "filler", random.randbytes(8192))
            write_file(self.m.head / "folder" / "a.new", content)
            os.rename(self.m.head / "folder" / "a.new", self.m.head / "folder" / "a")
            self.changes.append((self.m.latest(), content))
            first = first or self.m.latest()
        self.lsns = list(range(first, first + PATHS))
        random.shuffle(self.lsns)

    def content_at(self, lsn):
        return self.changes[bisect.bisect_right(self.changes, lsn, key=lambda change: change[0]) - 1][1]

    def look(self, part):
        """Look at every path of this part of the LSNs, reading some."""
        try:
            for i, lsn in enumerate(part):
                path = self.m.at(lsn) / "folder" / "a"
                if i % READ_EVERY == 0:
                    self.assertEqual(read_file(path), self.content_at(lsn))
                else:
                    self.assertEqual(os.stat(path).st_size, 3000)
        except (OSError, AssertionError) as error:
            self.failures.append(error)

    def test_looking_at_the_past_takes_bounded_memory(self):
        self.m = self.mount_here()
        self.history_make()
        limit = json_of(self, varve("info", self.m.point, "--json"))["past_node_limit"]
        used = self.lsns[0]
        folder = self.m.at(used) / "folder"
        worker = subprocess.Popen(
            ["/bin/sh", "-c", "read line; /bin/pwd; cat a; ls .."], cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        view_worker = subprocess.Popen(
            ["/bin/sh", "-c", "read line; /bin/pwd; cat rel/folder/a"], cwd=self.m.lsn / str(used),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for process in (worker, view_worker):
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        numbers = [os.stat(path).st_ino for path in (folder, folder / "a")]
        with open(folder / "a", "rb", buffering=0) as held:
            self.failures, most = [], 0
            readers = [threading.Thread(target=self.look, args=(self.lsns[i::READERS],))
                       for i in range(READERS)]
            for reader in readers:
                reader.start()
            while any(reader.is_alive() for reader in readers):
                most = max(most, self.nodes())
                time.sleep(0.05)
            self.assertEqual(self.failures, [])
            print(f"{PATHS} paths, 3 directories each, up to {most} nodes of {limit}")
            self.assertLess(most, limit)
            self.assertGreater(PATHS, limit)
            # What was in use all the while is what it was: from within, by hand, by name.
            for process, place, tail in ((worker, folder, b"filler\nfolder\n"),
                                         (view_worker, self.m.lsn / str(used), b"")):
                said, _ = process.communicate(b"\n", timeout=60)
                self.assertEqual(said, os.fsencode(place) + b"\n" + self.content_at(used) + tail)
                self.assertEqual(process.returncode, 0)
            self.assertEqual(held.read(), self.content_at(used))
            self.assertEqual(os.fstat(held.fileno()).st_ino, numbers[1])
            self.assertEqual([os.stat(path).st_ino for path in (folder, folder / "a")], numbers)

    def test_one_large_tree_seen_from_within(self):
        """A process that works in one LSN, and names nothing but what is below it."""
        self.m = self.mount_here()
        limit = json_of(self, varve("info", self.m.point, "--json"))["past_node_limit"]
        count = limit + limit // 2
        for i in range(64):
            os.mkdir(self.m.head / f"d{i}")
        for i in range(count):
            os.close(os.open(self.m.head / f"d{i % 64}" / f"f{i}", os.O_CREAT | os.O_WRONLY))
        place = self.m.at(self.m.latest())
        with subprocess.Popen(["/bin/sh", "-c", "for i in 1 2 3; do find . -size 0 | wc -l; done"],
                              cwd=place, stdout=subprocess.PIPE, text=True) as finder:
            most = 0
            while finder.poll() is None:
                most = max(most, self.nodes())
                time.sleep(0.05)
            self.assertEqual(finder.stdout.read().split(), [str(count)] * 3)
        print(f"{count} files three times over, up to {most} nodes of {limit}")
        self.assertLess(most, limit)


@unittest.skipUnless(kernel_prunes(), "the kernel is older than Linux 6.18")
class Prune(Remember, harness.ServerCase):
    pass


class Invalidate(Remember, harness.ServerCase):
    preload = harness.BUILD / "tests" / "libold_kernel.so"


if __name__ == "__main__":
    harness.main()
