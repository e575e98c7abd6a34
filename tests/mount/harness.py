"""A store and a mount of it, for one test, gone when the test is.

Mount makes a store in a temporary directory, mounts it with the varve of the
build under test ($VARVE_BUILD, else build/ of the clone) and gives the paths.
MountCase is a TestCase with one Mount for all of its tests and a directory of
its own on the head for each.

What is true:
(1) When the process ends, however it does short of SIGKILL, no mount and no
    server of its own is left.
(2) No test hangs: past its deadline the servers are killed, which fails every
    call the kernel still holds, and the process says where it stood and fails.
(3) Without /dev/fuse nothing is tested, and the exit status is 77, not 0.
"""
import ctypes
import errno
import faulthandler
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VARVE_BUILD", TOP / "build")).resolve()
VARVE = BUILD / "varve"
SIZE = os.environ.get("VARVE_TEST_SIZE", "full")    # fast, full or long
DEADLINE_S = 900
COMMAND_TIMEOUT_S = 120
SKIPPED = 77

_live = []      # the mounts to be cleared at the end


def by_size(fast, full, long=None):
    """The figure for the size of this run."""
    return {"fast": fast, "full": full, "long": full if long is None else long}[SIZE]


def seeded_random():
    """A random source; its seed is printed, and taken from $VARVE_TEST_SEED."""
    seed = int(os.environ.get("VARVE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed: VARVE_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


def varve(*words, timeout=COMMAND_TIMEOUT_S, **how):
    """Run the command; the finished process with text in stdout and stderr."""
    return subprocess.run([str(VARVE), *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, check=False, **how)


def run(*words, timeout=COMMAND_TIMEOUT_S, **how):
    """Run any other program; it has to succeed. What it printed."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, check=False, **how)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}\n"
                             f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_for(what, condition, timeout=30):
    """Wait until condition() is true; fail with @what when it takes too long."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}")
        time.sleep(0.01)


def is_mounted(path):
    """Is @path a mount point? Asks the kernel's table, never the server."""
    path = str(path).replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split()[4] == path for line in table)


def processes_of(word):
    """The pids of the living varve processes with @word among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            state = pathlib.Path("/proc", pid, "stat").read_text("latin-1").rsplit(")", 1)[1]
        except OSError:
            continue
        if os.path.basename(words[0]) == b"varve" and os.fsencode(word) in words \
                and state.split()[0] not in "ZX":
            found.append(int(pid))
    return found


class Mount:
    """A store and its mount point, under @folder or a temporary directory."""

    def __init__(self, folder=None, mkfs=(), options=()):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="varve-test-")).resolve()
        self.owns_folder = folder is None
        self.store = self.folder / "store"
        self.point = self.folder / "mount"
        self.options = list(options)
        self.point.mkdir()
        _live.append(self)
        made = varve("mkfs", self.store, *mkfs)
        if made.returncode != 0:
            raise AssertionError(f"varve mkfs: exit {made.returncode}: {made.stderr}")

    @property
    def head(self):
        return self.point / "head" / "rel"

    @property
    def lsn(self):
        return self.point / "lsn"

    def at(self, lsn):
        """The tree as of @lsn."""
        return self.lsn / str(lsn) / "rel"

    def latest(self):
        return int(os.readlink(self.lsn / "latest"))

    def oldest(self):
        return int(os.readlink(self.lsn / "oldest"))

    def mount(self):
        """Mount to the background, as a user does."""
        words = ["mount", self.store, self.point]
        if self.options:
            words += ["-o", ",".join(self.options)]
        done = varve(*words)
        if done.returncode != 0:
            raise AssertionError(f"varve mount: exit {done.returncode}: {done.stderr}")
        return self

    def umount(self):
        done = varve("umount", self.point)
        if done.returncode != 0:
            raise AssertionError(f"varve umount: exit {done.returncode}: {done.stderr}")

    def remount(self):
        self.umount()
        self.mount()

    def assert_clean(self):
        """A check of the store, mounted or not, finds nothing."""
        done = varve("check", self.point if self.servers() else self.store, timeout=600)
        if done.returncode != 0:
            raise AssertionError(f"varve check: exit {done.returncode}: {done.stdout[-3000:]}"
                                 f"{done.stderr[-1000:]}")

    def servers(self):
        return processes_of(self.store)

    def kill(self):
        """SIGKILL to the server, and the dead mount cleared."""
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)
        wait_for("a killed server is gone", lambda: not self.servers())
        self.clear()

    def clear(self):
        """Take the mount away, whatever state it is in."""
        while is_mounted(self.point):
            subprocess.run(["umount", "-l", str(self.point)], check=False,
                           stderr=subprocess.DEVNULL, timeout=30)

    def close(self):
        """Unmount in the orderly way if that can be had, and remove all."""
        if self not in _live:
            return
        _live.remove(self)
        try:
            if is_mounted(self.point) and self.servers():
                varve("umount", self.point, timeout=60)
        finally:
            for pid in self.servers():
                os.kill(pid, signal.SIGKILL)
            self.clear()
            if self.owns_folder:
                shutil.rmtree(self.folder, ignore_errors=True)


def mount_entry(path):
    """What the kernel's table says of @path: type, source and options; None if nothing is there."""
    wanted = str(path).replace(" ", "\\040")
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            words, after = (half.split() for half in line.rstrip("\n").split(" - ", 1))
            if words[4] == wanted:
                found = {"device": words[2], "root": words[3], "type": after[0],
                         "source": after[1], "options": words[5].split(",") + after[2].split(",")}
    return found


CLONE_NEWNS = 0x20000
MNT_DETACH = 2
MS_REC, MS_PRIVATE = 0x4000, 1 << 18


def own_mount_namespace():
    """From here on what this process mounts is its own, and gone with it. The copies of FUSE mounts
    that a new namespace gets are given up, for they would keep servers alive that are not ours."""
    libc_call("unshare", CLONE_NEWNS)
    libc_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        copies = [line.split()[4] for line in table if " - fuse" in line]
    for path in reversed(copies):
        libc_call("umount2", os.fsencode(path.replace("\\040", " ")), MNT_DETACH)


class MountCase(unittest.TestCase):
    """One mount for the class; self.dir is an own directory on its head."""
    mkfs = ()
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.m = Mount(mkfs=cls.mkfs, options=cls.options)
        cls.addClassCleanup(cls.m.close)
        cls.m.mount()

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.dir = self.m.head / self.name
        self.dir.mkdir()

    def past(self, lsn):
        """self.dir as of @lsn."""
        return self.m.at(lsn) / self.name

    def assert_errno(self, code, call, *args, **named):
        with self.assertRaises(OSError) as caught:
            result = call(*args, **named)
            if isinstance(result, int) and call is os.open:
                os.close(result)
        self.assertEqual(errno.errorcode.get(caught.exception.errno), errno.errorcode[code])


class ServerCase(unittest.TestCase):
    """For tests that make their own mounts: self.mount_new()."""

    def mount_new(self, mounted=True, **how):
        m = Mount(**how)
        self.addCleanup(m.close)
        return m.mount() if mounted else m

    def folder_new(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="varve-test-")).resolve()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder


def disk_new(test, kind, mib):
    """A small file system of its own, "ext4" or "tmpfs", gone when the test is."""
    if os.geteuid() != 0:
        test.fail("to mount a small disk this test has to be run by root")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="varve-test-")).resolve()
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    disk = folder / "disk"
    disk.mkdir()
    if kind == "tmpfs":
        run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", disk)
    else:
        with open(folder / "image", "wb") as image:
            image.truncate(mib << 20)
        run(f"mkfs.{kind}", "-q", "-m", "0", folder / "image")
        run("mount", "-o", "loop", folder / "image", disk)
    test.addCleanup(run, "umount", "-l", disk)
    return disk


def pattern(size, salt=0):
    """@size bytes that differ from block to block and from salt to salt."""
    block = b"".join(b"%08x%08x" % (salt & 0xffffffff, i) for i in range(256))
    whole = bytearray()
    index = 0
    while len(whole) < size:
        whole += b"%016x" % index + block
        index += 1
    return bytes(whole[:size])


def write_file(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def store_bytes(folder):
    """Every file below @folder, its size and its bytes: equal if nothing changed."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def libc_call(name, *args):
    """A call of the C library; OSError when it returns -1."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*args)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def clear_all():
    for m in list(_live):
        try:
            m.close()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"left behind: {m.folder}: {error}", file=sys.stderr)


def _deadline_passed():
    print(f"no end after {DEADLINE_S} s; this is where it stood:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
    for m in list(_live):
        for pid in m.servers():
            os.kill(pid, signal.SIGKILL)
    clear_all()
    os._exit(1)


def main():
    """Run the tests of the calling file, below the deadline."""
    if not os.path.exists("/dev/fuse"):
        print("SKIPPED: there is no /dev/fuse, so nothing here was tested", file=sys.stderr)
        sys.exit(SKIPPED)
    if not VARVE.exists():
        sys.exit(f"there is no {VARVE}: build it, or set VARVE_BUILD")
    faulthandler.enable()
    watchdog = threading.Timer(DEADLINE_S, _deadline_passed)
    watchdog.daemon = True
    watchdog.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        unittest.main(module="__main__", verbosity=2)
    finally:
        clear_all()


def json_of(test, done):
    """What a --json command printed, which has to be JSON and nothing else."""
    test.assertEqual(done.returncode, 0, done.stderr)
    return json.loads(done.stdout)
