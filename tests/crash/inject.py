#!/usr/bin/python3
"""System calls of the unmodified daemon fail, or kill it, at the k-th of their kind.

strace makes the k-th call of a kind (of each thread: it counts by thread) return EIO or
ENOSPC, or sends SIGKILL there, while a writer fills a layer, has it sealed and syncs. For
k = 1 and on, until a run meets no such call ($VARVE_TEST_SIZE=long), or for a few k. In each
run:
(1) the writer gets success or an error that fits, and nobody hangs;
(2) after a remount every change that had returned is there, at the head and at its LSN;
(3) the store takes writes again.
One more run is of a sync that fails: who is told what, until the next mount.
"""
import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness      # noqa: E402
from harness import pattern, read_file, varve, wait_for      # noqa: E402

LAST_K = harness.by_size(1, 3, 1000)
RUN_LIMIT_S = 60
BIG = 128 * 1024
SMALL = 300
RECORDS = 60            # of each size: a bit more than one layer of 4 MiB
harness.DEADLINE_S = max(harness.DEADLINE_S, harness.by_size(300, 600, 10000))

# Which calls, from where on: "start" counts from the start of the program, with what
# recovery does; "attach" once it is mounted, where the start has too many of the kind.
CALLS = (("pwritev", "start"), ("fdatasync", "start"), ("fsync", "start"),
         ("fallocate", "start"), ("ftruncate", "start"),
         ("unlinkat", "attach"), ("openat", "attach"), ("mmap", "attach"), ("pread64", "attach"))
KINDS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
FITTING = {"error=EIO": {errno.EIO, errno.EROFS},
           "error=ENOSPC": {errno.ENOSPC, errno.EROFS, errno.EIO},
           "signal=SIGKILL": {errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV}}


def record(i):
    """The i-th record: big and small ones in turn."""
    return pattern(BIG if i % 2 else SMALL, salt=i)


def writer_run(m, log_path):
    """Append records until all are there or a call fails; log what returned, and its LSN."""
    log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    try:
        fd = os.open(m.head / "file", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
        for i in range(2 * RECORDS):
            data = memoryview(record(i))
            while data:
                data = data[os.write(fd, data):]
            os.write(log, b"%d\n" % m.latest())
            if i % 10 == 9:
                os.fsync(fd)
        os.close(fd)
    except OSError as error:
        os.write(log, b"error %d\n" % error.errno)


class Inject(harness.ServerCase):
    def start(self, m, call, mode, action):
        """The daemon under strace; its process, and where strace writes."""
        log = m.folder / "strace"
        words = ["strace", "-f", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:{action}"]
        if mode == "start":
            daemon = subprocess.Popen(
                words + [harness.VARVE, "mount", "-f", "-o", "layer=4M", m.store,
                         m.point], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            wait_for("it is mounted, or has ended", lambda: daemon.poll() is not None
                     or harness.is_mounted(m.point), timeout=RUN_LIMIT_S)
            return daemon, log
        m.options = ["layer=4M"]
        m.mount()
        return self.attach(m, words), log

    def attach(self, m, words):
        """strace as @words say, on the server that is there."""
        (server,) = m.servers()
        tracer = subprocess.Popen(words + ["-p", str(server)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE)
        wait_for("strace is attached", lambda: tracer.poll() is not None or all(
            "TracerPid:\t0\n" not in (task / "status").read_text()
            for task in pathlib.Path(f"/proc/{server}/task").iterdir()), timeout=RUN_LIMIT_S)
        return tracer

    def write(self, m):
        """What a writer got: the LSNs after the records that returned, and the errno."""
        log = m.folder / "log"
        pid = os.fork()
        if pid == 0:
            try:
                writer_run(m, log)
            finally:
                os._exit(0)
        deadline = time.monotonic() + RUN_LIMIT_S
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                self.fail("the writer hangs")
            time.sleep(0.005)
        lines = log.read_bytes().splitlines()
        code = int(lines.pop().split()[1]) if lines and lines[-1].startswith(b"error") else 0
        return [int(line) for line in lines], code

    def end(self, m, daemon):
        """The mount goes, in order if that can be had; how the server ended must be known."""
        if m.servers():
            if harness.is_mounted(m.point):
                varve("umount", m.point, timeout=RUN_LIMIT_S)
            wait_for("the server is gone", lambda: not m.servers(), timeout=RUN_LIMIT_S)
        try:
            daemon.communicate(timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            self.fail("strace does not end with the server")
        m.clear()

    def assert_all_there(self, m, lsns):
        data = read_file(m.head / "file") if lsns or (m.head / "file").exists() else b""
        whole = b"".join(map(record, range(len(lsns))))
        self.assertEqual(data[:len(whole)], whole, "at the head")
        # The record under way may be there, whole or as the requests the kernel made of it.
        rest = data[len(whole):]
        self.assertEqual(rest, record(len(lsns))[:len(rest)])
        size = 0
        for i, lsn in enumerate(lsns):
            size += len(record(i))
            if i % 17 == 0 or i == len(lsns) - 1:
                self.assertEqual(read_file(m.at(lsn) / "file"), whole[:size], f"at LSN {lsn}")

    def one_run(self, call, mode, kind, k):
        """True if a call of that number was met."""
        m = self.mount_new(mounted=False)
        daemon, log = self.start(m, call, mode, f"{kind}:when={k}")
        lsns, code = [], 0
        if harness.is_mounted(m.point) and (daemon.poll() is None or m.servers()):
            lsns, code = self.write(m)
            self.assertIn(code, {0} | FITTING[kind])
        self.end(m, daemon)
        met = b"(INJECTED)" in log.read_bytes() or (
            kind.startswith("signal") and b"killed by SIGKILL" in log.read_bytes())
        if not met:
            self.assertEqual((len(lsns), code), (2 * RECORDS, 0))
        m.options = ["layer=4M"]
        m.mount()
        self.assert_all_there(m, lsns)
        harness.write_file(m.head / "after", b"it goes on")
        m.remount()
        self.assertEqual(read_file(m.head / "after"), b"it goes on")
        self.assert_all_there(m, lsns)
        m.close()
        return met

    def test_mkfs(self):
        """A store that was not made is made by the next mkfs; one that was, is one."""
        folder = self.folder_new()
        (folder / "point").mkdir()
        met = 0
        for call in ("mkdirat", "pwritev", "fdatasync", "fsync", "fallocate", "renameat"):
            for kind in KINDS:
                for k in range(1, LAST_K + 1):
                    with self.subTest(call=call, kind=kind, k=k):
                        store = folder / f"{call}-{kind}-{k}"
                        done = subprocess.run(
                            ["strace", "-f", "-o", folder / "strace", "-e", f"trace={call}", "-e",
                             f"inject={call}:{kind}:when={k}", harness.VARVE, "mkfs", store],
                            capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
                        failed = b"INJECTED" in (folder / "strace").read_bytes() or done.returncode < 0
                        met += failed
                        self.assertIn(done.returncode, (0, 1, -signal.SIGKILL))
                        self.assertTrue(done.returncode != 1 or done.stderr)
                        if varve("mount", store, folder / "point").returncode != 0:
                            self.assertNotEqual(done.returncode, 0)
                            again = varve("mkfs", store)
                            self.assertEqual(again.returncode, 0, again.stderr)
                            self.assertEqual(varve("mount", store, folder / "point").returncode, 0)
                        harness.write_file(folder / "point" / "head" / "rel" / "a", b"x")
                        self.assertEqual(varve("umount", folder / "point").returncode, 0)
                    if not failed:
                        break
        print(f"mkfs: {met} system calls failed or killed it")
        self.assertGreater(met, 15)

    def errno_of(self, call, *args):
        """What a call that has to fail failed with."""
        with self.assertRaises(OSError) as caught:
            call(*args)
        return caught.exception.errno

    def test_a_failed_sync(self):
        """Who met it is told, nothing is written from then on, and a remount ends that."""
        m = self.mount_new(mounted=False)
        said = m.folder / "said"
        with open(said, "wb") as out:
            server = subprocess.Popen([harness.VARVE, "mount", "-f", m.store, m.point],
                                      stdout=subprocess.DEVNULL, stderr=out)
        wait_for("it is mounted, or has ended", lambda: server.poll() is not None
                 or harness.is_mounted(m.point), timeout=RUN_LIMIT_S)
        fds = [os.open(m.head / f"file{i}", os.O_CREAT | os.O_RDWR) for i in range(2)]
        for fd in fds:
            os.write(fd, b"synced")
            os.fsync(fd)
        lsn = m.latest()
        tracer = self.attach(m, ["strace", "-f", "-o", m.folder / "strace", "-e", "trace=fdatasync",
                                 "-e", "inject=fdatasync:error=EIO:when=1"])
        for fd in fds:
            os.write(fd, b", and not")
        self.assertEqual(self.errno_of(os.fsync, fds[0]), errno.EIO)
        for fd in fds:
            self.assertEqual(self.errno_of(os.fsync, fd), errno.EROFS)
            self.assertEqual(self.errno_of(os.write, fd, b"more"), errno.EROFS)
        self.assertEqual(self.errno_of(os.mkdir, m.head / "dir"), errno.EROFS)
        self.assertEqual(read_file(m.head / "file1"), b"synced, and not")
        self.assertEqual(read_file(m.at(lsn) / "file1"), b"synced")
        self.assertTrue(harness.json_of(self, varve("info", m.point, "--json"))["read_only"])
        self.assertEqual(said.read_text().count("a sync failed: Input/output error"), 1)
        for fd in fds:
            os.close(fd)
        self.end(m, tracer)
        server.wait(timeout=RUN_LIMIT_S)
        self.assertIn(b"(INJECTED)", (m.folder / "strace").read_bytes())
        m.mount()
        self.assertFalse(harness.json_of(self, varve("info", m.point, "--json"))["read_only"])
        for i in range(2):
            self.assertIn(read_file(m.head / f"file{i}"), (b"synced", b"synced, and not"))
            self.assertEqual(read_file(m.at(lsn) / f"file{i}"), b"synced")
        harness.write_file(m.head / "after", b"it goes on")
        m.remount()
        self.assertEqual(read_file(m.head / "after"), b"it goes on")
        m.assert_clean()
        m.umount()
        m.assert_clean()

    def test_each_call(self):
        met_calls = 0
        for call, mode in CALLS:
            for kind in KINDS:
                met = 0
                for k in range(1, LAST_K + 1):
                    with self.subTest(call=call, kind=kind, k=k):
                        met += self.one_run(call, mode, kind, k)
                    if met < k:
                        break
                print(f"{call} {kind}: {met} calls failed{'' if met == LAST_K else ', and then none'}",
                      flush=True)
                met_calls += met
        print(f"{met_calls} system calls made to fail or to kill the daemon")
        self.assertGreater(met_calls, len(CALLS))


if __name__ == "__main__":
    harness.main()
