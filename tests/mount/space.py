#!/usr/bin/env python3
"""The space of files on a mount: reserved, punched, copied, counted; at head and in the past."""
import ctypes
import errno
import mmap
import os
import random
import stat
import subprocess
import time

import harness
from harness import run

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
PAGE = 8192
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
LAST = (1 << 63) - 1

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def pieces(fd):
    """The stretches of data, as lseek tells them."""
    found, at, size = [], 0, os.fstat(fd).st_size
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def blocks(path):
    return os.stat(path).st_blocks


class SpaceCase(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.fds = []
        self.addCleanup(self.close_all)

    def open(self, path, flags=os.O_RDONLY):
        self.fds.append(os.open(path, flags, 0o644))
        return self.fds[-1]

    def open_new(self, name, flags=0):
        return self.open(self.dir / name, os.O_CREAT | os.O_RDWR | flags)

    def close_all(self):
        while self.fds:
            os.close(self.fds.pop())

    def remount(self):
        self.close_all()
        self.m.remount()

    def past_of(self, lsn, name):
        return self.m.point / "lsn" / str(lsn) / "rel" / self.dir.relative_to(self.m.head) / name

    def changes_of(self, call):
        """How many LSNs the file's history has more after it."""
        def count():
            found = harness.json_of(self, harness.varve("log", "--json", self.dir / "a"))
            return len(found["versions"])
        before = count()
        call()
        return count() - before


class Fallocate(SpaceCase):
    def test_reserving_grows_the_file_and_keeps_what_is_there(self):
        fd = self.open_new("a")
        os.write(fd, b"there")
        self.assertEqual(self.changes_of(lambda: fallocate(fd, 0, 2, 10 * MIB)), 1)
        self.assertEqual(os.fstat(fd).st_size, 10 * MIB + 2)
        self.assertEqual(os.pread(fd, 10, 0), b"there" + bytes(5))
        self.assertEqual(os.fstat(fd).st_blocks, PAGE // 512)
        fallocate(fd, KEEP_SIZE, 0, TIB)
        self.assertEqual(os.fstat(fd).st_size, 10 * MIB + 2)
        os.posix_fallocate(fd, 0, 3 * TIB)
        self.assertEqual(os.fstat(fd).st_size, 3 * TIB)

    def test_a_hole_reads_as_zeros_and_is_one_change(self):
        fd = self.open_new("a")
        data = os.urandom(40 * PAGE)
        os.write(fd, data)
        before = self.m.latest()
        self.assertEqual(self.changes_of(
            lambda: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 100, 20 * PAGE)), 1)
        holed = data[:100] + bytes(20 * PAGE) + data[20 * PAGE + 100:]
        self.assertEqual(os.pread(fd, len(data) + 1, 0), holed)
        self.assertEqual(pieces(fd), [(0, PAGE), (20 * PAGE, 40 * PAGE)])
        self.assertIn("punched 19 pages", harness.varve("log", self.dir / "a").stdout)
        self.assertEqual(blocks(self.dir / "a"), 21 * PAGE // 512)
        past = self.open(self.past_of(before, "a"), os.O_RDONLY)
        self.assertEqual(os.pread(past, len(data), 0), data)
        self.assertEqual(pieces(past), [(0, 40 * PAGE)])
        self.assertEqual(os.fstat(past).st_blocks, 40 * PAGE // 512)
        after = self.open(self.past_of(self.m.latest(), "a"), os.O_RDONLY)
        self.assertEqual(pieces(after), pieces(fd))
        self.assertEqual(os.fstat(after).st_blocks, 21 * PAGE // 512)
        self.remount()
        self.assertEqual((self.dir / "a").read_bytes(), holed)

    def test_zeroing_may_grow_the_file(self):
        fd = self.open_new("a")
        os.write(fd, b"x" * 3 * PAGE)
        fallocate(fd, ZERO_RANGE | KEEP_SIZE, PAGE, 9 * PAGE)
        self.assertEqual(os.pread(fd, 4 * PAGE, 0), b"x" * PAGE + bytes(2 * PAGE))
        fallocate(fd, ZERO_RANGE, 10, 9 * PAGE)
        self.assertEqual(os.pread(fd, 10 * PAGE, 0), b"x" * 10 + bytes(9 * PAGE))

    def test_what_is_not_offered_is_refused(self):
        fd = self.open_new("a")
        os.write(fd, b"x" * 3 * PAGE)
        for mode in (COLLAPSE, INSERT, PUNCH_HOLE, KEEP_SIZE | COLLAPSE):
            self.assert_errno(errno.EOPNOTSUPP, fallocate, fd, mode, PAGE, PAGE)
        self.assert_errno(errno.EINVAL, fallocate, fd, 0, 0, 0)
        past = self.open(self.past_of(self.m.latest(), "a"), os.O_RDONLY)
        self.assert_errno(errno.EBADF, fallocate, past, 0, 0, PAGE)

    def test_set_id_bits_go_when_another_user_punches(self):
        path = self.dir / "a"
        os.chmod(self.m.folder, 0o755)
        for mode, args in ((0, (0, 5)), (PUNCH_HOLE | KEEP_SIZE, (0, 1))):
            path.write_bytes(b"some bytes")
            os.chmod(path, 0o6777)
            pid = os.fork()
            if pid == 0:
                try:
                    os.setgid(1000)
                    os.setuid(1000)
                    fallocate(os.open(path, os.O_RDWR), mode, *args)
                    os._exit(0)
                finally:
                    os._exit(1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o777)

    def test_a_terabyte_is_punched_like_a_page(self):
        fd = self.open_new("a")
        os.ftruncate(fd, 16 * TIB)
        for at in range(0, 16):
            os.pwrite(fd, b"there", at * TIB + 5 * GIB)
        begun = time.monotonic()
        self.assertEqual(self.changes_of(
            lambda: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 2 * TIB, 12 * TIB)), 1)
        self.assertEqual([start // TIB for start, _ in pieces(fd)], [0, 1, 14, 15])
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(blocks(self.dir / "a"), 4 * PAGE // 512)
        self.assertEqual(os.pread(fd, 5, 3 * TIB + 5 * GIB), bytes(5))


class Synced(SpaceCase):
    def syncs_of(self, call):
        """How often the store was synced meanwhile."""
        def count():
            return harness.json_of(self, harness.varve("info", "--json", self.m.store))["sync_count"]
        before = count()
        call()
        return count() - before

    def test_what_is_opened_with_o_sync_is_durable_when_it_returns(self):
        source = self.open_new("source")
        os.write(source, bytes(range(256)) * 64)
        for flag, syncs in ((0, 0), (os.O_DSYNC, 1), (os.O_SYNC, 1)):
            self.close_all()
            source = self.open(self.dir / "source")
            for fd in (self.open_new("a", flag), self.open(self.dir / "a", os.O_RDWR | flag)):
                with self.subTest(flag=flag):
                    self.assertEqual(self.syncs_of(lambda: fallocate(fd, 0, 0, 3 * PAGE)), syncs)
                    self.assertEqual(self.syncs_of(
                        lambda: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, PAGE)), syncs)
                    self.assertEqual(self.syncs_of(
                        lambda: os.copy_file_range(source, fd, PAGE, 0, PAGE)), syncs)
                    self.assertEqual(os.pread(fd, PAGE, PAGE), os.pread(source, PAGE, 0))


class Mapped(SpaceCase):
    def test_a_mapping_sees_the_hole_at_once(self):
        fd = self.open_new("a")
        os.write(fd, b"x" * 16 * PAGE)
        shared = mmap.mmap(fd, 16 * PAGE)
        private = mmap.mmap(fd, 16 * PAGE, flags=mmap.MAP_PRIVATE)
        self.addCleanup(private.close)
        self.addCleanup(shared.close)
        self.assertEqual(shared[:] + private[:], b"x" * 32 * PAGE)
        private[0] = ord("p")
        shared[5 * PAGE] = ord("s")
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 2 * PAGE, 4 * PAGE)
        self.assertEqual(shared[2 * PAGE:6 * PAGE], bytes(4 * PAGE))
        self.assertEqual(private[2 * PAGE:6 * PAGE], bytes(4 * PAGE))
        self.assertEqual(private[0], ord("p"))
        self.assertEqual(shared[PAGE:2 * PAGE] + shared[6 * PAGE:], b"x" * 11 * PAGE)
        shared[3 * PAGE + 7] = ord("n")
        shared.flush()
        self.assertEqual(os.pread(fd, 4 * PAGE, 2 * PAGE),
                         bytes(PAGE + 7) + b"n" + bytes(3 * PAGE - 8))
        self.assertEqual(pieces(fd), [(0, 2 * PAGE), (3 * PAGE, 4 * PAGE), (6 * PAGE, 16 * PAGE)])

    def test_a_shared_mapping_may_lie_beyond_a_terabyte(self):
        fd = self.open_new("a")
        os.ftruncate(fd, 2 * TIB)
        with mmap.mmap(fd, PAGE, offset=TIB) as view:
            view[:5] = b"there"
            view.flush()
        self.assertEqual(os.pread(fd, 5, TIB), b"there")
        self.assertEqual(pieces(fd), [(TIB, TIB + PAGE)])


class Offsets(SpaceCase):
    def test_a_file_may_be_as_large_as_offsets_go(self):
        fd = self.open_new("a")
        os.ftruncate(fd, LAST)
        self.assertEqual(os.fstat(fd).st_size, LAST)
        os.pwrite(fd, b"far out", 5 * TIB + 3)
        os.pwrite(fd, b"end", LAST - 3)
        self.assertEqual(os.pread(fd, 3, LAST - 3), b"end")
        self.assertEqual(os.pread(fd, 7, 5 * TIB + 3), b"far out")
        self.assertEqual([start for start, _ in pieces(fd)], [5 * TIB, LAST // PAGE * PAGE])
        # What would end beyond the last offset the kernel does not hand on.
        self.assert_errno(errno.EINVAL, os.pwrite, fd, b"x", LAST)
        self.assert_errno(errno.EFBIG, fallocate, fd, 0, LAST - 5, 6)
        self.remount()
        self.assertEqual(os.stat(self.dir / "a").st_size, LAST)

    def test_seeking_in_what_is_not_there(self):
        fd = self.open_new("a")
        self.assert_errno(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
        self.assert_errno(errno.ENXIO, os.lseek, fd, 0, os.SEEK_HOLE)
        os.ftruncate(fd, 100)
        self.assert_errno(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
        self.assertEqual(os.lseek(fd, 50, os.SEEK_HOLE), 50)
        self.assert_errno(errno.ENXIO, os.lseek, fd, 100, os.SEEK_HOLE)
        os.pwrite(fd, b"x" * 3 * PAGE, 0)
        self.assertEqual(os.lseek(fd, 7, os.SEEK_DATA), 7)
        self.assertEqual(os.lseek(fd, 7, os.SEEK_HOLE), 3 * PAGE)


class Copy(SpaceCase):
    def copy_all(self, source, target, length):
        requests = 0
        while length:
            count = os.copy_file_range(source, target, length)
            if not count:
                break
            length -= count
            requests += 1
        return requests

    def test_a_copy_keeps_bytes_and_holes(self):
        source = self.open_new("a")
        os.ftruncate(source, 3 * GIB)
        parts = [(0, os.urandom(3 * MIB + 77)), (GIB + 5, b"middle"), (3 * GIB - 9, b"at an end")]
        for at, data in parts:
            os.pwrite(source, data, at)
        os.lseek(source, 0, os.SEEK_SET)
        target = self.open_new("b")
        self.assertLess(self.copy_all(source, target, 3 * GIB), 20)
        self.assertEqual(os.fstat(target).st_size, 3 * GIB)
        for at, data in parts:
            self.assertEqual(os.pread(target, len(data), at), data)
        self.assertLess(blocks(self.dir / "b") * 512, 6 * MIB)
        self.remount()
        for at, data in parts:
            with open(self.dir / "b", "rb") as file:
                file.seek(at)
                self.assertEqual(file.read(len(data)), data)

    def test_the_past_is_copied_to_the_head(self):
        fd = self.open_new("a")
        then_bytes = os.urandom(5 * PAGE + 100)
        os.write(fd, then_bytes)
        then = self.m.latest()
        os.pwrite(fd, b"changed since", PAGE - 4)
        past = self.open(self.past_of(then, "a"), os.O_RDONLY)
        target = self.open_new("b")
        before = self.m.latest()
        self.assertEqual(os.copy_file_range(past, target, 1 << 30), len(then_bytes))
        self.assertEqual((self.dir / "b").read_bytes(), then_bytes)
        log = harness.json_of(self, harness.varve("log", "--json", self.dir / "b"))
        self.assertEqual(len([v for v in log["versions"] if v["lsn"] > before]), 1)
        # Back into the file that it was.
        self.assertEqual(os.copy_file_range(past, fd, PAGE, 0, 0), PAGE)
        self.assertEqual(os.pread(fd, PAGE, 0), then_bytes[:PAGE])
        self.assertEqual(os.pread(fd, 5, PAGE), b"ged s")

    def test_copying_over_pages_that_the_kernel_holds(self):
        source, target = self.open_new("a"), self.open_new("b")
        os.write(source, b"s" * 4 * PAGE)
        os.write(target, b"t" * 4 * PAGE)
        with mmap.mmap(target, 4 * PAGE) as view:
            self.assertEqual(view[:], b"t" * 4 * PAGE)
            self.assertEqual(os.copy_file_range(source, target, 2 * PAGE, 0, PAGE + 10), 2 * PAGE)
            self.assertEqual(view[:], b"t" * (PAGE + 10) + b"s" * 2 * PAGE + b"t" * (PAGE - 10))

    def test_cp_restores_a_sparse_file(self):
        fd = self.open_new("a")
        os.ftruncate(fd, 100 * GIB)
        os.pwrite(fd, b"x" * 5000, 50 * GIB)
        run("cp", self.dir / "a", self.dir / "b", timeout=60)
        self.assertEqual(blocks(self.dir / "b"), PAGE // 512)
        found = self.open(self.dir / "b", os.O_RDONLY)
        self.assertEqual(os.fstat(found).st_size, 100 * GIB)
        self.assertEqual(os.pread(found, 5000, 50 * GIB), b"x" * 5000)


class Counted(SpaceCase):
    def du(self, path):
        return int(run("du", "-B1", path).split()[0])

    def test_du_counts_pages_and_no_holes(self):
        fd = self.open_new("a")
        path = self.dir / "a"
        self.assertEqual(self.du(path), 0)
        os.ftruncate(fd, TIB)
        self.assertEqual(self.du(path), 0)
        os.pwrite(fd, b"x", 100 * GIB)
        self.assertEqual(self.du(path), PAGE)
        os.pwrite(fd, b"x" * 3 * PAGE, 200 * GIB + 1)
        self.assertEqual(self.du(path), 5 * PAGE)
        os.pwrite(fd, b"again", 100 * GIB)
        self.assertEqual(self.du(path), 5 * PAGE)
        then = self.m.latest()
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 200 * GIB, PAGE)
        self.assertEqual(self.du(path), 4 * PAGE)
        os.ftruncate(fd, 150 * GIB)
        self.assertEqual(self.du(path), PAGE)
        with mmap.mmap(fd, PAGE) as view:
            view[0] = 1
            view.flush()
        self.assertEqual(self.du(path), 2 * PAGE)
        os.ftruncate(fd, 0)
        self.assertEqual(self.du(path), 0)
        self.assertEqual(self.du(self.past_of(then, "a")), 5 * PAGE)
        self.remount()
        self.assertEqual(self.du(self.past_of(then, "a")), 5 * PAGE)

    def test_random_holes_as_on_a_plain_file(self):
        """The same calls on a plain file: the same bytes, and no hole that is data there."""
        rng = harness.seeded_random()
        fd = self.open_new("a")
        twin = self.open(self.m.folder / "twin", os.O_CREAT | os.O_RDWR)
        limit = 64 * PAGE
        for _ in range(harness.by_size(150, 500)):
            at, length = rng.randrange(limit), rng.randrange(1, limit // 3)
            kind = rng.randrange(5)
            data = rng.randbytes(min(length, 20000))
            mode = rng.choice((PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, 0))
            for each in (fd, twin):
                if kind <= 1:
                    fallocate(each, mode, at, length)
                elif kind == 2:
                    os.ftruncate(each, at)
                else:
                    os.pwrite(each, data, at)
            size = os.fstat(twin).st_size
            self.assertEqual(os.fstat(fd).st_size, size)
            whole = os.pread(fd, size + 1, 0)
            self.assertEqual(whole, os.pread(twin, size + 1, 0))
            found, end = pieces(fd), 0
            for start, stop in found + [(size, size)]:
                self.assertEqual(whole[end:start].strip(b"\0"), b"")
                end = stop
            pages = sum(-(-stop // PAGE) - start // PAGE for start, stop in found)
            self.assertEqual(os.fstat(fd).st_blocks, pages * PAGE // 512)


class Statfs(SpaceCase):
    def test_room_is_the_disks_at_head_and_in_the_past(self):
        below = os.statvfs(self.m.folder)
        for path in (self.dir, self.m.point, self.m.point / "lsn" / str(self.m.latest()) / "rel"):
            here = os.statvfs(path)
            self.assertEqual(here.f_frsize, PAGE)
            self.assertEqual(here.f_blocks, below.f_blocks * below.f_frsize // PAGE)
            self.assertLess(abs(here.f_bavail * PAGE - below.f_bavail * below.f_frsize), GIB)
            self.assertLessEqual(here.f_bavail, here.f_bfree)

    def test_df_i_counts_inodes(self):
        before = os.statvfs(self.dir)
        for i in range(10):
            (self.dir / str(i)).write_bytes(b"")
        after = os.statvfs(self.dir)
        self.assertEqual(after.f_files - after.f_ffree, before.f_files - before.f_ffree + 10)
        self.assertGreater(after.f_ffree, 1000)
        self.assertIn("%", run("df", "-i", self.dir).splitlines()[1])


class Direct(SpaceCase):
    def test_direct_files_are_read_and_written_at_any_offset(self):
        fd = self.open_new("a", os.O_DIRECT)
        plain = self.open(self.dir / "a", os.O_RDWR)
        expected = bytearray(200 * KIB)
        rng = random.Random(7)
        for _ in range(60):
            at, length = rng.randrange(150 * KIB), rng.randrange(1, 50 * KIB)
            data = rng.randbytes(length)
            os.pwrite(fd if rng.randrange(3) else plain, data, at)
            expected[at:at + length] = data
            at, length = rng.randrange(150 * KIB), rng.randrange(1, 50 * KIB)
            size = os.fstat(fd).st_size
            for each in (fd, plain):
                self.assertEqual(os.pread(each, length, at), expected[at:min(at + length, size)])

    def test_a_direct_write_is_one_change_wherever_it_begins(self):
        fd = self.open_new("a", os.O_DIRECT)
        self.assertEqual(self.changes_of(lambda: os.pwrite(fd, b"x" * 50000, 12345)), 1)
        past = self.open(self.past_of(self.m.latest(), "a"), os.O_RDONLY | os.O_DIRECT)
        self.assertEqual(os.pread(past, 100, 12340), bytes(5) + b"x" * 95)

    def test_dd_with_direct_on_both_sides(self):
        (self.dir / "a").write_bytes(os.urandom(3 * MIB))
        done = subprocess.run(["dd", f"if={self.dir}/a", f"of={self.dir}/b", "bs=64k",
                               "iflag=direct", "oflag=direct"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.dir / "a").read_bytes(), (self.dir / "b").read_bytes())


if __name__ == "__main__":
    harness.main()
