#!/usr/bin/python3
"""Extended attributes and access control lists: on the head as on ext4, kept at every LSN, and
carried by cp, rsync and tar."""
import errno
import mmap
import os
import shutil
import stat
import struct
import subprocess

import harness
from beside import ADA, BOB, ROOT, BesideCase, as_user, attributes_of, outcome, tree
from harness import run, write_file

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
CAPABILITY = "security.capability"
# cap_net_raw=ep, revision 2
CAP_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
NAMES = ("a", "b", "d", "d/a", "d/b", "d/e", "d/e/a")


def acl(text):
    """The value for "u:7 u1001:6 g:5 m:7 o:4"."""
    tags = {"u": (1, 2), "g": (4, 8), "m": (16, 16), "o": (32, 32)}
    value = struct.pack("<I", 2)
    for entry in text.split():
        who, permissions = entry.split(":")
        tag, owner = tags[who[0]][who[1:] != ""], int(who[1:] or 0xffffffff)
        value += struct.pack("<HHI", tag, int(permissions, 8), owner)
    return value


# ---- operations, each a function of a root ----

def make(root, name, mode=0o666, umask=0o022):
    os.umask(umask)
    os.close(os.open(root / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def mkdir(root, name, mode=0o777, umask=0o022):
    os.umask(umask)
    os.mkdir(root / name, mode)


def symlink(root, name):
    os.symlink("anywhere", root / name)


def rename(root, name, new):
    os.rename(root / name, root / new)


def remove(root, name):
    os.remove(root / name)


def put(root, name, attribute, value, flags=0):
    os.setxattr(root / name, attribute, value, flags, follow_symlinks=False)


def get(root, name, attribute):
    return os.getxattr(root / name, attribute, follow_symlinks=False)


def names(root, name):
    return sorted(os.listxattr(root / name, follow_symlinks=False))


def drop(root, name, attribute):
    os.removexattr(root / name, attribute, follow_symlinks=False)


def chmod(root, name, mode):
    os.chmod(root / name, mode)


def chown(root, name, uid, gid):
    os.lchown(root / name, uid, gid)


def write(root, name, data=b"written"):
    fd = os.open(root / name, os.O_WRONLY)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def truncate(root, name, size):
    os.truncate(root / name, size)


def may(root, name):
    return [os.access(root / name, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)]


class Attributes(BesideCase):
    def setUp(self):
        super().setUp()
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
        self.note()

    def test_each_call_comes_to_the_same(self):
        self.same(ADA, make, "file", 0o644)
        self.assertEqual(self.same(ADA, get, "file", "user.a"), "ENODATA")
        self.same(ADA, put, "file", "user.a", b"1")
        self.assertEqual(self.same(ADA, put, "file", "user.a", b"2", os.XATTR_CREATE), "EEXIST")
        self.assertEqual(self.same(ADA, put, "file", "user.b", b"2", os.XATTR_REPLACE), "ENODATA")
        self.same(ADA, put, "file", "user.a", b"3", os.XATTR_REPLACE)
        self.same(ADA, put, "file", "user.b", b"")
        self.assertEqual(self.same(BOB, get, "file", "user.a"), b"3")
        self.assertEqual(self.same(BOB, put, "file", "user.a", b"4"), "EACCES")
        self.assertEqual(self.same(BOB, drop, "file", "user.a"), "EACCES")
        self.same(ADA, drop, "file", "user.a")
        self.assertEqual(self.same(ADA, drop, "file", "user.a"), "ENODATA")
        self.assertEqual(self.same(ADA, names, "file"), ["user.b"])
        self.same(ADA, rename, "file", "other")
        self.assertEqual(self.same(ADA, get, "other", "user.b"), b"")
        self.same(ADA, remove, "other")

    def test_namespaces_are_whose_they_are(self):
        self.same(ROOT, make, "file", 0o666, 0)
        self.same(ROOT, mkdir, "dir", 0o1777, 0)
        self.same(ROOT, symlink, "link")
        for user in (ROOT, ADA):
            for name in ("file", "dir", "link"):
                for attribute in ("user.x", "trusted.x", "security.x", CAPABILITY, "system.x", "nothing", "user.",
                                  "user." + "n" * 250, "user." + "n" * 251, ACCESS):
                    self.same(user, put, name, attribute, b"some value")
                    self.same(user, get, name, attribute)
                self.same(user, names, name)
                self.same(user, drop, name, "trusted.x")

    def test_values_and_lists_have_limits(self):
        write_file(self.dir / "file", b"")
        large = harness.pattern(1 << 16)
        put(self.dir, "file", "user.large", large)
        self.assertEqual(get(self.dir, "file", "user.large"), large)
        self.assertEqual(outcome(put, self.dir, "file", "user.larger", large + b"x"), "E2BIG")
        # All names together: 64 KiB.
        count = 0
        while True:
            came_to = outcome(put, self.dir, "file", f"user.{count:04}" + "n" * 200, b"x")
            if came_to:
                break
            count += 1
        self.assertEqual(came_to, "ENOSPC")
        self.assertEqual(count, (65536 - len("user.large") - 1) // 210)
        self.assertEqual(len(os.listxattr(self.dir / "file")), count + 1)
        self.m.remount()
        self.assertEqual(get(self.dir, "file", "user.large"), large)
        self.assertEqual(len(os.listxattr(self.dir / "file")), count + 1)

    def test_each_change_is_one_lsn_and_stays_readable_there(self):
        write_file(self.dir / "file", b"x")
        noted = {}
        for step in range(30):
            before = self.m.latest()
            if step % 5 == 4:
                drop(self.dir, "file", f"user.{step % 4}")
            else:
                put(self.dir, "file", f"user.{step % 4}", b"%d" % step * (step * 100))
            after = self.m.latest()
            self.assertGreater(after, before)
            # No LSN lies between: any number there shows the state before.
            self.assertEqual(attributes_of(self.past(after - 1) / "file"),
                             noted.get(before, {}))
            noted[after] = attributes_of(self.dir / "file")
        for _ in range(2):
            for lsn, wanted in noted.items():
                self.assertEqual(attributes_of(self.past(lsn) / "file"), wanted)
            self.m.remount()

    def test_the_past_is_not_changed(self):
        write_file(self.dir / "file", b"x")
        put(self.dir, "file", "user.a", b"1")
        past = self.past(self.m.latest())
        for call, args in ((put, ("user.b", b"2")), (put, ("user.a", b"2")), (drop, ("user.a",)),
                           (put, (ACCESS, acl("u:7 u1001:6 g:5 m:7 o:4")))):
            self.assertEqual(outcome(call, past, "file", *args), "EROFS")
        self.assertEqual(attributes_of(past / "file"), {"user.a": b"1"})

    def test_varves_own_are_read_by_name_and_not_listed(self):
        write_file(self.dir / "file", b"x")
        self.assertEqual(os.listxattr(self.dir / "file"), [])
        self.assertEqual(get(self.dir, "file", "varve.store"), os.fsencode(self.m.store))
        self.assertEqual(get(self.dir, "file", "varve.lsn"), b"%d" % self.m.latest())
        self.assertEqual(outcome(put, self.dir, "file", "varve.lsn", b"1"), errno.errorcode[errno.EOPNOTSUPP])
        for own in (self.m.point, self.m.lsn, self.m.point / ".varve"):
            self.assertEqual(os.listxattr(own), [])
            self.assertEqual(outcome(get, own, ".", "user.x"), "ENODATA")
            self.assertIn(outcome(put, own, ".", "user.x", b""), ("EPERM", "EROFS"))

    def test_capabilities_go_with_what_is_written(self):
        for user in (ROOT, ADA):
            for count, (call, args) in enumerate((
                    (write, ()), (write, (b"", )), (truncate, (2,)), (truncate, (0,)), (chmod, (0o700,)),
                    (chown, (1001, 2001)), (chown, (-1, 3000)), (chown, (-1, -1)))):
                name = f"{user}-{count}"
                self.same(ADA, make, name, 0o755)
                self.same(ADA, write, name, b"#!/bin/sh")
                self.same(ROOT, put, name, CAPABILITY, CAP_NET_RAW)
                self.same(user, call, name, *args)

    def test_capabilities_go_with_a_direct_write(self):
        fd = os.open(self.dir / "file", os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o755)
        self.addCleanup(os.close, fd)
        put(self.dir, "file", CAPABILITY, CAP_NET_RAW)
        with mmap.mmap(-1, 4096) as page:       # aligned
            os.write(fd, page)
        self.assertEqual(outcome(get, self.dir, "file", CAPABILITY), "ENODATA")

    def test_trusted_ones_are_listed_to_root_alone(self):
        self.same(ROOT, make, "file", 0o666, 0)
        self.same(ROOT, put, "file", "trusted.x", b"1")
        self.same(ADA, put, "file", "user.x", b"1")
        self.assertEqual(self.same(ROOT, names, "file"), ["trusted.x", "user.x"])
        self.assertEqual(self.same(ADA, names, "file"), ["user.x"])
        self.assertEqual(self.same(ADA, get, "file", "trusted.x"), "ENODATA")


class Lists(BesideCase):
    """POSIX access control lists."""

    def setUp(self):
        super().setUp()
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
        self.note()

    def test_mode_and_list_follow_each_other(self):
        self.same(ADA, make, "file", 0o640)
        self.same(ADA, put, "file", ACCESS, acl("u:7 u1002:6 g:5 m:7 o:4"))
        self.same(ADA, chmod, "file", 0o600)
        self.same(ADA, get, "file", ACCESS)
        self.same(ADA, chmod, "file", 0o677)
        self.same(ADA, put, "file", ACCESS, acl("u:7 g:5 o:4"))
        self.same(ADA, names, "file")
        self.same(ADA, get, "file", ACCESS)
        self.same(ADA, put, "file", ACCESS, acl("u:7 g:5 g3000:7 m:1 o:4"))
        self.same(ADA, drop, "file", ACCESS)
        self.same(ADA, drop, "file", ACCESS)
        self.same(ADA, put, "file", ACCESS, acl("u:7 u1:6 g:5 o:4"))
        self.same(ADA, put, "file", ACCESS, b"no list")
        self.same(ADA, put, "file", DEFAULT, acl("u:7 g:5 o:4"))
        self.same(BOB, put, "file", ACCESS, acl("u:7 g:5 o:4"))

    def test_a_list_clears_the_set_group_id_bit_for_one_outside_of_the_group(self):
        for user in (ROOT, ADA):
            self.same(ROOT, make, f"{user}", 0o600)
            self.same(ROOT, chown, f"{user}", user.uid, 2002)
            self.same(ROOT, chmod, f"{user}", 0o2770)
            self.same(user, put, f"{user}", ACCESS, acl("u:7 u5:7 g:7 m:7 o:0"))

    def test_the_kernel_enforces_them_at_head_and_in_the_past(self):
        self.same(ROOT, make, "file", 0o600, 0)
        closed = self.m.latest()
        self.same(ROOT, put, "file", ACCESS, acl("u:6 u1001:4 g:0 g2002:6 m:6 o:0"))
        opened = self.m.latest()
        self.assertEqual(self.same(ADA, may, "file"), [True, False, False])
        self.assertEqual(self.same(BOB, may, "file"), [True, True, False])
        self.assertEqual(self.same(ADA, write, "file"), "EACCES")
        self.assertEqual(self.same(BOB, write, "file"), 7)
        self.same(ROOT, chmod, "file", 0o600)
        self.assertEqual(self.same(BOB, may, "file"), [False, False, False])
        self.assertEqual(as_user(ADA, may, self.past(closed), "file")[0], False)
        self.assertEqual(as_user(ADA, may, self.past(opened), "file")[0], True)
        self.assertEqual(as_user(BOB, harness.read_file, self.past(opened) / "file"), b"")
        self.assertEqual(as_user(ADA, harness.read_file, self.past(closed) / "file"), "EACCES")

    def test_what_is_new_inherits_the_default_list(self):
        self.same(ROOT, mkdir, "dir", 0o777, 0)
        for text in ("u:7 u1002:7 g:5 m:7 o:0", "u:7 g:4 o:1", "u:5 g:7 g3000:6 m:3 o:7"):
            self.same(ROOT, put, "dir", DEFAULT, acl(text))
            for mode in (0o666, 0o777, 0o600, 0o2755):
                for umask in (0, 0o077):
                    name = f"{text[:3]}{text[-1]}-{mode:o}-{umask:o}"
                    self.same(ROOT, make, f"dir/{name}", mode, umask)
                    self.same(ROOT, mkdir, f"dir/{name}.d", mode, umask)
                    self.same(ROOT, make, f"dir/{name}.d/below", mode, umask)
            self.same(ROOT, symlink, f"dir/{text[:3]}{text[-1]}")
        self.same(ROOT, drop, "dir", DEFAULT)
        self.same(ROOT, make, "dir/after", 0o666, 0o077)

    def test_no_lsn_has_the_list_without_the_mode(self):
        mkdir(self.dir, "dir")
        put(self.dir, "dir", DEFAULT, acl("u:7 u1002:7 g:5 m:7 o:0"))
        before = self.m.latest()
        make(self.dir, "dir/file")
        after = self.m.latest()
        self.assertEqual(os.listdir(self.past(after - 1) / "dir"), [])
        self.assertIn(ACCESS, names(self.past(after), "dir/file"))
        chmod(self.dir, "dir/file", 0o600)
        self.assertEqual(get(self.past(self.m.latest() - 1), "dir/file", ACCESS),
                         get(self.past(after), "dir/file", ACCESS))
        self.assertEqual(stat.S_IMODE(os.stat(self.past(after) / "dir/file").st_mode), 0o660)
        self.assertLess(before, after)


class Anything(BesideCase):
    def random_operation(self):
        r = self.random
        a, b = r.choice(NAMES), r.choice(NAMES)
        attribute = r.choice(("user.1", "user.2", "trusted.1", ACCESS, DEFAULT, CAPABILITY))
        value = CAP_NET_RAW if attribute == CAPABILITY else b"v" * r.choice((0, 10, 300))
        if attribute in (ACCESS, DEFAULT):
            value = acl(r.choice(("u:7 g:5 o:4", "u:6 u1001:7 g:5 m:7 o:0", "u:7 g:5 g2002:6 m:4 o:4",
                                  "u:7 u1001:0 u1002:7 g:0 m:7 o:0")))
        return r.choice((
            (make, a, r.choice((0o666, 0o755, 0o600)), r.choice((0, 0o077))),
            (make, a, r.choice((0o666, 0o755, 0o600)), r.choice((0, 0o077))),
            (mkdir, a, r.choice((0o777, 0o2775)), r.choice((0, 0o077))),
            (rename, a, b), (remove, a), (chmod, a, r.choice((0o600, 0o755, 0o777))),
            (chown, a, r.choice((-1, 1001)), r.choice((-1, 2002))), (write, a), (truncate, a, 5),
            (put, a, attribute, value), (put, a, attribute, value), (put, a, attribute, value),
            (put, a, attribute, value, r.choice((os.XATTR_CREATE, os.XATTR_REPLACE))),
            (drop, a, attribute), (may, a), (names, a),
        ))

    def test_it_comes_to_the_same(self):
        self.random = harness.seeded_random()
        for root in (self.plain, self.dir):
            os.chmod(root, 0o777)
        self.note()
        noted, agreed = {}, {}
        steps = harness.by_size(300, 800, 6000)
        for step in range(steps):
            operation = self.random_operation()
            came_to = self.same(self.random.choice((ROOT, ROOT, ADA, BOB)), *operation)
            word = came_to if isinstance(came_to, str) else "done"
            agreed[word] = agreed.get(word, 0) + 1
            if step % (steps // 20) == 0:
                noted[self.m.latest()] = tree(self.dir)
        print("outcomes on both:", dict(sorted(agreed.items())))
        self.assertGreater(agreed["done"], steps // 10)
        self.m.remount()
        for lsn, wanted in noted.items():
            self.assertEqual(tree(self.past(lsn)), wanted, f"LSN {lsn}")
        self.m.assert_clean()


class Copies(BesideCase):
    """From the past to another file system and back, with the tools one has."""

    def setUp(self):
        super().setUp()
        self.source = self.dir / "source"
        self.source.mkdir()
        make(self.source, "file", 0o640)
        write(self.source, "file")
        mkdir(self.source, "dir")
        put(self.source, "dir", DEFAULT, acl("u:7 u1002:7 g:5 m:7 o:0"))
        make(self.source, "dir/heir")
        put(self.source, "file", "user.comment", b"kept")
        put(self.source, "file", "trusted.also", bytes(range(256)))
        put(self.source, "file", ACCESS, acl("u:6 u1001:4 g:0 m:6 o:0"))
        put(self.source, "file", CAPABILITY, CAP_NET_RAW)
        self.lsn = self.m.latest()
        self.wanted = self.described(self.source)
        self.assertEqual(len(self.wanted["file"][5]), 4)
        shutil.rmtree(self.source)
        self.then = self.past(self.lsn) / "source"

    def described(self, root):
        return {name: what for name, (what, _) in tree(root).items()}

    def assert_carried(self, copy, *command):
        there, back = self.plain / "copy", self.dir / "back"
        copy(self.then, there)
        self.assertEqual(self.described(there), self.wanted, command)
        copy(there, back)
        self.assertEqual(self.described(back), self.wanted, command)
        self.assertEqual(self.described(self.past(self.m.latest()) / "back"), self.wanted, command)

    def test_cp(self):
        self.assert_carried(lambda source, target: run("cp", "-a", source, target))

    def test_rsync(self):
        if not shutil.which("rsync"):
            self.fail("there is no rsync: tools/check installs it")
        self.assert_carried(lambda source, target: run("rsync", "-aXA", f"{source}/", target))

    def test_tar(self):
        def carry(source, target):
            target.mkdir()
            with subprocess.Popen(["tar", "--xattrs", "--xattrs-include=*", "--acls", "-C", source, "-cf", "-", "."],
                                  stdout=subprocess.PIPE) as tar:
                fd = tar.stdout.fileno()
                run("tar", "--xattrs", "--xattrs-include=*", "--acls", "-C", target, "-xpf", f"/dev/fd/{fd}",
                    pass_fds=(fd,))
        self.assert_carried(carry)


if __name__ == "__main__":
    harness.main()
