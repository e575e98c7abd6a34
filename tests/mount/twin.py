#!/usr/bin/python3
"""Random operations on the head and on a plain directory beside it: every call has the same
outcome on both, and every noted LSN stays equal to the copy made of the plain one then."""
import errno
import os
import shutil
import stat

import harness
from harness import pattern, run

NAMES = [f"n{i}" for i in range(12)]
SIZES = (0, 1, 100, 4096, 8192, 8193, 30_000)


def outcome(call, *args):
    """What a call said: None, a value that has to be equal, or an errno's name."""
    try:
        result = call(*args)
        return result if isinstance(result, (int, bytes, str)) else None
    except OSError as error:
        return errno.errorcode[error.errno]


def write_at(path, offset, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def make(path, flags, data):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | flags, 0o644)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def kind(path):
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode):
        return (stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode))
    return (found.st_mode, found.st_size, found.st_nlink, found.st_uid, found.st_gid)


def same_tree(one, two):
    """What differs between two trees, in names, kinds, attributes or bytes; '' if nothing."""
    one_names = sorted(os.path.relpath(os.path.join(at, name), one)
                       for at, dirs, files in os.walk(one) for name in dirs + files)
    two_names = sorted(os.path.relpath(os.path.join(at, name), two)
                       for at, dirs, files in os.walk(two) for name in dirs + files)
    if one_names != two_names:
        return f"names: {set(one_names) ^ set(two_names)}"
    for name in one_names:
        a, b = os.path.join(one, name), os.path.join(two, name)
        if kind(a) != kind(b):
            return f"{name}: {kind(a)} and {kind(b)}"
        if os.path.islink(a):
            if os.readlink(a) != os.readlink(b):
                return f"{name}: targets"
        elif os.path.isfile(a) and harness.read_file(a) != harness.read_file(b):
            return f"{name}: bytes"
    return ""


class Twin(harness.MountCase):
    def random_path(self):
        return os.path.join(*self.random.choices(NAMES, k=self.random.choice((1, 1, 2, 2, 3))))

    def random_operation(self):
        """A function of a root: the same operation for both trees."""
        r = self.random
        a, b = self.random_path(), self.random_path()
        data = pattern(r.choice(SIZES), salt=r.randrange(1 << 30))
        offset, size = r.choice((0, 1, 5000, 8192, 70_000)), r.choice(SIZES + (100_000,))
        mode = r.choice((0o600, 0o644, 0o755, 0o4711))
        owner = r.randrange(5)
        flags = r.choice((0, os.O_EXCL, os.O_TRUNC, os.O_APPEND))
        return r.choice([
            lambda root: outcome(make, root / a, flags, data),
            lambda root: outcome(make, root / a, flags, data),
            lambda root: outcome(write_at, root / a, offset, data),
            lambda root: outcome(write_at, root / a, offset, data),
            lambda root: outcome(os.truncate, root / a, size),
            lambda root: outcome(os.unlink, root / a),
            lambda root: outcome(os.mkdir, root / a),
            lambda root: outcome(os.mkdir, root / a),
            lambda root: outcome(os.rmdir, root / a),
            lambda root: outcome(os.rename, root / a, root / b),
            lambda root: outcome(os.rename, root / a, root / b),
            lambda root: outcome(os.link, root / a, root / b),
            lambda root: outcome(os.symlink, a, root / b),
            lambda root: outcome(os.chmod, root / a, mode) if not os.path.islink(root / a) else None,
            lambda root: outcome(os.lchown, root / a, owner, owner),
        ])

    def test_a_plain_directory_and_the_head_go_the_same_way(self):
        self.random = harness.seeded_random()
        plain = self.m.folder / "plain"
        copies = self.m.folder / "copies"
        plain.mkdir()
        copies.mkdir()
        steps = harness.by_size(3000, 12_000, 100_000)
        noted, agreed = [], {}
        for step in range(steps):
            operation = self.random_operation()
            there, here = operation(plain), operation(self.dir)
            self.assertEqual(here, there, f"step {step}")
            word = there if isinstance(there, str) else "done"
            agreed[word] = agreed.get(word, 0) + 1
            if step % (steps // 50) == 0:
                n = self.m.latest()
                if n not in noted:
                    run("cp", "-a", plain, copies / str(n))
                    noted.append(n)
            if step % (steps // 4) == steps // 8:
                self.m.remount()
        print("outcomes on both:", dict(sorted(agreed.items())))
        self.assertGreater(agreed["done"], steps // 10)
        self.assertEqual(same_tree(plain, self.dir), "")
        for n in noted:
            self.assertEqual(same_tree(copies / str(n), self.past(n)), "", f"LSN {n}")
        self.m.kill()
        self.m.mount()
        self.assertEqual(same_tree(plain, self.dir), "")
        for n in self.random.sample(noted, min(len(noted), 10)):
            self.assertEqual(same_tree(copies / str(n), self.past(n)), "", f"LSN {n}")
        shutil.rmtree(copies)


if __name__ == "__main__":
    harness.main()
