#!/usr/bin/python3
"""/head/rel is an ordinary POSIX tree: each operation does what its manual page says."""
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import harness
from harness import libc_call, pattern, read_file, write_file

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100
NOBODY = 65534


def renameat2(old, new, flags):
    libc_call("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def as_nobody(call):
    """Run call() as an ordinary user in a child; 0 or the errno it met."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            call()
            code = 0
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Files(harness.MountCase):
    def test_create_is_exclusive_when_asked(self):
        fd = os.open(self.dir / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        os.close(fd)
        self.assert_errno(errno.EEXIST, os.open, self.dir / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "a").st_mode), 0o640)

    def test_umask_is_applied_once(self):
        old = os.umask(0o027)
        try:
            write_file(self.dir / "file", b"")
            os.mkdir(self.dir / "dir")
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "file").st_mode), 0o640)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "dir").st_mode), 0o750)

    def test_what_is_not_there_is_enoent(self):
        self.assert_errno(errno.ENOENT, os.open, self.dir / "no", os.O_RDONLY)
        self.assert_errno(errno.ENOENT, os.unlink, self.dir / "no")
        self.assert_errno(errno.ENOENT, os.rmdir, self.dir / "no")
        self.assert_errno(errno.ENOENT, os.rename, self.dir / "no", self.dir / "other")
        self.assert_errno(errno.ENOENT, os.stat, self.dir / "no" / "below")

    def test_a_negative_lookup_does_not_stick(self):
        self.assertFalse((self.dir / "later").exists())
        write_file(self.dir / "later", b"here")
        self.assertEqual(read_file(self.dir / "later"), b"here")

    def test_append_lands_at_the_end_whoever_wrote_last(self):
        one = os.open(self.dir / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        two = os.open(self.dir / "log", os.O_WRONLY | os.O_APPEND)
        for i in range(200):
            os.write(one if i % 2 else two, b"%04d\n" % i)
        os.close(one)
        os.close(two)
        self.assertEqual(read_file(self.dir / "log"), b"".join(b"%04d\n" % i for i in range(200)))

    def test_appends_of_many_threads_lose_nothing(self):
        path = self.dir / "log"
        write_file(path, b"")

        def append(writer):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            for i in range(200):
                os.write(fd, b"%02d %04d %s\n" % (writer, i, b"x" * (50 + writer * 100)))
            os.close(fd)
        threads = [threading.Thread(target=append, args=(w,)) for w in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = read_file(path).splitlines()
        wanted = {b"%02d %04d %s" % (w, i, b"x" * (50 + w * 100))
                  for w in range(4) for i in range(200)}
        self.assertEqual(len(lines), 800)
        self.assertEqual(set(lines), wanted)

    def test_open_truncates_when_asked(self):
        write_file(self.dir / "a", b"long content")
        os.close(os.open(self.dir / "a", os.O_WRONLY | os.O_TRUNC))
        self.assertEqual(os.stat(self.dir / "a").st_size, 0)
        write_file(self.dir / "a", b"new")
        self.assertEqual(read_file(self.dir / "a"), b"new")

    def test_reads_and_writes_of_all_sizes_and_offsets(self):
        data = bytearray(pattern(3_000_000))
        path = self.dir / "a"
        write_file(path, data)
        fd = os.open(path, os.O_RDWR)
        for i, (offset, size) in enumerate([(0, 1), (8191, 2), (8192, 8192), (1, 100_000),
                                            (1_048_575, 1_048_578), (2_999_999, 1),
                                            (2_999_990, 500), (12_345, 4096)]):
            new = pattern(size, salt=i + 1)
            self.assertEqual(os.pwrite(fd, new, offset), size)
            data[offset:offset + size] = new
            self.assertEqual(os.pread(fd, size, offset), new)
        os.close(fd)
        self.assertEqual(read_file(path), bytes(data))
        self.m.remount()
        self.assertEqual(read_file(path), bytes(data))

    def test_a_hole_reads_as_zeros(self):
        path = self.dir / "a"
        with open(path, "wb") as file:
            file.seek(10_000_000)
            file.write(b"end")
        data = read_file(path)
        self.assertEqual(len(data), 10_000_003)
        self.assertEqual(data.strip(b"\0"), b"end")

    def test_truncate_never_lets_old_bytes_show_again(self):
        path = self.dir / "a"
        for cut in (0, 1, 100, 8191, 8192, 8193, 20_000, 50_000):
            write_file(path, b"\xff" * 60_000)
            os.truncate(path, cut)
            self.assertEqual(read_file(path), b"\xff" * cut)
            os.truncate(path, 60_000)
            self.assertEqual(read_file(path), b"\xff" * cut + b"\0" * (60_000 - cut))
            with open(path, "r+b") as file:
                file.truncate(cut)
                file.seek(59_999)
                file.write(b"!")
            self.assertEqual(read_file(path), b"\xff" * cut + b"\0" * (59_999 - cut) + b"!")

    def test_a_very_large_file_is_only_a_size(self):
        path = self.dir / "a"
        write_file(path, b"start")
        os.truncate(path, 1 << 45)
        with open(path, "r+b") as file:
            file.seek((1 << 45) - 3)
            file.write(b"end")
            file.seek(1 << 44)
            self.assertEqual(file.read(5), b"\0" * 5)
        started = time.monotonic()
        os.truncate(path, 2)
        self.assertLess(time.monotonic() - started, 1)
        self.assertEqual(read_file(path), b"st")

    def test_unlinked_while_open_stays_readable_and_writable(self):
        path = self.dir / "a"
        write_file(path, pattern(50_000))
        fd = os.open(path, os.O_RDWR)
        os.unlink(path)
        self.assertFalse(path.exists())
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(os.pread(fd, 50_000, 0), pattern(50_000))
        os.pwrite(fd, b"still", 49_999)
        self.assertEqual(os.pread(fd, 100, 49_998), pattern(50_000)[49_998:49_999] + b"still")
        os.ftruncate(fd, 3)
        self.assertEqual(os.fstat(fd).st_size, 3)
        write_file(path, b"another file of the same name")
        self.assertEqual(os.pread(fd, 100, 0), pattern(3))
        os.close(fd)
        self.assertEqual(read_file(path), b"another file of the same name")

    def test_replaced_while_open_stays_readable(self):
        write_file(self.dir / "old", b"old content")
        write_file(self.dir / "new", b"new content")
        with open(self.dir / "old", "rb") as file:
            os.rename(self.dir / "new", self.dir / "old")
            self.assertEqual(file.read(), b"old content")
        self.assertEqual(read_file(self.dir / "old"), b"new content")

    def test_shared_mmap_is_the_file(self):
        path = self.dir / "a"
        write_file(path, pattern(100_000))
        fd, other_fd = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
        with mmap.mmap(fd, 0) as map_one, mmap.mmap(other_fd, 0) as map_two:
            map_one[40_000:40_005] = b"mmap!"
            self.assertEqual(map_two[40_000:40_005], b"mmap!")
            map_one.flush()
            before = self.m.latest()
            self.assertEqual(os.pread(fd, 5, 40_000), b"mmap!")
            os.pwrite(fd, b"write", 70_000)
            self.assertEqual(map_one[70_000:70_005], b"write")
            map_two[40_000:40_005] = b"again"
            map_two.flush()
        os.close(fd)
        os.close(other_fd)
        self.assertEqual(read_file(path)[40_000:40_005], b"again")
        self.assertEqual(read_file(self.past(before) / "a")[40_000:40_005], b"mmap!")
        self.m.remount()
        self.assertEqual(read_file(path)[40_000:40_005], b"again")

    def test_fsync_of_every_kind_succeeds(self):
        path = self.dir / "a"
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        os.write(fd, b"data")
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)
        dir_fd = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(dir_fd)
        os.close(dir_fd)
        sync_fd = os.open(path, os.O_WRONLY | os.O_SYNC)
        self.assertEqual(os.write(sync_fd, b"sync"), 4)
        os.close(sync_fd)

    def test_what_fsync_returned_for_is_durable(self):
        path = self.dir / "a"
        for flags, sync in ((0, os.fsync), (0, os.fdatasync), (os.O_SYNC, lambda fd: None)):
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | flags)
            os.write(fd, b"x" * 1000)
            written = self.m.latest()
            sync(fd)
            os.close(fd)
            info = harness.json_of(self, harness.varve("info", "--json", self.m.point))
            self.assertGreaterEqual(info["durable_lsn"], written)

    def test_statfs_tells_of_the_store_below(self):
        here, below = os.statvfs(self.dir), os.statvfs(self.m.folder)
        self.assertEqual(here.f_namemax, 255)
        self.assertGreater(here.f_blocks, 0)
        self.assertLess(abs(here.f_bavail * here.f_frsize - below.f_bavail * below.f_frsize),
                        1 << 30)

    def test_times_are_set_and_kept_to_the_nanosecond(self):
        path = self.dir / "a"
        write_file(path, b"")
        os.utime(path, ns=(1_111_111_111_123_456_789, 2_222_222_222_987_654_321))
        found = os.stat(path)
        self.assertEqual((found.st_atime_ns, found.st_mtime_ns),
                         (1_111_111_111_123_456_789, 2_222_222_222_987_654_321))
        os.utime(path, ns=(-1_500_000_000, -1))
        self.assertEqual(os.stat(path).st_mtime_ns, -1)
        os.utime(path)
        self.assertLess(abs(os.stat(path).st_mtime - time.time()), 5)
        self.m.remount()
        self.assertLess(abs(os.stat(path).st_mtime - time.time()), 30)

    def test_changes_move_the_times_they_should(self):
        path = self.dir / "a"
        write_file(path, b"one")
        os.utime(path, (1, 1))
        os.utime(self.dir, (1, 1))
        with open(path, "r+b") as file:
            file.write(b"two")
        self.assertGreater(os.stat(path).st_mtime, 1)
        self.assertEqual(os.stat(self.dir).st_mtime, 1)
        write_file(self.dir / "b", b"")
        self.assertGreater(os.stat(self.dir).st_mtime, 1)
        os.utime(path, (1, 1))
        changed = os.stat(path).st_ctime_ns
        os.chmod(path, 0o600)
        self.assertEqual(os.stat(path).st_mtime, 1)
        self.assertGreater(os.stat(path).st_ctime_ns, changed)

    def test_chmod_and_chown(self):
        path = self.dir / "a"
        write_file(path, b"")
        os.chmod(path, 0o4751)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o4751)
        os.chown(path, 1234, 5678)
        self.assertEqual((os.stat(path).st_uid, os.stat(path).st_gid), (1234, 5678))
        os.chown(path, -1, 42)
        self.assertEqual((os.stat(path).st_uid, os.stat(path).st_gid), (1234, 42))
        self.m.remount()
        self.assertEqual((os.stat(path).st_uid, os.stat(path).st_gid), (1234, 42))

    def test_locks_are_the_kernels(self):
        path = self.dir / "a"
        write_file(path, b"")
        with open(path, "r+b") as one, open(path, "r+b") as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            self.assert_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(one, fcntl.LOCK_UN)
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
            probe = subprocess.run([sys.executable, "-c", "import fcntl, sys\n"
                                    "fcntl.lockf(open(sys.argv[1], 'r+b'), 6, 1, 7)", path],
                                   stderr=subprocess.DEVNULL, check=False)
            self.assertNotEqual(probe.returncode, 0)

    def test_a_full_file_of_seek_data_and_hole(self):
        path = self.dir / "a"
        with open(path, "wb") as file:
            file.seek(1 << 20)
            file.write(b"x" * 8192)
            file.truncate(2 << 20)
        fd = os.open(path, os.O_RDONLY)
        data = os.lseek(fd, 0, os.SEEK_DATA)
        self.assertLessEqual(data, 1 << 20)
        self.assertGreaterEqual(os.lseek(fd, data, os.SEEK_HOLE), (1 << 20) + 8192)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_END), 2 << 20)
        os.close(fd)

    def test_special_files(self):
        os.mkfifo(self.dir / "fifo", 0o600)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.dir / "fifo").st_mode))
        os.mknod(self.dir / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        found = os.lstat(self.dir / "null")
        self.assertTrue(stat.S_ISCHR(found.st_mode))
        self.assertEqual(found.st_rdev, os.makedev(1, 3))


class Names(harness.MountCase):
    def test_names_up_to_255_bytes(self):
        longest = "n" * 255
        write_file(self.dir / longest, b"x")
        self.assertEqual(os.listdir(self.dir), [longest])
        self.assert_errno(errno.ENAMETOOLONG, os.open, self.dir / ("n" * 256),
                          os.O_CREAT | os.O_WRONLY)
        for call in (os.mkdir, os.stat, os.unlink):
            self.assert_errno(errno.ENAMETOOLONG, call, self.dir / ("n" * 256))
        self.assert_errno(errno.ENAMETOOLONG, os.rename, self.dir / longest, self.dir / ("m" * 256))
        self.assert_errno(errno.ENAMETOOLONG, os.link, self.dir / longest, self.dir / ("m" * 256))
        self.assert_errno(errno.ENAMETOOLONG, os.symlink, "x", self.dir / ("m" * 256))
        self.assertEqual(os.listdir(self.dir), [longest])

    def test_names_are_bytes(self):
        names = [b"\xff\xfe", b"a\nb", "größe".encode(), b" ", b"-rf", b"\\", b"%s"]
        for name in names:
            write_file(os.path.join(os.fsencode(self.dir), name), name)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.dir))), sorted(names))
        for name in names:
            self.assertEqual(read_file(os.path.join(os.fsencode(self.dir), name)), name)

    def test_directories(self):
        os.makedirs(self.dir / "a" / "b" / "c")
        write_file(self.dir / "a" / "b" / "file", b"x")
        self.assert_errno(errno.ENOTEMPTY, os.rmdir, self.dir / "a" / "b")
        self.assert_errno(errno.ENOTDIR, os.rmdir, self.dir / "a" / "b" / "file")
        self.assert_errno(errno.EISDIR, os.unlink, self.dir / "a" / "b" / "c")
        self.assert_errno(errno.EEXIST, os.mkdir, self.dir / "a")
        self.assert_errno(errno.ENOTDIR, os.stat, self.dir / "a" / "b" / "file" / "below")
        self.assertEqual(os.stat(self.dir / "a").st_nlink, 1)
        self.assertEqual(os.stat(self.dir / "a" / "..").st_ino, os.stat(self.dir).st_ino)
        os.rmdir(self.dir / "a" / "b" / "c")
        os.unlink(self.dir / "a" / "b" / "file")
        os.rmdir(self.dir / "a" / "b")
        self.assertEqual(os.listdir(self.dir / "a"), [])

    def test_a_removed_directory_takes_no_names(self):
        os.mkdir(self.dir / "gone")
        fd = os.open(self.dir / "gone", os.O_RDONLY | os.O_DIRECTORY)
        os.rmdir(self.dir / "gone")
        self.assert_errno(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        self.assertEqual(os.listdir(fd), [])
        os.close(fd)

    def test_rename_to_a_new_name_and_place(self):
        os.mkdir(self.dir / "to")
        write_file(self.dir / "a", b"content")
        number = os.stat(self.dir / "a").st_ino
        os.rename(self.dir / "a", self.dir / "to" / "b")
        self.assertFalse((self.dir / "a").exists())
        self.assertEqual(read_file(self.dir / "to" / "b"), b"content")
        self.assertEqual(os.stat(self.dir / "to" / "b").st_ino, number)

    def test_rename_over_an_existing_target(self):
        write_file(self.dir / "a", b"new")
        write_file(self.dir / "b", b"old")
        os.rename(self.dir / "a", self.dir / "b")
        self.assertEqual(os.listdir(self.dir), ["b"])
        self.assertEqual(read_file(self.dir / "b"), b"new")
        os.mkdir(self.dir / "d1")
        os.mkdir(self.dir / "d2")
        write_file(self.dir / "d1" / "inside", b"x")
        os.rename(self.dir / "d1", self.dir / "d2")
        self.assertEqual(os.listdir(self.dir / "d2"), ["inside"])

    def test_rename_refuses_what_its_manual_says(self):
        os.makedirs(self.dir / "full" / "sub")
        os.mkdir(self.dir / "empty")
        write_file(self.dir / "file", b"")
        self.assert_errno(errno.ENOTEMPTY, os.rename, self.dir / "empty", self.dir / "full")
        self.assert_errno(errno.EISDIR, os.rename, self.dir / "file", self.dir / "empty")
        self.assert_errno(errno.ENOTDIR, os.rename, self.dir / "empty", self.dir / "file")
        self.assert_errno(errno.EINVAL, os.rename, self.dir / "full",
                          self.dir / "full" / "sub" / "x")
        self.assertEqual(sorted(os.listdir(self.dir)), ["empty", "file", "full"])

    def test_rename_of_a_name_to_itself_or_to_its_twin_does_nothing(self):
        write_file(self.dir / "a", b"x")
        os.link(self.dir / "a", self.dir / "b")
        os.rename(self.dir / "a", self.dir / "a")
        os.rename(self.dir / "a", self.dir / "b")
        self.assertEqual(sorted(os.listdir(self.dir)), ["a", "b"])
        self.assertEqual(os.stat(self.dir / "a").st_nlink, 2)

    def test_rename_moves_dot_dot(self):
        os.makedirs(self.dir / "one" / "moved")
        os.mkdir(self.dir / "two")
        os.rename(self.dir / "one" / "moved", self.dir / "two" / "moved")
        self.assertEqual(os.stat(self.dir / "two" / "moved" / "..").st_ino,
                         os.stat(self.dir / "two").st_ino)

    def test_rename_noreplace(self):
        write_file(self.dir / "a", b"a")
        write_file(self.dir / "b", b"b")
        self.assert_errno(errno.EEXIST, renameat2, self.dir / "a", self.dir / "b", RENAME_NOREPLACE)
        self.assertEqual(read_file(self.dir / "b"), b"b")
        renameat2(self.dir / "a", self.dir / "c", RENAME_NOREPLACE)
        self.assertEqual(sorted(os.listdir(self.dir)), ["b", "c"])

    def test_rename_exchange(self):
        os.makedirs(self.dir / "p" / "dir")
        write_file(self.dir / "p" / "dir" / "inside", b"x")
        os.mkdir(self.dir / "q")
        write_file(self.dir / "q" / "file", b"file")
        renameat2(self.dir / "p" / "dir", self.dir / "q" / "file", RENAME_EXCHANGE)
        self.assertEqual(read_file(self.dir / "p" / "dir"), b"file")
        self.assertEqual(os.listdir(self.dir / "q" / "file"), ["inside"])
        self.assertEqual(os.stat(self.dir / "q" / "file" / "..").st_ino,
                         os.stat(self.dir / "q").st_ino)
        self.assert_errno(errno.ENOENT, renameat2, self.dir / "p" / "dir", self.dir / "no",
                          RENAME_EXCHANGE)

    def test_symlinks(self):
        os.symlink("target of any kind", self.dir / "link")
        self.assertEqual(os.readlink(self.dir / "link"), "target of any kind")
        self.assertTrue(stat.S_ISLNK(os.lstat(self.dir / "link").st_mode))
        self.assertEqual(os.lstat(self.dir / "link").st_size, len("target of any kind"))
        self.assert_errno(errno.ENOENT, os.stat, self.dir / "link")
        write_file(self.dir / "file", b"x")
        os.symlink("file", self.dir / "good")
        self.assertEqual(read_file(self.dir / "good"), b"x")
        os.symlink("t" * 4095, self.dir / "longest")
        self.assertEqual(os.readlink(self.dir / "longest"), "t" * 4095)
        self.assert_errno(errno.EEXIST, os.symlink, "x", self.dir / "link")
        os.unlink(self.dir / "good")
        self.assertEqual(read_file(self.dir / "file"), b"x")

    def test_hard_links(self):
        os.mkdir(self.dir / "d")
        write_file(self.dir / "a", b"one")
        os.link(self.dir / "a", self.dir / "d" / "b")
        self.assertEqual(os.stat(self.dir / "a").st_ino, os.stat(self.dir / "d" / "b").st_ino)
        self.assertEqual(os.stat(self.dir / "a").st_nlink, 2)
        with open(self.dir / "d" / "b", "ab") as file:
            file.write(b" two")
        self.assertEqual(read_file(self.dir / "a"), b"one two")
        os.unlink(self.dir / "a")
        self.assertEqual(os.stat(self.dir / "d" / "b").st_nlink, 1)
        self.assertEqual(read_file(self.dir / "d" / "b"), b"one two")
        self.assert_errno(errno.EPERM, os.link, self.dir / "d", self.dir / "d2")
        self.assert_errno(errno.EEXIST, os.link, self.dir / "d" / "b", self.dir / "d")

    def test_set_group_id_directories_hand_on_their_group(self):
        os.mkdir(self.dir / "shared")
        os.chown(self.dir / "shared", 0, 4321)
        os.chmod(self.dir / "shared", 0o2775)
        write_file(self.dir / "shared" / "file", b"")
        os.mkdir(self.dir / "shared" / "sub")
        self.assertEqual(os.stat(self.dir / "shared" / "file").st_gid, 4321)
        self.assertEqual(os.stat(self.dir / "shared" / "sub").st_gid, 4321)
        self.assertTrue(os.stat(self.dir / "shared" / "sub").st_mode & stat.S_ISGID)

    def test_no_writing_outside_of_rel(self):
        for folder in (self.m.point, self.m.point / "head", self.m.lsn):
            with self.assertRaises(OSError) as caught:
                write_file(folder / "new", b"")
            self.assertIn(caught.exception.errno, (errno.EROFS, errno.EPERM, errno.EACCES))
            with self.assertRaises(OSError):
                os.mkdir(folder / "newdir")
        with self.assertRaises(OSError):
            os.rmdir(self.m.head)
        with self.assertRaises(OSError):
            os.rename(self.m.head, self.m.point / "head" / "other")
        with self.assertRaises(OSError):
            os.rename(self.dir, self.m.point / "head" / "other")
        self.assertTrue(self.dir.is_dir())


class OtherUsers(harness.MountCase):
    """Root's mount is for all users, as modes and owners permit."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.fail("to act as another user this test has to be run by root")
        os.chmod(self.m.folder, 0o755)

    def test_new_files_belong_to_the_caller(self):
        os.chmod(self.dir, 0o777)
        self.assertEqual(as_nobody(lambda: write_file(self.dir / "file", b"mine")), 0)
        self.assertEqual(as_nobody(lambda: os.mkdir(self.dir / "dir")), 0)
        self.assertEqual(as_nobody(lambda: os.symlink("x", self.dir / "link")), 0)
        for name in ("file", "dir", "link"):
            found = os.lstat(self.dir / name)
            self.assertEqual((found.st_uid, found.st_gid), (NOBODY, NOBODY), name)

    def test_permissions_are_checked(self):
        write_file(self.dir / "secret", b"x")
        os.chmod(self.dir / "secret", 0o600)
        self.assertEqual(as_nobody(lambda: read_file(self.dir / "secret")), errno.EACCES)
        self.assertEqual(as_nobody(lambda: os.unlink(self.dir / "secret")), errno.EACCES)
        self.assertEqual(as_nobody(lambda: os.chmod(self.dir / "secret", 0o666)), errno.EPERM)
        self.assertEqual(as_nobody(lambda: os.chown(self.dir / "secret", NOBODY, NOBODY)),
                         errno.EPERM)

    def test_permissions_hold_in_the_past_as_they_were_then(self):
        write_file(self.dir / "file", b"x")
        os.chmod(self.dir / "file", 0o600)
        closed = self.m.latest()
        os.chmod(self.dir / "file", 0o644)
        opened = self.m.latest()
        os.chmod(self.dir / "file", 0o600)
        self.assertEqual(as_nobody(lambda: read_file(self.past(closed) / "file")), errno.EACCES)
        self.assertEqual(as_nobody(lambda: read_file(self.past(opened) / "file")), 0)

    def test_sticky_directories(self):
        os.chmod(self.dir, 0o1777)
        write_file(self.dir / "roots", b"x")
        self.assertEqual(as_nobody(lambda: os.unlink(self.dir / "roots")), errno.EPERM)

    def test_a_write_drops_set_user_id(self):
        os.chmod(self.dir, 0o777)
        write_file(self.dir / "tool", b"x")
        os.chmod(self.dir / "tool", 0o6777)
        self.assertEqual(as_nobody(lambda: write_file(self.dir / "tool", b"evil")), 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "tool").st_mode) & 0o6000, 0)
        write_file(self.dir / "owned", b"x")
        os.chmod(self.dir / "owned", 0o4755)
        os.chown(self.dir / "owned", NOBODY, NOBODY)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "owned").st_mode) & 0o4000, 0)

    def test_noallow_other_keeps_others_out(self):
        private = harness.Mount(options=("noallow_other",))
        self.addCleanup(private.close)
        os.chmod(private.folder, 0o755)
        private.mount()
        self.assertEqual(as_nobody(lambda: os.listdir(private.point)), errno.EACCES)


class Signals(harness.ServerCase):
    def test_sigterm_ends_the_server_in_order(self):
        m = self.mount_new()
        harness.write_file(m.head / "a", b"content")
        for pid in m.servers():
            os.kill(pid, signal.SIGTERM)
        harness.wait_for("the server ended", lambda: not m.servers(), timeout=5)
        harness.wait_for("the mount is gone", lambda: not harness.is_mounted(m.point), timeout=5)
        m.mount()
        self.assertEqual(read_file(m.head / "a"), b"content")


if __name__ == "__main__":
    harness.main()
