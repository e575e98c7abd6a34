#!/usr/bin/python3
"""/lsn/<n>/rel is the whole tree as of n: which names resolve, what they show, and that
nothing can change it."""
import errno
import mmap
import os
import shutil
import stat
import subprocess
import threading
import time

import harness
from harness import pattern, read_file, run, write_file


class Lookup(harness.MountCase):
    """Which names /lsn knows."""

    def test_latest_and_oldest_are_symlinks_to_lsns(self):
        for name in ("latest", "oldest"):
            self.assertTrue(stat.S_ISLNK(os.lstat(self.m.lsn / name).st_mode))
            self.assertRegex(os.readlink(self.m.lsn / name), r"^[1-9][0-9]*$")
            self.assertTrue((self.m.lsn / name / "rel").is_dir())
        self.assertLessEqual(self.m.oldest(), self.m.latest())

    def test_latest_moves_with_every_change_and_only_then(self):
        path = self.dir / "a"
        changes = [lambda: write_file(path, b""), lambda: write_file(path, b"x", "ab"),
                   lambda: os.chmod(path, 0o600), lambda: os.utime(path, (1, 1)),
                   lambda: os.truncate(path, 0), lambda: os.mkdir(self.dir / "d"),
                   lambda: os.rename(path, self.dir / "d" / "b"),
                   lambda: os.symlink("x", path), lambda: os.unlink(path),
                   lambda: os.link(self.dir / "d" / "b", path),
                   lambda: os.chown(path, 1, 1)]
        for number, change in enumerate(changes):
            before = self.m.latest()
            change()
            self.assertGreater(self.m.latest(), before, f"change {number}")
        before = self.m.latest()
        read_file(path)
        os.stat(path)
        os.listdir(self.dir)
        self.assertEqual(self.m.latest(), before)

    def test_every_lsn_between_oldest_and_latest_resolves(self):
        write_file(self.dir / "a", b"x" * 500)
        latest = self.m.latest()
        for n in [self.m.oldest(), *range(max(self.m.oldest(), latest - 300), latest + 1)]:
            self.assertTrue((self.m.lsn / str(n) / "rel").is_dir(), n)

    def test_between_two_changes_the_earlier_state_shows(self):
        path = self.dir / "a"
        write_file(path, b"one")
        one = self.m.latest()
        write_file(path, b"two", "r+b")
        two = self.m.latest()
        for n in (one, one + 1, two - 1):
            self.assertEqual(read_file(self.past(n) / "a"), b"one", n)
        self.assertEqual(read_file(self.past(two) / "a"), b"two")

    def test_other_names_are_enoent(self):
        latest = self.m.latest()
        for name in (f"0{latest}", "007", f"+{latest}", "+7", f"-{latest}", f" {latest}",
                     f"{latest} ", f"{latest}.", f"0x{latest:x}", f"{latest}a", "abc", "0", "00",
                     "9" * 30, "9" * 255, str(1 << 64), str((1 << 64) + latest), str((1 << 63)),
                     "18446744073709551615", "latest ", "LATEST", "newest",
                     str(self.m.oldest() - 1)):
            with self.subTest(name=name):
                self.assert_errno(errno.ENOENT, os.lstat, self.m.lsn / name)
                self.assert_errno(errno.ENOENT, os.listdir, self.m.lsn / name / "rel")
        self.assert_errno(errno.ENAMETOOLONG, os.lstat, self.m.lsn / ("9" * 256))

    def test_beyond_the_newest_is_enoent_until_it_is_there(self):
        latest = self.m.latest()
        for beyond in (1, 2, 10, 100, 1000):
            self.assert_errno(errno.ENOENT, os.lstat, self.m.lsn / str(latest + beyond))
        write_file(self.dir / "a", b"x" * 5000)
        self.assertGreater(self.m.latest(), latest + 1000)
        for beyond in (1, 2, 10, 100, 1000):
            self.assertTrue((self.m.lsn / str(latest + beyond) / "rel").is_dir(), beyond)

    def test_an_lsn_that_was_told_can_be_read_at_once(self):
        path = self.dir / "a"
        write_file(path, b"")
        failures = []
        stop = threading.Event()

        def write():
            with open(path, "r+b", buffering=0) as file:
                count = 0
                while not stop.is_set():
                    count += 1
                    os.pwrite(file.fileno(), b"%010d" % count, 0)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            deadline = time.monotonic() + harness.by_size(2, 5)
            last = -1
            while time.monotonic() < deadline:
                n = self.m.latest()
                said = int(read_file(self.past(n) / "a") or b"0")
                if said < last:
                    failures.append((n, said, last))
                last = said
        finally:
            stop.set()
            writer.join()
        self.assertEqual(failures, [])
        self.assertGreater(last, 100)

    def test_the_root_shows_what_there_is(self):
        self.assertEqual(sorted(os.listdir(self.m.point)), ["head", "lsn"])
        self.assertEqual(os.listdir(self.m.point / "head"), ["rel"])
        self.assertEqual(os.listdir(self.m.lsn / str(self.m.latest())), ["rel"])
        self.assert_errno(errno.ENOENT, os.stat, self.m.point / "nothing")

    def test_listing_is_bounded_and_yields_symlinks_only(self):
        path = self.dir / "a"
        write_file(path, b"")
        with open(path, "r+b", buffering=0) as file:
            for i in range(3000):
                os.pwrite(file.fileno(), b"%d" % i, 0)
        names = os.listdir(self.m.lsn)
        self.assertLess(len(names), 1000)
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(set(names), {"latest", "oldest"})
        with os.scandir(self.m.lsn) as entries:
            for entry in entries:
                self.assertTrue(entry.is_symlink(), entry.name)
                self.assertTrue(stat.S_ISLNK(os.lstat(entry.path).st_mode), entry.name)
                self.assertTrue(os.path.isdir(entry.path + "/rel"), entry.name)

    def test_directories_report_one_link(self):
        os.makedirs(self.dir / "d" / "e")
        n = self.m.latest()
        for folder in (self.m.point, self.m.point / "head", self.m.head, self.m.lsn, self.dir / "d",
                       self.m.lsn / str(n), self.m.at(n), self.past(n) / "d"):
            self.assertEqual(os.lstat(folder).st_nlink, 1, folder)

    def test_the_mount_is_one_filesystem(self):
        n = self.m.latest()
        devices = {os.lstat(path).st_dev for path in (
            self.m.point, self.m.head, self.dir, self.m.lsn, self.m.lsn / "latest", self.m.at(n))}
        self.assertEqual(len(devices), 1)


class Walks(harness.MountCase):
    """What walks the whole mount meets the head once and never history."""

    def setUp(self):
        super().setUp()
        os.makedirs(self.dir / "one" / "two")
        for i in range(20):
            write_file(self.dir / "one" / "two" / f"walked-{self.name}-{i}", pattern(10_000, i))

    def test_find_meets_the_head_once(self):
        found = run("find", self.m.point, "-name", f"walked-{self.name}-*").splitlines()
        self.assertEqual(sorted(found), sorted(
            str(self.dir / "one" / "two" / f"walked-{self.name}-{i}") for i in range(20)))

    def test_tar_holds_the_head_once(self):
        names = run("sh", "-c", 'tar -C "$1" -cf - . | tar -tf -', "sh", self.m.point).splitlines()
        self.assertEqual(sum(f"walked-{self.name}-" in name for name in names), 20)
        self.assertTrue(all(name.startswith(("./head/", "./lsn/")) or name == "./"
                            for name in names))
        self.assertFalse(any("/rel" in name for name in names if name.startswith("./lsn/")))

    def test_du_counts_the_head_once(self):
        whole = int(run("du", "-sb", "--apparent-size", self.m.point).split()[0])
        head = int(run("du", "-sb", "--apparent-size", self.m.head).split()[0])
        self.assertLess(abs(whole - head), 100_000)

    def test_recursive_tools_end(self):
        run("ls", "-lR", self.m.point)
        self.assertEqual(subprocess.run(["grep", "-rq", "no such text in any file", self.m.point],
                                        check=False, timeout=60).returncode, 1)


class ReadOnly(harness.MountCase):
    """Every kind of write into the past is EROFS, and changes nothing."""

    def setUp(self):
        super().setUp()
        write_file(self.dir / "file", b"content")
        os.chmod(self.dir / "file", 0o666)
        os.mkdir(self.dir / "dir")
        write_file(self.dir / "dir" / "inside", b"inside")
        os.mkdir(self.dir / "empty")
        os.symlink("file", self.dir / "link")
        self.n = self.m.latest()
        self.there = self.past(self.n)

    def tearDown(self):
        self.assertEqual(sorted(os.listdir(self.there)), ["dir", "empty", "file", "link"])
        self.assertEqual(read_file(self.there / "file"), b"content")
        self.assertEqual(self.m.latest(), self.n)

    def test_open_for_writing(self):
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND,
                      os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC,
                      os.O_RDWR | os.O_CREAT):
            with self.subTest(flags=flags):
                self.assert_errno(errno.EROFS, os.open, self.there / "file", flags)

    def test_make_names(self):
        for call, *args in ((os.open, self.there / "new", os.O_CREAT | os.O_WRONLY),
                            (os.open, self.there / "new", os.O_CREAT | os.O_EXCL | os.O_RDONLY),
                            (os.mkdir, self.there / "new"),
                            (os.symlink, "x", self.there / "new"),
                            (os.link, self.there / "file", self.there / "new"),
                            (os.mkfifo, self.there / "new"),
                            (os.mknod, self.there / "new", stat.S_IFREG | 0o600)):
            with self.subTest(call=call.__name__):
                self.assert_errno(errno.EROFS, call, *args)

    def test_remove_names(self):
        self.assert_errno(errno.EROFS, os.unlink, self.there / "file")
        self.assert_errno(errno.EROFS, os.unlink, self.there / "link")
        self.assert_errno(errno.EROFS, os.rmdir, self.there / "empty")
        self.assert_errno(errno.EROFS, os.rmdir, self.there / "dir")

    def test_rename(self):
        self.assert_errno(errno.EROFS, os.rename, self.there / "file", self.there / "new")
        self.assert_errno(errno.EROFS, os.rename, self.there / "file", self.there / "dir" / "inside")
        self.assert_errno(errno.EROFS, os.rename, self.there / "dir", self.there / "empty")

    def test_change_attributes(self):
        for call, *args in ((os.chmod, self.there / "file", 0o600),
                            (os.chmod, self.there / "dir", 0o700),
                            (os.chown, self.there / "file", 1, 1),
                            (os.utime, self.there / "file"),
                            (os.utime, self.there / "file", (1, 1)),
                            (os.truncate, self.there / "file", 0),
                            (os.truncate, self.there / "file", 100)):
            with self.subTest(call=call.__name__):
                self.assert_errno(errno.EROFS, call, *args)
        with open(self.there / "file", "rb") as file:
            self.assert_errno(errno.EROFS, os.fchmod, file.fileno(), 0o600)
            self.assert_errno(errno.EROFS, os.utime, file.fileno())

    def test_between_head_and_the_past(self):
        for call in (os.link, os.rename):
            with self.subTest(call=call.__name__):
                with self.assertRaises(OSError) as caught:
                    call(self.dir / "file", self.there / "new")
                self.assertIn(caught.exception.errno, (errno.EROFS, errno.EXDEV))
                with self.assertRaises(OSError) as caught:
                    call(self.there / "file", self.dir / "new")
                self.assertIn(caught.exception.errno, (errno.EROFS, errno.EXDEV))

    def test_other_directories_of_the_past(self):
        for folder in (self.m.lsn, self.m.lsn / str(self.n)):
            for call, *args in ((os.mkdir, folder / "new"), (os.symlink, "x", folder / "new"),
                                (os.open, folder / "new", os.O_CREAT | os.O_WRONLY)):
                with self.subTest(folder=folder, call=call.__name__):
                    self.assert_errno(errno.EROFS, call, *args)
        self.assert_errno(errno.EROFS, os.rmdir, self.m.lsn / str(self.n) / "rel")
        self.assert_errno(errno.EROFS, os.unlink, self.m.lsn / "latest")

    def test_the_past_can_be_mapped_for_reading_only(self):
        with open(self.there / "file", "rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                self.assertEqual(mapped[:], b"content")
            with self.assertRaises(OSError):
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    def test_fsync_of_the_past_succeeds(self):
        for path, flags in ((self.there / "file", os.O_RDONLY),
                            (self.there / "dir", os.O_RDONLY | os.O_DIRECTORY)):
            fd = os.open(path, flags)
            os.fsync(fd)
            os.close(fd)


class Content(harness.MountCase):
    """The past shows exactly what there was."""

    def test_every_kind_of_change_is_seen_at_its_lsn_and_not_before(self):
        d = self.dir
        steps = [
            (lambda: write_file(d / "a", b"one"), lambda p: read_file(p / "a") == b"one"),
            (lambda: write_file(d / "a", b" two", "ab"), lambda p: read_file(p / "a") == b"one two"),
            (lambda: os.truncate(d / "a", 2), lambda p: read_file(p / "a") == b"on"),
            (lambda: os.truncate(d / "a", 5), lambda p: read_file(p / "a") == b"on\0\0\0"),
            (lambda: os.chmod(d / "a", 0o4711),
             lambda p: stat.S_IMODE(os.stat(p / "a").st_mode) == 0o4711),
            (lambda: os.chown(d / "a", 12, 34),
             lambda p: (os.stat(p / "a").st_uid, os.stat(p / "a").st_gid) == (12, 34)),
            (lambda: os.utime(d / "a", ns=(5, 7)), lambda p: os.stat(p / "a").st_mtime_ns == 7),
            (lambda: os.link(d / "a", d / "b"), lambda p: os.stat(p / "a").st_nlink == 2
             and read_file(p / "b") == b"on\0\0\0"),
            (lambda: os.unlink(d / "a"), lambda p: os.listdir(p) == ["b"]
             and os.stat(p / "b").st_nlink == 1),
            (lambda: os.mkdir(d / "dir"), lambda p: sorted(os.listdir(p)) == ["b", "dir"]),
            (lambda: os.rename(d / "b", d / "dir" / "c"), lambda p: os.listdir(p) == ["dir"]
             and read_file(p / "dir" / "c") == b"on\0\0\0"),
            (lambda: os.symlink("dir/c", d / "s"), lambda p: os.readlink(p / "s") == "dir/c"
             and read_file(p / "s") == b"on\0\0\0"),
            (lambda: os.unlink(d / "dir" / "c"), lambda p: os.listdir(p / "dir") == []),
            (lambda: os.rmdir(d / "dir"), lambda p: os.listdir(p) == ["s"]),
        ]
        marks = [self.m.latest()]
        for change, _ in steps:
            change()
            marks.append(self.m.latest())

        def holds(check, n):
            try:
                return check(self.past(n))
            except OSError:
                return False
        for round_name in ("as written", "after a remount"):
            for i, (_, check) in enumerate(steps):
                with self.subTest(step=i, when=round_name):
                    self.assertTrue(holds(check, marks[i + 1]))
                    self.assertFalse(holds(check, marks[i]))
            self.m.remount()

    def test_a_removed_file_is_whole_in_the_past(self):
        data = pattern(3_000_000)
        write_file(self.dir / "a", data)
        n = self.m.latest()
        os.unlink(self.dir / "a")
        write_file(self.dir / "a", b"its successor")
        self.assertEqual(read_file(self.past(n) / "a"), data)

    def test_an_open_file_of_the_past_stays_as_it_is(self):
        write_file(self.dir / "a", b"then")
        with open(self.past(self.m.latest()) / "a", "rb", buffering=0) as file:
            write_file(self.dir / "a", b"now!")
            os.unlink(self.dir / "a")
            self.assertEqual(file.read(), b"then")

    def test_every_write_of_one_file(self):
        path = self.dir / "a"
        random = harness.seeded_random()
        state = bytearray(40_000)
        write_file(path, state)
        noted = []
        fd = os.open(path, os.O_WRONLY)
        for i in range(harness.by_size(200, 1000)):
            offset, size = random.randrange(40_000), random.choice((1, 50, 300, 9000))
            data = pattern(size, salt=i)[:40_000 - offset]
            os.pwrite(fd, data, offset)
            state[offset:offset + len(data)] = data
            noted.append((self.m.latest(), bytes(state)))
        os.close(fd)
        for n, wanted in random.sample(noted, min(len(noted), 300)):
            self.assertEqual(read_file(self.past(n) / "a"), wanted, n)

    def test_cp_a_restores_from_the_past(self):
        os.mkdir(self.dir / "tree")
        write_file(self.dir / "tree" / "file", pattern(100_000))
        os.chmod(self.dir / "tree" / "file", 0o640)
        os.chown(self.dir / "tree" / "file", 1000, 1001)
        os.symlink("file", self.dir / "tree" / "link")
        os.link(self.dir / "tree" / "file", self.dir / "tree" / "twin")
        os.utime(self.dir / "tree" / "file", ns=(1_234_567_890_123_456_789,) * 2)
        os.chmod(self.dir / "tree", 0o2750)
        n = self.m.latest()
        shutil.rmtree(self.dir / "tree")
        for target in (self.dir / "tree", self.m.folder / "outside"):
            run("cp", "-a", self.past(n) / "tree", target)
            found = os.stat(target / "file")
            self.assertEqual(read_file(target / "file"), pattern(100_000))
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid,
                              found.st_mtime_ns, found.st_nlink),
                             (0o640, 1000, 1001, 1_234_567_890_123_456_789, 2))
            self.assertEqual(os.readlink(target / "link"), "file")
            self.assertEqual(stat.S_IMODE(os.stat(target).st_mode), 0o2750)

    def test_rm_rf_and_its_undoing(self):
        for i in range(100):
            os.makedirs(self.dir / "tree" / str(i % 7) / str(i % 11), exist_ok=True)
            write_file(self.dir / "tree" / str(i % 7) / str(i % 11) / str(i), pattern(i * 100, i))
        n = self.m.latest()
        copy = self.m.folder / "copy"
        run("cp", "-a", self.dir / "tree", copy)
        run("rm", "-rf", self.dir / "tree")
        self.assertEqual(run("diff", "-r", copy, self.past(n) / "tree"), "")
        run("cp", "-a", self.past(n) / "tree", self.dir / "tree")
        self.assertEqual(run("diff", "-r", copy, self.dir / "tree"), "")


class Identity(harness.MountCase):
    """In the past an inode number is a version: the same if nothing changed, else another."""

    def test_an_unchanged_file_is_one_inode_with_equal_times(self):
        os.mkdir(self.dir / "d")
        write_file(self.dir / "d" / "a", b"same")
        one = self.m.latest()
        write_file(self.dir / "other", b"x")
        two = self.m.latest()
        first, second = (os.stat(self.past(n) / "d" / "a") for n in (one, two))
        for field in ("st_ino", "st_dev", "st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_size",
                      "st_mode"):
            self.assertEqual(getattr(first, field), getattr(second, field), field)

    def test_a_changed_file_never_shares_its_number(self):
        path = self.dir / "a"
        write_file(path, b"")
        changes = [lambda: write_file(path, b"x", "ab"), lambda: os.chmod(path, 0o600),
                   lambda: os.utime(path, (9, 9)), lambda: os.truncate(path, 0),
                   lambda: os.link(path, self.dir / "b"), lambda: os.chown(path, 3, 3),
                   lambda: os.unlink(self.dir / "b"), lambda: write_file(path, b"y", "ab")]
        numbers = [os.stat(self.past(self.m.latest()) / "a").st_ino]
        for change in changes:
            change()
            numbers.append(os.stat(self.past(self.m.latest()) / "a").st_ino)
        self.assertEqual(len(set(numbers)), len(numbers))
        self.m.remount()
        self.assertEqual(os.stat(self.past(self.m.latest()) / "a").st_ino, numbers[-1])

    def test_two_files_never_share_a_number(self):
        for i in range(300):
            write_file(self.dir / str(i), b"x")
            if i % 3 == 0:
                os.link(self.dir / str(i), self.dir / f"{i}-twin")
        n = self.m.latest()
        numbers = {}
        for i in range(300):
            number = os.stat(self.past(n) / str(i)).st_ino
            self.assertNotIn(number, numbers)
            numbers[number] = i
            if i % 3 == 0:
                self.assertEqual(os.stat(self.past(n) / f"{i}-twin").st_ino, number)

    def test_head_and_past_share_no_number(self):
        for i in range(100):
            write_file(self.dir / str(i), b"x")
        n = self.m.latest()
        head = {os.stat(self.dir / str(i)).st_ino for i in range(100)}
        past = {os.stat(self.past(n) / str(i)).st_ino for i in range(100)}
        self.assertEqual((len(head), len(past)), (100, 100))
        self.assertEqual(head & past, set())

    def test_head_keeps_its_number_through_changes_and_remounts(self):
        write_file(self.dir / "a", b"x")
        number = os.stat(self.dir / "a").st_ino
        write_file(self.dir / "a", b"yy")
        os.rename(self.dir / "a", self.dir / "b")
        self.assertEqual(os.stat(self.dir / "b").st_ino, number)
        self.m.remount()
        self.assertEqual(os.stat(self.dir / "b").st_ino, number)

    def test_numbers_are_not_reused(self):
        write_file(self.dir / "a", b"x")
        number = os.stat(self.dir / "a").st_ino
        os.unlink(self.dir / "a")
        self.m.remount()
        for i in range(100):
            write_file(self.dir / str(i), b"")
            self.assertNotEqual(os.stat(self.dir / str(i)).st_ino, number)

    def test_d_ino_is_st_ino(self):
        os.mkdir(self.dir / "d")
        write_file(self.dir / "a", b"")
        os.link(self.dir / "a", self.dir / "twin")
        os.symlink("a", self.dir / "s")
        n = self.m.latest()
        for folder in (self.m.point, self.m.point / "head", self.m.head, self.dir, self.m.lsn,
                       self.m.lsn / str(n), self.m.at(n), self.past(n), self.past(n) / "d"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with self.subTest(path=entry.path):
                        self.assertEqual(entry.inode(), os.lstat(entry.path).st_ino)

    def test_diff_r_finds_a_change_deep_below(self):
        deep = self.dir.joinpath(*"abcdefghij")
        os.makedirs(deep)
        write_file(deep / "file", b"0" * 50_000)
        write_file(self.dir / "a" / "unchanged", b"x" * 50_000)
        one = self.m.latest()
        with open(deep / "file", "r+b") as file:
            file.seek(40_000)
            file.write(b"1")
        two = self.m.latest()
        done = subprocess.run(["diff", "-rq", self.past(one), self.past(two)], check=False,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count("\n"), 1)
        self.assertIn("a/b/c/d/e/f/g/h/i/j/file", done.stdout)
        self.assertEqual(run("diff", "-r", self.past(two), self.dir), "")

    def test_a_directory_with_a_change_below_is_not_taken_for_the_same(self):
        os.makedirs(self.dir / "d" / "e")
        write_file(self.dir / "d" / "e" / "file", b"one")
        one = self.m.latest()
        self.assertEqual(read_file(self.past(one) / "d" / "e" / "file"), b"one")
        write_file(self.dir / "d" / "e" / "file", b"two")
        two = self.m.latest()
        self.assertEqual(read_file(self.past(two) / "d" / "e" / "file"), b"two")
        self.assertEqual(read_file(self.past(one) / "d" / "e" / "file"), b"one")

    def test_dot_dot_of_the_past_stays_in_its_lsn(self):
        os.makedirs(self.dir / "d" / "e")
        one = self.m.latest()
        write_file(self.dir / "d" / "new", b"")
        two = self.m.latest()
        for n, wanted in ((one, ["e"]), (two, ["e", "new"])):
            self.assertEqual(sorted(os.listdir(self.past(n) / "d" / "e" / "..")), wanted)
            fd = os.open(self.past(n) / "d" / "e", os.O_RDONLY | os.O_DIRECTORY)
            up = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            self.assertEqual(sorted(os.listdir(up)), wanted)
            os.fchdir(up)
            try:
                self.assertEqual(os.getcwd(), str(self.past(n) / "d"))
            finally:
                os.chdir("/")
                os.close(fd)
                os.close(up)


if __name__ == "__main__":
    harness.main()
