#!/usr/bin/python3
"""A mount that is at several places: bound elsewhere, or copied to another mount namespace. It works
at each, goes from each alone, and the server ends in order, nothing lost, when the last is gone."""
import errno
import mmap
import os
import pathlib
import signal
import subprocess

import harness
from harness import pattern, read_file, varve, wait_for, write_file

END_S = 10


class BindCase(harness.ServerCase):
    def bind(self, source, target):
        target = pathlib.Path(target)
        if source.is_dir():
            target.mkdir()
        else:
            target.touch()
        harness.run("mount", "--bind", source, target)
        self.addCleanup(self.clear, target)
        return target

    def clear(self, target):
        while harness.is_mounted(target):
            subprocess.run(["umount", "-l", target], check=False, stderr=subprocess.DEVNULL)

    def assert_ends(self, m):
        wait_for("the server ends", lambda: not m.servers(), timeout=END_S)

    def assert_remounted_with(self, m, name, data):
        m.mount()
        self.assertEqual(read_file(m.head / name), data)
        m.assert_clean()


def write_through_mapping(path):
    """Pages that only the kernel has; what the file then holds."""
    write_file(path, pattern(100_000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[50_000:50_006] = b"mapped"
    return pattern(100_000)[:50_000] + b"mapped" + pattern(100_000)[50_006:]


class Bound(BindCase):
    def test_a_bound_head_is_the_head(self):
        m = self.mount_new()
        (m.head / "sub").mkdir()
        x = self.bind(m.head, m.folder / "x")
        y = self.bind(m.head / "sub", m.folder / "y")
        write_file(x / "sub" / "file", b"one")
        lsn = m.latest()
        self.assertEqual(read_file(y / "file"), b"one")
        write_file(y / "file", b"two")
        os.rename(y / "file", y / "moved")
        self.assertEqual(read_file(m.head / "sub" / "moved"), b"two")
        self.assertEqual(read_file(m.at(lsn) / "sub" / "file"), b"one")
        self.assertEqual(os.getxattr(y / "moved", "varve.store"), os.fsencode(m.store))
        self.assertIn("grew from", varve("log", y / "moved").stdout)
        self.assertEqual(os.stat(x).st_ino, os.stat(m.head).st_ino)

    def test_a_file_can_be_bound(self):
        m = self.mount_new()
        write_file(m.head / "file", b"here")
        there = self.bind(m.head / "file", m.folder / "there")
        write_file(there, b"there")
        self.assertEqual(read_file(m.head / "file"), b"there")
        done = varve("umount", there)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_server_ends_with_the_last_of_them(self):
        """By umount(8), the first mount first; what only the kernel had of a mapping is there."""
        m = self.mount_new()
        x = self.bind(m.head, m.folder / "x")
        harness.run("umount", m.point)
        wanted = write_through_mapping(x / "file")
        self.assertEqual(len(m.servers()), 1)
        harness.run("umount", x)
        self.assert_ends(m)
        self.assert_remounted_with(m, "file", wanted)

    def test_varve_umount_takes_one_and_tells_of_the_other(self):
        m = self.mount_new()
        x = self.bind(m.head, m.folder / "x")
        wanted = write_through_mapping(x / "file")
        for gone, stays in ((x, m.point), (m.point, None)):
            if not stays:
                x = self.bind(m.head, m.folder / "again")
                stays = x
            done = varve("umount", gone)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout, f"{m.store} is still mounted at {stays}\n")
            self.assertFalse(harness.is_mounted(gone))
            self.assertEqual(len(m.servers()), 1)
        self.assertEqual(read_file(x / "file"), wanted)
        info = harness.json_of(self, varve("info", x, "--json"))
        self.assertEqual(info["durable_lsn"], info["newest_lsn"])
        done = varve("umount", x)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(m.servers(), [])
        self.assert_remounted_with(m, "file", wanted)

    def test_sigterm_leaves_none_of_them_dead(self):
        m = self.mount_new()
        x, y = self.bind(m.head, m.folder / "x"), self.bind(m.lsn, m.folder / "y")
        wanted = write_through_mapping(x / "file")
        os.kill(m.servers()[0], signal.SIGTERM)
        self.assert_ends(m)
        self.assertFalse(any(map(harness.is_mounted, (m.point, x, y))))
        self.assert_remounted_with(m, "file", wanted)

    def test_sigterm_while_one_is_in_use(self):
        m = self.mount_new()
        x = self.bind(m.head, m.folder / "x")
        fd = os.open(x / "file", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"written")
        os.kill(m.servers()[0], signal.SIGTERM)
        self.assert_ends(m)
        for call in (lambda: os.write(fd, b"too late"), lambda: os.close(fd)):
            with self.assertRaises(OSError) as caught:
                call()
            self.assertIn(caught.exception.errno, (errno.ENOTCONN, errno.ECONNABORTED))
        self.assertFalse(harness.is_mounted(m.point) or harness.is_mounted(x))
        self.assert_remounted_with(m, "file", b"written")

    def test_the_past_can_be_bound(self):
        m = self.mount_new()
        write_file(m.head / "file", b"before")
        lsn = m.latest()
        write_file(m.head / "file", b"after")
        x = self.bind(m.at(lsn), m.folder / "x")
        self.assertEqual(read_file(x / "file"), b"before")
        with self.assertRaises(OSError) as caught:
            write_file(x / "file", b"x")
        self.assertEqual(caught.exception.errno, errno.EROFS)

    def test_a_bound_past_is_gone_once_the_window_passed_it_and_nothing_is_open_there(self):
        m = self.mount_new()
        write_file(m.head / "file", b"before")
        x = self.bind(m.at(m.latest()), m.folder / "x")
        with open(x / "file", "rb") as file:
            for i in range(20):
                write_file(m.head / "other", pattern(10_000, i))
            self.assertEqual(varve("window", m.point, "--bytes", "5K").returncode, 0)
            self.assertEqual(varve("gc", m.point).returncode, 0)
            self.assertEqual(file.read(), b"before")
        for call, code in ((lambda: os.listdir(x), errno.ESTALE),
                           (lambda: read_file(x / "file"), errno.ENOENT)):
            with self.assertRaises(OSError) as caught:
                call()
            self.assertEqual(caught.exception.errno, code)


class OtherNamespace(BindCase):
    def test_the_server_ends_with_the_last_copy(self):
        """A container that holds a copy of the mount writes on after umount(8) here."""
        m = self.mount_new()
        script = f"echo made; read line; echo late > {m.head}/late; sync; exec cat"
        other = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.addCleanup(other.stdout.close)
        self.assertEqual(other.stdout.readline(), b"made\n")
        wanted = write_through_mapping(m.head / "file")
        harness.run("umount", m.point)
        other.stdin.write(b"go\n")
        other.stdin.flush()
        late = pathlib.Path(f"/proc/{other.pid}/root{m.head}/late")
        wait_for("the copy is written to", lambda: late.exists() and late.read_bytes() == b"late\n")
        self.assertEqual(len(m.servers()), 1)
        other.stdin.close()
        self.assertEqual(other.wait(), 0)
        self.assert_ends(m)
        self.assert_remounted_with(m, "file", wanted)
        self.assertEqual(read_file(m.head / "late"), b"late\n")

    def test_a_bind_made_there_goes_with_it(self):
        m = self.mount_new()
        x = m.folder / "x"
        x.mkdir()
        script = f"mount --bind {m.head} {x} && umount {m.point} && echo there > {x}/file"
        harness.run("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
        self.assertFalse(harness.is_mounted(x))
        self.assertEqual(read_file(m.head / "file"), b"there\n")
        m.umount()
        self.assertEqual(m.servers(), [])


    def test_a_test_program_with_a_namespace_of_its_own_keeps_no_copy(self):
        m = self.mount_new()
        program = subprocess.Popen([harness.BUILD / "tests" / "replay_open_layer"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "VARVE_FUZZ_RANDOM": "1000000"})
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        mounts = pathlib.Path(f"/proc/{program.pid}/mountinfo")
        here = os.readlink("/proc/self/ns/mnt")
        wait_for("it has its own", lambda: os.readlink(f"/proc/{program.pid}/ns/mnt") != here)
        wait_for("it has no copy", lambda: str(m.point) not in mounts.read_text("utf-8"), timeout=END_S)
        harness.run("umount", m.point)
        self.assert_ends(m)
        self.assertIsNone(program.poll())


class Dead(BindCase):
    def test_a_dead_mount_in_use_is_cleared(self):
        """Who has a file open there can only get errors; they don't keep the place taken."""
        m = self.mount_new()
        write_file(m.head / "file", b"kept")
        with open(m.head / "file", "rb"):
            os.kill(m.servers()[0], signal.SIGKILL)
            wait_for("the killed server is gone", lambda: not m.servers())
            done = varve("umount", m.point)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertFalse(harness.is_mounted(m.point))
            self.assert_remounted_with(m, "file", b"kept")

    def test_a_mount_in_use_that_is_not_dead_is_not(self):
        m = self.mount_new()
        with open(m.head / "file", "wb"):
            done = varve("umount", m.point)
            self.assertEqual(done.returncode, 1)
            self.assertIn("fuser", done.stderr)
        self.assertTrue(harness.is_mounted(m.point))


if __name__ == "__main__":
    harness.main()
