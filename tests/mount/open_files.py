#!/usr/bin/python3
"""What is open, and what the kernel remembers, costs the server no descriptor; and locks of every
kind are the kernel's own."""
import errno
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys

import harness
from harness import read_file, wait_for, write_file

FILES = 5000
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
LOCK = "hhqqi4x"        # struct flock of 64 bits: type, whence, start, length, pid


class Descriptors(harness.MountCase):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES + 500), max(hard, FILES + 500)))

    def server_descriptors(self):
        """How many the server has, but for those of its threads' queues: one a thread, at most 32."""
        (server,) = self.m.servers()
        links = []
        for number in os.listdir(f"/proc/{server}/fd"):
            try:
                links.append(os.readlink(f"/proc/{server}/fd/{number}"))
            except FileNotFoundError:
                pass
        queues = sum(link.endswith("/fuse") for link in links)
        self.assertLessEqual(queues, 33)
        return len(links) - queues

    def open_all(self, folder, flags):
        opened = []
        for i in range(FILES):
            fd = os.open(folder / str(i), flags, 0o644)
            opened.append(fd)
            self.addCleanup(os.close, fd)
        return opened

    def test_open_files_and_known_inodes_cost_none(self):
        read_file(self.m.point / ".varve" / "stats")
        before = self.server_descriptors()
        head = self.open_all(self.dir, os.O_CREAT | os.O_RDWR)
        for i, fd in enumerate(head):
            os.write(fd, b"%d" % i)
        self.assertLessEqual(self.server_descriptors(), before + 8)
        lsn = self.m.latest()
        past = self.open_all(self.past(lsn), os.O_RDONLY)
        for i, fd in enumerate(head):
            os.unlink(self.dir / str(i))
        for i, (here, there) in enumerate(zip(head, past)):
            self.assertEqual(os.pread(here, 10, 0), b"%d" % i)
            self.assertEqual(os.pread(there, 10, 0), b"%d" % i)
        os.fsync(head[0])
        # A flush, or a layer that is looked at, may hold a few for a moment; files don't.
        wait_for(f"as many descriptors as before: {before}, now {self.server_descriptors()}",
                 lambda: self.server_descriptors() <= before + 8)
        print(f"{2 * FILES} files open; the server's descriptors beside its queues: {before} before, "
              f"{self.server_descriptors()} now", flush=True)


class Locks(harness.MountCase):
    """Each kind between processes: granted, refused, waited for, and gone with who held it."""

    def setUp(self):
        super().setUp()
        self.path = self.dir / "file"
        write_file(self.path, b"x" * 1000)

    def open(self):
        fd = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, fd)
        return fd

    def other(self, code):
        """A process with the file open as fd that runs @code, says so, and waits; killed at the end."""
        process = subprocess.Popen(
            [sys.executable, "-c", "import fcntl, os, struct, sys\n"
             f"fd = os.open({str(self.path)!r}, os.O_RDWR)\n"
             f"LOCK = {LOCK!r}\n{code}\nprint('done', flush=True)\nsys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for cleanup in (process.stdout.close, process.stdin.close, process.wait, process.kill):
            self.addCleanup(cleanup)
        return process

    def assert_held_until_killed(self, code, try_lock, wait_lock):
        """Another process locks by @code; here try_lock fails until it is killed, and wait_lock waits."""
        holder = self.other(code)
        self.assertEqual(holder.stdout.readline(), "done\n")
        with self.assertRaises(OSError) as caught:
            try_lock()
        self.assertIn(caught.exception.errno, (errno.EAGAIN, errno.EACCES))
        waiting = os.fork()
        if waiting == 0:
            try:
                wait_lock()
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(waiting, os.WNOHANG), (0, 0))
        os.kill(holder.pid, signal.SIGKILL)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(waiting, 0)[1]), 0)
        wait_for("the lock is free", lambda: self.succeeds(try_lock))

    def succeeds(self, call):
        try:
            call()
            return True
        except OSError:
            return False

    def test_flock(self):
        fd = self.open()

        def wait_lock():
            fcntl.flock(os.open(self.path, os.O_RDWR), fcntl.LOCK_EX)
        self.assert_held_until_killed("fcntl.flock(fd, fcntl.LOCK_EX)",
                                      lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), wait_lock)

    def test_flock_shared(self):
        holder = self.other("fcntl.flock(fd, fcntl.LOCK_SH)")
        self.assertEqual(holder.stdout.readline(), "done\n")
        fd = self.open()
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.assert_errno(errno.EAGAIN, fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_fcntl(self):
        fd = self.open()
        self.assert_held_until_killed(
            "fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)",
            lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 13),
            lambda: fcntl.lockf(fd, fcntl.LOCK_EX, 2, 13))

    def test_fcntl_ranges_apart_and_who_holds_one(self):
        holder = self.other("fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)")
        self.assertEqual(holder.stdout.readline(), "done\n")
        fd = self.open()
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 15)
        said = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(LOCK, fcntl.F_WRLCK, 0, 0, 0, 0))
        self.assertEqual(struct.unpack(LOCK, said), (fcntl.F_WRLCK, 0, 5, 10, holder.pid))

    def test_fcntl_goes_with_any_close_of_the_process(self):
        fd = self.open()
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.close(os.open(self.path, os.O_RDONLY))
        holder = self.other("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
        self.assertEqual(holder.stdout.readline(), "done\n")

    def test_a_deadlock_is_told(self):
        fd = self.open()
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
        holder = self.other("fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)\nprint('one', flush=True)\n"
                            "fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)")
        self.assertEqual(holder.stdout.readline(), "one\n")
        wait_for("the other waits", lambda: self.waits_for_a_lock(holder.pid))
        self.assert_errno(errno.EDEADLK, fcntl.lockf, fd, fcntl.LOCK_EX, 1, 1)

    def waits_for_a_lock(self, pid):
        with open("/proc/locks", encoding="ascii") as table:
            return any("->" in line and str(pid) in line.split() for line in table)

    def ofd(self, fd, how=F_OFD_SETLK, kind=fcntl.F_WRLCK):
        fcntl.fcntl(fd, how, struct.pack(LOCK, kind, 0, 5, 10, 0))

    def test_ofd(self):
        fd = self.open()

        def wait_lock():
            self.ofd(os.open(self.path, os.O_RDWR), F_OFD_SETLKW)
        self.assert_held_until_killed(
            f"fcntl.fcntl(fd, {F_OFD_SETLK}, struct.pack(LOCK, {fcntl.F_WRLCK}, 0, 5, 10, 0))",
            lambda: self.ofd(fd), wait_lock)

    def test_ofd_is_of_the_open_file_and_not_of_the_process(self):
        one, two, same = self.open(), self.open(), None
        self.ofd(one)
        self.assert_errno(errno.EAGAIN, self.ofd, two)
        same = os.dup(one)
        os.close(os.open(self.path, os.O_RDONLY))
        self.assert_errno(errno.EAGAIN, self.ofd, two)
        self.ofd(same, kind=fcntl.F_UNLCK)
        self.ofd(two)
        os.close(same)

    def test_locks_of_the_past_are_as_of_any_file_that_is_read(self):
        past = self.past(self.m.latest()) / "file"
        with open(past, "rb") as one, open(past, "rb") as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            self.assert_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(one, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.assert_errno(errno.EBADF, fcntl.lockf, one, fcntl.LOCK_EX | fcntl.LOCK_NB)


if __name__ == "__main__":
    harness.main()
