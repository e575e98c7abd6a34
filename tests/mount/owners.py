#!/usr/bin/python3
"""Owners, modes and times: whoever does what, the head comes to what ext4 comes to; and what every
LSN shows is what was there then."""
import ctypes
import errno
import os
import socket
import stat

import harness
from beside import ADA, BOB, ROOT, BesideCase, as_user, describe, outcome, tree
from harness import libc_call, write_file

AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x400, 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
USERS = (ROOT, ADA, BOB)
MODES = (0o600, 0o644, 0o664, 0o755, 0o777, 0o1777, 0o2755, 0o2775, 0o4755, 0o4711, 0o6775, 0o2644)
NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "d/e", "s", "s/a", "s/b")


# ---- operations, each a function of a root ----

def make(root, name, mode=0o666, umask=0o022, flags=os.O_EXCL):
    os.umask(umask)
    os.close(os.open(root / name, os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK | flags, mode))


def mkdir(root, name, mode=0o777, umask=0o022):
    os.umask(umask)
    os.mkdir(root / name, mode)


def mknod(root, name, mode, device=0):
    os.mknod(root / name, mode, device)


def bind(root, name):
    # The path of a socket is short; the root's is not.
    os.chdir((root / name).parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.basename(name))


def symlink(root, name, target="anywhere"):
    os.symlink(target, root / name)


def link(root, name, new):
    os.link(root / name, root / new, follow_symlinks=False)


def unlink(root, name):
    os.unlink(root / name)


def rmdir(root, name):
    os.rmdir(root / name)


def rename(root, name, new, flags=0):
    libc_call("renameat2", AT_FDCWD, os.fsencode(root / name), AT_FDCWD, os.fsencode(root / new), flags)


def chmod(root, name, mode):
    os.chmod(root / name, mode)


def chown(root, name, uid, gid):
    os.lchown(root / name, uid, gid)


def write(root, name, data=b"written", flags=0):
    fd = os.open(root / name, os.O_WRONLY | flags)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def open_only(root, name, flags):
    os.close(os.open(root / name, flags))


def truncate(root, name, size):
    os.truncate(root / name, size)


def utimens(root, name, access, modification):
    class Time(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]
    both = (Time * 2)(Time(*access), Time(*modification))
    libc_call("utimensat", AT_FDCWD, os.fsencode(root / name), both, 0)
    found = os.stat(root / name)
    return tuple(wanted for wanted, shown in ((access, found.st_atime_ns), (modification, found.st_mtime_ns))
                 if wanted[1] < UTIME_OMIT and shown != wanted[0] * 10**9 + wanted[1])


def may(root, name, mode):
    return os.access(root / name, mode)


class Owners(BesideCase):
    def setUp(self):
        super().setUp()
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
        self.note()

    def test_what_is_new_belongs_to_the_caller_less_the_umask(self):
        for user in USERS:
            for umask in (0, 0o022, 0o077, 0o777):
                name = f"{user}-{umask:o}"
                self.same(user, make, name, 0o6777, umask)
                self.same(user, mkdir, name + ".d", 0o1777, umask)
            self.same(user, mknod, f"{user}.fifo", stat.S_IFIFO | 0o666)
            self.same(user, symlink, f"{user}.link")
            self.same(user, bind, f"{user}.socket")

    def test_a_set_group_id_directory_hands_on_group_and_bit(self):
        self.same(ROOT, mkdir, "shared", 0o777, 0)
        self.same(ROOT, chown, "shared", 0, 3000)
        self.same(ROOT, chmod, "shared", 0o2777)
        for user in USERS:
            self.same(user, make, f"shared/{user}", 0o2775, 0)
            self.same(user, mkdir, f"shared/{user}.d", 0o777, 0)
            self.same(user, make, f"shared/{user}.d/below")
            self.same(user, symlink, f"shared/{user}.link")
            self.same(user, mknod, f"shared/{user}.fifo", stat.S_IFIFO | 0o6777)

    def test_a_sticky_directory_keeps_what_is_anothers(self):
        self.same(ROOT, mkdir, "tmp", 0o777, 0)
        self.same(ROOT, chmod, "tmp", 0o1777)
        self.same(ADA, make, "tmp/ada", 0o666, 0)
        self.assertEqual(self.same(BOB, unlink, "tmp/ada"), "EPERM")
        self.assertEqual(self.same(BOB, rename, "tmp/ada", "tmp/mine"), "EPERM")
        self.same(BOB, make, "tmp/bob")
        self.assertEqual(self.same(BOB, rename, "tmp/bob", "tmp/ada"), "EPERM")
        self.assertIsNone(self.same(ADA, unlink, "tmp/ada"))

    def test_groups_beside_the_first_count(self):
        self.same(ROOT, make, "file", 0o660, 0)
        self.same(ROOT, chown, "file", 0, 3000)
        self.assertEqual(self.same(ADA, write, "file"), 7)
        self.assertEqual(self.same(BOB, write, "file"), "EACCES")
        self.assertTrue(self.same(ADA, may, "file", os.R_OK | os.W_OK))
        self.assertFalse(self.same(BOB, may, "file", os.R_OK))
        self.same(ADA, make, "hers")
        self.assertIsNone(self.same(ADA, chown, "hers", -1, 3000))
        self.assertEqual(self.same(ADA, chown, "hers", -1, 2002), "EPERM")

    def test_set_id_bits_go_with_what_the_unprivileged_do(self):
        for mode in (0o6777, 0o4777, 0o2777):
            for user in USERS:
                for count, (call, args) in enumerate((
                        (write, ()), (truncate, (3,)), (truncate, (0,)), (write, (b"x", os.O_TRUNC)),
                        (open_only, (os.O_WRONLY,)), (open_only, (os.O_WRONLY | os.O_TRUNC,)),
                        (write, (b"", )), (chmod, (mode & 0o777,)))):
                    name = f"{mode:o}-{user}-{count}"
                    self.same(ROOT, make, name, 0o600, 0)
                    self.same(ROOT, chmod, name, mode)
                    self.same(user, call, name, *args)

    def test_set_id_bits_go_with_the_owner(self):
        for mode in (0o6777, 0o4755, 0o2775, 0o0755):
            for count, owner in enumerate(((1001, -1), (-1, 3000), (1001, 3000), (-1, -1))):
                name = f"{mode:o}-{count}"
                self.same(ROOT, make, name, 0o600, 0)
                self.same(ROOT, chmod, name, mode)
                self.same(ROOT, chown, name, *owner)
                self.same(ROOT, mkdir, name + ".d")
                self.same(ROOT, chmod, name + ".d", mode)
                self.same(ROOT, chown, name + ".d", *owner)

    def test_a_chown_that_names_nobody_is_no_way_to_clear_anothers_bits(self):
        self.same(ADA, make, "hers")
        self.same(ADA, chmod, "hers", 0o4755)
        as_user(BOB, chown, self.dir, "hers", -1, -1)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir / "hers").st_mode), 0o4755)
        self.same(ADA, chown, "hers", -1, -1)

    def test_a_chmod_by_one_outside_of_the_group_clears_its_set_id_bit(self):
        self.same(ADA, make, "hers")
        self.same(ROOT, chown, "hers", 1001, 2002)
        self.same(ADA, chmod, "hers", 0o2775)
        self.same(ROOT, chown, "hers", 1001, 3000)
        self.same(ADA, chmod, "hers", 0o2775)
        self.assertEqual(self.same(BOB, chmod, "hers", 0o777), "EPERM")


class Times(BesideCase):
    def test_each_call_changes_the_times_it_should(self):
        self.same(ROOT, make, "a")
        self.same(ROOT, mkdir, "d")
        self.same(ROOT, write, "a")
        self.same(ROOT, write, "a", b"")
        self.same(ROOT, truncate, "a", 7)
        self.same(ROOT, truncate, "a", 100)
        self.same(ROOT, open_only, "a", os.O_RDONLY)
        self.same(ROOT, open_only, "a", os.O_WRONLY)
        self.same(ROOT, open_only, "a", os.O_WRONLY | os.O_TRUNC)
        self.same(ROOT, open_only, "a", os.O_WRONLY | os.O_TRUNC)
        self.same(ROOT, chmod, "a", 0o600)
        self.same(ROOT, chmod, "a", 0o600)
        self.same(ROOT, chown, "a", -1, -1)
        self.same(ROOT, chown, "d", -1, -1)
        self.same(ROOT, link, "a", "d/b")
        self.same(ROOT, rename, "a", "c")
        self.same(ROOT, rename, "c", "d/b")     # two names of one file: nothing
        self.same(ROOT, rename, "c", "d/c")
        self.same(ROOT, rename, "d/b", "d/c")
        self.same(ROOT, unlink, "d/b")
        self.same(ROOT, make, "e")
        self.same(ROOT, rename, "e", "d/c", RENAME_EXCHANGE)
        self.same(ROOT, rename, "e", "d/c")
        self.same(ROOT, mkdir, "d/below")
        self.same(ROOT, rename, "d/below", "above")
        self.same(ROOT, symlink, "l")
        self.same(ROOT, rmdir, "above")

    def test_times_are_set_by_whom_they_may_be(self):
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
        self.note()
        some, other = (1234567890, 123456789), (-86400, 5)
        self.same(ADA, make, "file", 0o646, 0)
        for user in USERS:
            for access in (some, (0, UTIME_NOW), (0, UTIME_OMIT)):
                for modification in (other, (0, UTIME_NOW), (0, UTIME_OMIT)):
                    came_to = self.same(user, utimens, "file", access, modification)
                    self.assertIn(came_to, ((), "EPERM", "EACCES"))

    def test_reading_makes_no_change(self):
        write_file(self.dir / "file", b"x")
        os.mkdir(self.dir / "d")
        os.symlink("file", self.dir / "link")
        before, lsn = os.stat(self.dir / "file").st_atime_ns, self.m.latest()
        tree(self.dir)
        self.assertEqual(os.stat(self.dir / "file").st_atime_ns, before)
        self.assertEqual(self.m.latest(), lsn)

    def test_a_directory_has_one_link_and_a_file_its_names(self):
        mkdir(self.dir, "d")
        mkdir(self.dir, "d/e")
        make(self.dir, "f")
        link(self.dir, "f", "d/f")
        self.assertEqual([os.stat(self.dir / name).st_nlink for name in ("", "d", "f", "d/f")], [1, 1, 2, 2])
        fd = os.open(self.dir / "f", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        unlink(self.dir, "f")
        self.assertEqual(os.fstat(fd).st_nlink, 1)
        unlink(self.dir, "d/f")
        self.assertEqual(os.fstat(fd).st_nlink, 0)


class Kinds(BesideCase):
    def test_special_files_are_what_they_were_at_head_and_in_the_past(self):
        self.same(ROOT, mknod, "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self.same(ROOT, mknod, "large", stat.S_IFCHR | 0o600, os.makedev(0xabc, 0xdef12))
        self.same(ROOT, mknod, "block", stat.S_IFBLK | 0o640, os.makedev(7, 0))
        self.same(ROOT, mknod, "fifo", stat.S_IFIFO | 0o620)
        self.same(ROOT, mknod, "socket", stat.S_IFSOCK | 0o600)
        self.same(ROOT, mknod, "plain", stat.S_IFREG | 0o600)
        self.same(ROOT, mknod, "zero", 0o600)
        self.assertEqual(self.same(BOB, mknod, "denied", stat.S_IFCHR | 0o666, os.makedev(1, 3)), "EACCES")
        lsn = self.m.latest()
        names = sorted(os.listdir(self.dir))
        wanted = [describe(self.dir / name) for name in names]
        for name in names:
            unlink(self.dir, name)
        self.m.remount()
        self.assertEqual([describe(self.past(lsn) / name) for name in names], wanted)
        # The kernel opens the device, in the past too.
        with open(self.past(lsn) / "null", "rb") as device:
            self.assertEqual(device.read(), b"")

    def test_a_fifo_joins_two_processes(self):
        mknod(self.dir, "fifo", stat.S_IFIFO | 0o600)
        lsn = self.m.latest()
        pid = os.fork()
        if pid == 0:
            write(self.dir, "fifo", b"through")
            os._exit(0)
        self.assertEqual(harness.read_file(self.dir / "fifo"), b"through")
        os.waitpid(pid, 0)
        self.assertEqual(self.m.latest(), lsn)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.past(lsn) / "fifo").st_mode))

    def test_renames_with_flags(self):
        self.same(ROOT, make, "a", 0o600)
        self.same(ROOT, make, "b", 0o644)
        self.same(ROOT, mkdir, "d")
        self.same(ROOT, make, "d/c")
        self.assertEqual(self.same(ROOT, rename, "a", "b", RENAME_NOREPLACE), "EEXIST")
        self.assertIsNone(self.same(ROOT, rename, "a", "x", RENAME_NOREPLACE))
        self.assertEqual(self.same(ROOT, rename, "x", "y", RENAME_EXCHANGE), "ENOENT")
        self.same(ROOT, rename, "x", "b", RENAME_EXCHANGE)
        self.same(ROOT, rename, "x", "d", RENAME_EXCHANGE)
        self.assertEqual(self.same(ROOT, rename, "x", "x/c", RENAME_EXCHANGE), "EINVAL")
        self.assertEqual(self.same(ROOT, rename, "x/c", "x", RENAME_EXCHANGE), "EINVAL")
        self.assertEqual(self.same(ROOT, rename, "d", "z", RENAME_NOREPLACE | RENAME_EXCHANGE), "EINVAL")
        self.assertEqual(outcome(rename, self.dir, "d", "z", RENAME_WHITEOUT), "EINVAL")

    def test_names_and_targets_have_their_limits(self):
        self.same(ROOT, make, "n" * 255)
        self.assertEqual(self.same(ROOT, make, "n" * 256), "ENAMETOOLONG")
        self.assertEqual(self.same(ROOT, mkdir, "\u00e4" * 128), "ENAMETOOLONG")
        self.same(ROOT, mkdir, "\u00e4" * 127)
        self.same(ROOT, symlink, "short", "t" * 59)
        self.assertEqual(outcome(symlink, self.dir, "long", "t" * 4095), None)
        self.assertEqual(os.readlink(self.dir / "long"), "t" * 4095)
        self.assertEqual(outcome(symlink, self.dir, "longer", "t" * 4096), "ENAMETOOLONG")
        self.assertEqual(outcome(symlink, self.dir, "empty", ""), "ENOENT")
        lsn = self.m.latest()
        self.assertEqual(os.readlink(self.past(lsn) / "long"), "t" * 4095)

    def test_paths_may_be_as_long_as_the_kernel_takes_and_deeper(self):
        os.chdir(self.dir)
        self.addCleanup(os.chdir, "/")
        for _ in range(40):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        make(harness.pathlib.Path("."), "deep")
        lsn = self.m.latest()
        os.chdir(self.past(lsn))
        for _ in range(40):
            os.chdir("d" * 200)
        self.assertTrue(os.path.exists("deep"))

    def test_a_file_may_have_65000_links(self):
        make(self.dir, "0")
        made = 1
        with self.assertRaises(OSError) as caught:
            while made < 65_002:
                link(self.dir, "0", str(made))
                made += 1
        self.assertEqual((caught.exception.errno, made), (errno.EMLINK, 65_000))
        self.assertEqual(os.stat(self.dir / "7").st_nlink, 65_000)
        unlink(self.dir, "7")
        link(self.dir, "0", "7")

    # ---- O_TMPFILE ----

    def unnamed(self, flags=0, mode=0o640):
        fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR | flags, mode)
        self.addCleanup(os.close, fd)
        return fd

    def give(self, fd, name):
        libc_call("linkat", AT_FDCWD, os.fsencode(f"/proc/self/fd/{fd}"), AT_FDCWD,
                  os.fsencode(self.dir / name), AT_SYMLINK_FOLLOW)

    def test_an_unnamed_file_is_seen_by_nobody_until_it_has_a_name(self):
        fd = self.unnamed()
        self.assertEqual((os.fstat(fd).st_nlink, stat.S_IMODE(os.fstat(fd).st_mode)), (0, 0o640))
        os.write(fd, b"content")
        before = self.m.latest()
        self.assertEqual(os.listdir(self.dir), [])
        self.give(fd, "named")
        self.assertEqual(harness.read_file(self.dir / "named"), b"content")
        self.assertEqual(os.fstat(fd).st_nlink, 1)
        self.assertEqual(os.listdir(self.past(before)), [])
        self.assertEqual(harness.read_file(self.past(self.m.latest()) / "named"), b"content")
        os.write(fd, b", and more")
        self.m.assert_clean()
        self.assertEqual(harness.read_file(self.dir / "named"), b"content, and more")

    def test_an_unnamed_file_by_its_descriptor_alone(self):
        fd = self.unnamed()
        libc_call("linkat", fd, b"", AT_FDCWD, os.fsencode(self.dir / "named"), AT_EMPTY_PATH)
        self.assertEqual(os.listdir(self.dir), ["named"])

    def test_an_exclusive_one_stays_without(self):
        fd = self.unnamed(os.O_EXCL)
        self.assert_errno(errno.ENOENT, self.give, fd, "named")

    def test_unnamed_files_nobody_holds_leave_nothing(self):
        for _ in range(20):
            fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR)
            os.write(fd, b"x" * 10_000)
            os.close(fd)
        self.m.remount()
        self.m.assert_clean()
        self.assertEqual(os.listdir(self.dir), [])


class Anything(BesideCase):
    """Random operations of three users in directories of several modes."""

    def random_operation(self):
        r = self.random
        a, b = r.choice(NAMES), r.choice(NAMES)
        some = lambda: r.choice(((r.randrange(1 << 31), r.randrange(10**9)), (0, UTIME_NOW), (0, UTIME_OMIT)))
        return r.choice((
            (make, a, r.choice(MODES), r.choice((0, 0o022, 0o077)), r.choice((0, os.O_EXCL, os.O_TRUNC))),
            (make, a, r.choice(MODES), r.choice((0, 0o022, 0o077)), r.choice((0, os.O_EXCL, os.O_TRUNC))),
            (mkdir, a, r.choice(MODES), r.choice((0, 0o022, 0o077))),
            (mkdir, a, r.choice(MODES), r.choice((0, 0o022, 0o077))),
            (mknod, a, stat.S_IFIFO | r.choice(MODES)),
            (symlink, a, b), (link, a, b), (unlink, a), (rmdir, a),
            (rename, a, b, r.choice((0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE))),
            (chmod, a, r.choice(MODES)), (chmod, a, r.choice(MODES)), (chmod, a, r.choice(MODES)),
            (chown, a, r.choice((-1, 0, 1001, 1002)), r.choice((-1, 0, 2001, 2002, 3000))),
            (truncate, a, r.choice((0, 10, 5000))),
            (utimens, a, some(), some()),
        ))

    @staticmethod
    def is_told_differently(there, operation, user):
        """A chown that names nobody comes as a request to set nothing: on the head it is refused to
        nobody, and clears bits for owner and root. Whether others clear a set-group-id bit where the group may not execute depends, since
        Linux 6.2, on their groups, of which a file system isn't told: on the head it stays."""
        if operation[0] is chown and operation[2:] == (-1, -1) and user is not ROOT:
            return True
        return operation[0] in (chown, truncate, make) and \
            any(os.lstat(os.path.join(at, name)).st_mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID
                for at, _, files in os.walk(there) for name in files)

    def test_it_comes_to_the_same(self):
        self.random = harness.seeded_random()
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
            for name, mode in (("d", 0o2777), ("s", 0o1777)):
                os.mkdir(root / name)
                os.chown(root / name, 0, 3000)
                os.chmod(root / name, mode)
        self.note()
        noted, agreed = {}, {}
        steps = harness.by_size(300, 800, 6000)
        for step in range(steps):
            user, operation = self.random.choice(USERS), self.random_operation()
            if self.is_told_differently(self.plain, operation, user):
                continue
            came_to = self.same(user, *operation)
            word = came_to if isinstance(came_to, str) else "done"
            agreed[word] = agreed.get(word, 0) + 1
            if step % (steps // 20) == 0:
                noted[self.m.latest()] = tree(self.dir)
        print("outcomes on both:", dict(sorted(agreed.items())))
        self.assertGreater(agreed["done"], steps // 10)
        self.assertGreater(agreed.get("EPERM", 0) + agreed.get("EACCES", 0), steps // 50)
        self.m.remount()
        for lsn, wanted in noted.items():
            found = tree(self.past(lsn))
            self.assertEqual({name: found[name] for name in found}, wanted, f"LSN {lsn}")
        self.m.assert_clean()


if __name__ == "__main__":
    harness.main()
