#!/usr/bin/python3
"""The mount goes away in mid-write: its FUSE connection aborted, unmounted lazily, its
server told to end or killed. Nobody hangs, a remount works at once, and every write that
had returned is there; after a sync that had returned, or an orderly end, all of it.

Writers are processes, each appending records of its own to its own file, some with fsync,
and each notes outside of the mount what returned. A call that is still in the kernel
after HANG_S is a hang."""
import errno
import mmap
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import harness
from harness import pattern, read_file, wait_for

WRITERS = 4
RECORD = 8192
HANG_S = 5
ROUNDS = harness.by_size(1, 3, 10)
# What a call may say once the mount is gone under it.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.ENOENT, errno.EIO)


def writer_run(path, log_path, salt):
    """Append until a call fails; the log gets a line for each record that returned."""
    log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    count = 0
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        while True:
            if os.write(fd, pattern(RECORD, salt + count)) != RECORD:
                raise OSError(errno.EOVERFLOW, "a short write")
            count += 1
            os.write(log, b"%d\n" % count)
            if count % 50 == 0:
                os.fsync(fd)
    except OSError as error:
        os.write(log, b"end %d\n" % error.errno)


class Writer:
    def __init__(self, m, index):
        self.name = f"file{index}"
        self.log = m.folder / f"log{index}"
        self.salt = index * 1_000_000
        self.pid = os.fork()
        if self.pid == 0:
            try:
                writer_run(m.head / self.name, self.log, self.salt)
            finally:
                os._exit(0)

    def ended(self):
        if self.pid:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
            self.pid = 0 if pid else self.pid
        return not self.pid

    def stop(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            wait_for("a killed writer is gone", self.ended, timeout=HANG_S)

    def acknowledged(self):
        """How many records returned, and the errno that ended it."""
        lines = self.log.read_bytes().splitlines()
        end = int(lines.pop().split()[1]) if lines and lines[-1].startswith(b"end") else 0
        return (int(lines[-1]) if lines else 0), end


def connection_of(point):
    """The number of the FUSE connection mounted at @point: its device's minor."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        words = line.split()
        if words[4] == str(point):
            return words[2].split(":")[1]
    raise AssertionError(f"{point} is not mounted")


class GoesAway(harness.ServerCase):
    def start(self, m):
        writers = [Writer(m, i) for i in range(WRITERS)]
        for writer in writers:
            self.addCleanup(writer.stop)
        wait_for("every writer is at work", lambda: all(
            writer.log.exists() and writer.acknowledged()[0] > 20 for writer in writers))
        return writers

    def assert_all_end(self, writers):
        wait_for("no writer hangs", lambda: all(writer.ended() for writer in writers),
                 timeout=HANG_S)
        for writer in writers:
            self.assertIn(writer.acknowledged()[1], GONE)

    def assert_remount(self, m):
        """The store can be mounted again as soon as the server is gone."""
        wait_for("the server is gone", lambda: not m.servers(), timeout=HANG_S)
        m.clear()
        started = time.monotonic()
        m.mount()
        self.assertLess(time.monotonic() - started, HANG_S)

    def assert_nothing_lost(self, m, writers):
        total = 0
        for writer in writers:
            count, _ = writer.acknowledged()
            data = read_file(m.head / writer.name)
            for i in range(count):
                self.assertEqual(data[i * RECORD:(i + 1) * RECORD], pattern(RECORD, writer.salt + i),
                                 f"{writer.name}: record {i} of {count} acknowledged")
            # One more may have been under way: whole, as a request of whole pages is.
            self.assertIn(len(data), (count * RECORD, (count + 1) * RECORD))
            total += count
        print(f"{total} acknowledged records", flush=True)

    def rounds(self, end):
        """@end(m) takes the mount away from four writers."""
        for _ in range(ROUNDS):
            m = self.mount_new(options=["layer=4M"])
            writers = self.start(m)
            end(m)
            self.assert_all_end(writers)
            self.assert_remount(m)
            self.assert_nothing_lost(m, writers)
            m.remount()
            self.assert_nothing_lost(m, writers)
            m.close()

    def test_connection_aborted(self):
        control = pathlib.Path("/sys/fs/fuse/connections")
        if not any(control.iterdir()) and not os.path.ismount(control):
            harness.run("mount", "-t", "fusectl", "fusectl", control)
            self.addCleanup(harness.run, "umount", control)
        self.rounds(lambda m: (control / connection_of(m.point) / "abort").write_text("1"))

    def test_sigterm(self):
        self.rounds(lambda m: [os.kill(pid, signal.SIGTERM) for pid in m.servers()])

    def test_sigkill(self):
        self.rounds(lambda m: [os.kill(pid, signal.SIGKILL) for pid in m.servers()])

    def test_unmounted_lazily(self):
        """Who has a file open goes on with it; when the last is closed the server ends in order."""
        for _ in range(ROUNDS):
            m = self.mount_new(options=["layer=4M"])
            writers = self.start(m)
            before = [writer.acknowledged()[0] for writer in writers]
            harness.run("umount", "-l", m.point)
            wait_for("writers go on", lambda b=before, w=writers: all(
                writer.acknowledged()[0] > count + 20 for writer, count in zip(w, b)))
            for writer in writers:
                writer.stop()
            wait_for("the server ends once nobody uses it", lambda: not m.servers(), timeout=HANG_S)
            m.mount()
            self.assert_nothing_lost(m, writers)
            m.close()

    def test_commands_on_a_mount_that_is_gone(self):
        """Reads, lookups and listings of a dead mount fail at once; they don't wait."""
        m = self.mount_new()
        harness.write_file(m.head / "file", b"x" * 100_000)
        fd = os.open(m.head / "file", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        for pid in m.servers():
            os.kill(pid, signal.SIGSTOP)        # alive, and never to answer
        reading = subprocess.Popen(["cat", m.lsn / "latest" / "rel" / "file"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        self.assertIsNone(reading.poll())
        for pid in m.servers():
            os.kill(pid, signal.SIGKILL)
        self.assertNotEqual(reading.wait(timeout=HANG_S), 0)
        for call in (lambda: os.listdir(m.head), lambda: os.stat(m.head / "none"),
                     lambda: os.open(m.head / "new", os.O_CREAT | os.O_WRONLY)):
            started = time.monotonic()
            with self.assertRaises(OSError):
                call()
            self.assertLess(time.monotonic() - started, HANG_S)
        self.assert_remount(m)
        self.assertEqual(len(read_file(m.head / "file")), 100_000)


SPARSE = 128 << 20


def map_run(path):
    """Store to pages of a mapping, here and there."""
    with mmap.mmap(os.open(path, os.O_RDWR), SPARSE) as mapping:
        while True:
            mapping[random.randrange(SPARSE // mmap.PAGESIZE) * mmap.PAGESIZE] = 65


def punch_run(path):
    while True:
        subprocess.run(["fallocate", "-p", "-o", "0", "-l", str(SPARSE), path], check=True,
                       stderr=subprocess.DEVNULL)


def seek_run(path):
    """From hole to hole, of which the server has the kernel write back what was stored there."""
    fd = os.open(path, os.O_RDWR)
    at = 0
    while True:
        try:
            at = os.lseek(fd, os.lseek(fd, at, os.SEEK_DATA), os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            at = 0


class Seeking(harness.ServerCase):
    def start(self, run, path):
        pid = os.fork()
        if pid == 0:
            try:
                run(path)
            finally:
                os._exit(0)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)

    def test_sigterm_while_seeks_write_mappings_back(self):
        for _ in range(harness.by_size(1, 4, 40)):
            m = self.mount_new(options=["layer=4M"])
            with open(m.head / "file", "wb") as file:
                file.truncate(SPARSE)
            for run in (map_run, map_run, punch_run, seek_run, seek_run, seek_run, seek_run):
                self.start(run, m.head / "file")
            time.sleep(1)
            for pid in m.servers():
                os.kill(pid, signal.SIGTERM)
            wait_for("the server is gone", lambda m=m: not m.servers(), timeout=HANG_S)
            self.doCleanups()


class OtherNamespace(harness.ServerCase):
    """A process elsewhere has a mount namespace of its own, made while the mount was there: it
    holds a copy, which no unmount here takes away."""

    def copy_of_mounts(self, m):
        """Another namespace, by the process in it."""
        process = subprocess.Popen(["unshare", "--mount", "--propagation", "private",
                                    "sh", "-c", "echo made; exec sleep 1000"], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"made\n")
        self.assertIn(str(m.point), pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text("utf-8"))
        return process

    def write_through_mapping(self, m):
        """Pages that only the kernel has."""
        harness.write_file(m.head / "file", pattern(100_000))
        with open(m.head / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            mapping[50_000:50_006] = b"mapped"
        data = pattern(100_000)
        return data[:50_000] + b"mapped" + data[50_006:]

    def assert_ended(self, m, copy, wanted):
        self.assertEqual(m.servers(), [])
        with self.assertRaises(OSError) as caught:
            os.listdir(f"/proc/{copy.pid}/root{m.head}")
        self.assertIn(caught.exception.errno, GONE)
        m.mount()
        self.assertEqual(read_file(m.head / "file"), wanted)
        m.close()

    def test_varve_umount_ends_the_server(self):
        m = self.mount_new()
        copy, wanted = self.copy_of_mounts(m), self.write_through_mapping(m)
        started = time.monotonic()
        m.umount()
        self.assertLess(time.monotonic() - started, 2 * HANG_S)
        self.assert_ended(m, copy, wanted)

    def test_varve_umount_ends_it_though_too_many_wait(self):
        m = self.mount_new()
        copy, wanted = self.copy_of_mounts(m), self.write_through_mapping(m)
        silent = [socket.socket(socket.AF_UNIX) for _ in range(16)]
        here = os.open(m.store, os.O_PATH)
        for connection in silent:
            connection.connect(f"/proc/self/fd/{here}/socket")
            self.addCleanup(connection.close)
        os.close(here)
        started = time.monotonic()
        m.umount()
        self.assertLess(time.monotonic() - started, 2 * HANG_S)
        self.assert_ended(m, copy, wanted)

    def test_sigterm_ends_the_server(self):
        m = self.mount_new()
        copy, wanted = self.copy_of_mounts(m), self.write_through_mapping(m)
        for pid in m.servers():
            os.kill(pid, signal.SIGTERM)
        wait_for("the server ends", lambda: not m.servers(), timeout=2 * HANG_S)
        self.assert_ended(m, copy, wanted)

    def test_a_server_that_was_unmounted_leaves_the_mount_point_alone(self):
        """umount(8) leaves the copy, as of every file system. The mount point is used anew, and
        then the server is told to end."""
        m, other = self.mount_new(), self.mount_new(mounted=False)
        copy, wanted = self.copy_of_mounts(m), self.write_through_mapping(m)
        (server,) = m.servers()
        harness.run("umount", m.point)
        self.assertEqual(read_file(f"/proc/{copy.pid}/root{m.head}/file"), wanted)
        harness.run(harness.VARVE, "mount", other.store, m.point)
        harness.write_file(m.head / "other", b"x")
        os.kill(server, signal.SIGTERM)
        wait_for("the server ends", lambda: not m.servers(), timeout=2 * HANG_S)
        self.assertEqual(os.listdir(m.head), ["other"])
        harness.run(harness.VARVE, "umount", m.point)
        self.assert_ended(m, copy, wanted)

    def test_an_unmount_right_after_the_mount(self):
        """The server's own first look at the mount is no use of it."""
        for _ in range(harness.by_size(10, 30)):
            m = self.mount_new(mounted=False)
            server = subprocess.Popen([harness.VARVE, "mount", "-f", m.store, m.point],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(server.kill)
            wait_for("the mount is there", lambda m=m: harness.is_mounted(m.point))
            m.umount()
            self.assertEqual(server.wait(HANG_S), 0)
            m.close()


if __name__ == "__main__":
    harness.main()
