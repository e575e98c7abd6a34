#!/usr/bin/python3
"""A full disk: ENOSPC comes to the writer, before a write is acknowledged; reads of head and
past go on; nothing is lost; once there is space, writes go on without a remount; and varve check finds nothing."""
import errno
import os
import pathlib
import subprocess
import threading

import harness
from harness import pattern, read_file, run, varve

# Records of whole pages: a write that begins inside of a page is cut in two by
# the kernel, and the first half may still find room.
RECORD = 24 * 4096
SMALL_RECORD = 8 * 4096
DISK_MIB = 256
BALLAST_MIB = 48


class FullDisk(harness.ServerCase):
    def ballast(self, disk, mib):
        run("fallocate", "-l", f"{mib}M", disk / "ballast")

    @staticmethod
    def fill(m, name, written, size=RECORD):
        """Append records until the disk is full; what was acknowledged goes to @written as
        (index, LSN after). The errno that ended it."""
        fd = os.open(m.head / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            while True:
                try:
                    count = os.write(fd, pattern(size, salt=len(written)))
                except OSError as error:
                    return error.errno
                if count != size:
                    return f"a write of {size} bytes took {count}"
                written.append((len(written), m.latest()))
        finally:
            os.close(fd)

    def assert_holds(self, m, name, written, size=RECORD, samples=40):
        """Every acknowledged record is at the head, and the last one of its time at its LSN."""
        with open(m.head / name, "rb") as file:
            for index, _ in written:
                self.assertEqual(file.read(size), pattern(size, salt=index), index)
            self.assertEqual(file.read(), b"")
        for index, lsn in written[::max(1, len(written) // samples)] + written[-1:]:
            with open(m.at(lsn) / name, "rb", buffering=0) as file:
                self.assertEqual(os.pread(file.fileno(), 2 * size, index * size),
                                 pattern(size, salt=index), lsn)

    def fill_and_go_on(self, kind):
        disk = harness.disk_new(self, kind, DISK_MIB)
        self.ballast(disk, BALLAST_MIB)
        (disk / "v").mkdir()
        m = self.mount_new(folder=disk / "v")
        written = []
        self.assertEqual(self.fill(m, "log", written), errno.ENOSPC)
        print(f"{kind}: {len(written)} records of 96 KiB on a disk of {DISK_MIB} MiB")
        self.assertGreater(len(written), 100)
        for _ in range(20):
            self.assertEqual(self.fill(m, "log", written), errno.ENOSPC)
        self.assert_holds(m, "log", written)

        with self.subTest("unmounted and mounted on the full disk"):
            m.remount()
            self.assert_holds(m, "log", written)
        with self.subTest("killed on the full disk"):
            m.kill()
            m.mount()
            self.assert_holds(m, "log", written)

        os.unlink(disk / "ballast")
        before = len(written)
        self.assertEqual(self.fill(m, "log", written), errno.ENOSPC)
        self.assertGreater(len(written) - before, 50)
        self.assert_holds(m, "log", written)
        m.remount()
        self.assert_holds(m, "log", written)
        m.assert_clean()
        m.umount()
        m.assert_clean()

    def test_on_tmpfs(self):
        self.fill_and_go_on("tmpfs")

    def test_on_ext4(self):
        self.fill_and_go_on("ext4")

    def read_on(self, m, stop, failures, count):
        """What was there before goes on being read, at the head and in the past, until @stop."""
        n = m.latest()
        while not stop.is_set():
            try:
                for place in (m.head, m.at(n)):
                    if read_file(place / "before") != b"before" * 1000:
                        failures.append(place)
                count[0] += 1
            except OSError as error:
                failures.append(error)

    def test_four_writers_and_no_remount_on_ext4(self):
        self.four_writers_and_no_remount("ext4")

    def test_four_writers_and_no_remount_on_tmpfs(self):
        self.four_writers_and_no_remount("tmpfs")

    def four_writers_and_no_remount(self, kind):
        disk = harness.disk_new(self, kind, DISK_MIB)
        self.ballast(disk, BALLAST_MIB)
        (disk / "v").mkdir()
        m = self.mount_new(folder=disk / "v")
        logs = {f"log{i}": [] for i in range(4)}
        harness.write_file(m.head / "before", b"before" * 1000)
        stop, failures, reads = threading.Event(), [], [0]
        reader = threading.Thread(target=self.read_on, args=(m, stop, failures, reads))
        reader.start()
        self.addCleanup(reader.join)
        self.addCleanup(stop.set)
        for room in ("at first", "with the ballast gone"):
            ends = {}
            before = sum(map(len, logs.values()))
            threads = [threading.Thread(target=lambda n=name: ends.update(
                {n: self.fill(m, n, logs[n], SMALL_RECORD)})) for name in logs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(set(ends.values()), {errno.ENOSPC}, room)
            self.assertGreater(sum(map(len, logs.values())), before + 100, room)
            for name, written in logs.items():
                self.assert_holds(m, name, written, SMALL_RECORD, samples=10)
            (disk / "ballast").unlink(missing_ok=True)
        stop.set()
        reader.join()
        self.assertEqual(failures, [])
        self.assertGreater(reads[0], 10)
        m.kill()
        m.mount()
        for name, written in logs.items():
            self.assert_holds(m, name, written, SMALL_RECORD, samples=10)
        m.umount()
        m.assert_clean()

    def test_names_and_attributes_on_a_full_disk(self):
        disk = harness.disk_new(self, "tmpfs", DISK_MIB)
        (disk / "v").mkdir()
        m = self.mount_new(folder=disk / "v")
        harness.write_file(m.head / "file", b"content")
        self.fill(m, "log", [])
        self.fill(m, "log2", [], size=100)
        n = m.latest()
        calls = [lambda i: os.mkdir(m.head / f"dir{i}"),
                 lambda i: os.symlink("x", m.head / f"link{i}"),
                 lambda i: os.chmod(m.head / "file", 0o600 + i % 8)]
        ended = set()
        for call in calls:
            for i in range(5000):
                try:
                    call(i)
                except OSError as error:
                    ended.add(error.errno)
                    break
        self.assertLessEqual(ended, {errno.ENOSPC})
        self.assertEqual(read_file(m.head / "file"), b"content")
        self.assertEqual(read_file(m.at(n) / "file"), b"content")
        fd = os.open(m.head / "file", os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        self.assertEqual(len(m.servers()), 1)
        m.assert_clean()

    def test_mkfs_on_a_full_disk(self):
        disk = harness.disk_new(self, "tmpfs", DISK_MIB)
        self.ballast(disk, DISK_MIB - 1)
        done = varve("mkfs", disk / "store")
        if done.returncode == 0:        # if a store fits, then so must what a mount needs be told
            (disk / "point").mkdir()
            done = varve("mount", disk / "store", disk / "point")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"[Nn]o space|space left|full")
        os.unlink(disk / "ballast")
        subprocess.run([harness.VARVE, "mkfs", disk / "store"], check=False, capture_output=True,
                       timeout=30)
        self.assertEqual(varve("info", disk / "store").returncode, 0)
        self.assertTrue(pathlib.Path(disk, "store").is_dir())


if __name__ == "__main__":
    harness.main()
