"""The head beside ext4: the same operations, by the same users, have to come to the same.

BesideCase has an ext4 of its own in a file, and a mount. same() runs an operation on both and
compares what it returned, or its errno, and what it left: every name below, with type, mode, owner,
links, size, device, target, bytes, extended attributes and access control lists, and which times of which inode
it changed. Times of access are not compared: reading changes none on the head.
"""
import errno
import os
import pickle
import stat
import time

import harness

# An ext4 stamps changes with the clock of the kernel's ticks; older kernels tick every 10 ms.
TICK_S = 0.011


class User:
    """Somebody to act as: @groups beside the first."""

    def __init__(self, name, uid, gid, groups=()):
        self.name, self.uid, self.gid, self.groups = name, uid, gid, list(groups)

    def __repr__(self):
        return self.name


ROOT = User("root", 0, 0)
ADA = User("ada", 1001, 2001, [2001, 3000])
BOB = User("bob", 1002, 2002, [2002])


def outcome(call, *args):
    """What a call returned, or the name of its errno."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]


def as_user(user, call, *args):
    """outcome() of a call made by @user, in a child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.setgroups(user.groups)
            os.setgid(user.gid)
            os.setuid(user.uid)
            result = pickle.dumps(outcome(call, *args))
        except BaseException as error:  # pylint: disable=broad-exception-caught
            result = pickle.dumps(f"not run: {error!r}")
        os.write(writer, result)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        result = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(result)


def attributes_of(path):
    """All extended attributes, access control lists among them."""
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)}


def describe(path):
    """What there is to an inode but its number and its times."""
    found = os.lstat(path)
    text = [stat.filemode(found.st_mode), oct(found.st_mode), found.st_uid, found.st_gid, found.st_rdev,
            sorted(attributes_of(path).items())]
    if not stat.S_ISDIR(found.st_mode):
        text += [found.st_nlink, found.st_size]
    if stat.S_ISLNK(found.st_mode):
        text.append(os.readlink(path))
    if stat.S_ISREG(found.st_mode):
        text.append(harness.read_file(path))
    return text


def times(path):
    found = os.lstat(path)
    return found.st_mtime_ns, found.st_ctime_ns


def tree(root):
    """Every inode below and with @root: {name: (what it is, its times)}."""
    names = ["."] + [os.path.relpath(os.path.join(at, name), root)
                     for at, dirs, files in os.walk(root) for name in dirs + files]
    return {name: (describe(os.path.join(root, name)), times(os.path.join(root, name)))
            for name in names}


def change(before, after):
    """What each inode is now, and which of its times are others."""
    def moved(name):
        if name not in before:
            return "new"
        return [one != other for one, other in zip(before[name][1], after[name][1])]
    return {name: (after[name][0], moved(name)) for name in after}


class BesideCase(harness.MountCase):
    """self.dir is on the head, self.plain on ext4; both are empty at first."""
    options = ("suid", "dev")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if os.geteuid() != 0:
            raise AssertionError("to act as other users and mount an ext4 this test has to be run by root")
        os.chmod(cls.m.folder, 0o755)
        cls.disk = cls.m.folder / "ext4"
        cls.disk.mkdir()
        with open(cls.m.folder / "image", "wb") as image:
            image.truncate(64 << 20)
        harness.run("mkfs.ext4", "-q", "-b", "4096", cls.m.folder / "image")
        harness.run("mount", "-o", "loop", cls.m.folder / "image", cls.disk)
        # Before the mount's folder is removed.
        cls.addClassCleanup(harness.run, "umount", "-l", cls.disk)

    def setUp(self):
        super().setUp()
        self.plain = self.disk / self.name
        self.plain.mkdir()
        self.note()

    def note(self):
        """What both are now is what the next operation is compared with."""
        self.before = tree(self.plain), tree(self.dir)

    def same(self, user, call, *args):
        """Run call(root, *args) as @user on both. What it came to."""
        time.sleep(TICK_S)
        there = as_user(user, call, self.plain, *args)
        here = as_user(user, call, self.dir, *args)
        what = f"{call.__name__}{args} by {user}"
        self.assertEqual(here, there, what)
        before, self.before = self.before, (tree(self.plain), tree(self.dir))
        wanted, found = change(before[0], self.before[0]), change(before[1], self.before[1])
        for name in sorted(set(wanted) | set(found)):
            self.assertEqual(found.get(name), wanted.get(name), f"{name}, after {what} came to {here!r}")
        return there
