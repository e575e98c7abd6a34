#!/usr/bin/python3
"""How long history is kept: the window, what goes and what stays when it moves, and the commands
that show and do it. What a kept LSN shows is held against copies made when it was the newest."""
import errno
import os
import pathlib
import random
import re
import subprocess
import threading
import time

import harness
from harness import json_of, pattern, read_file, varve, wait_for, write_file

# Layers so small that some MiB of history are many of them.
LAYER = "layer=4M"


def tree_of(folder):
    """Every file below @folder with its bytes, every directory with None."""
    found = {}
    for here, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(here, name), folder)] = None
        for name in files:
            path = os.path.join(here, name)
            found[os.path.relpath(path, folder)] = read_file(path)
    return found


def disk_bytes(store):
    return sum(path.stat().st_blocks * 512 for path in pathlib.Path(store).rglob("*"))


class WindowCase(harness.ServerCase):
    def mounted(self, **how):
        return self.mount_new(options=[LAYER], **how)

    def command(self, *words):
        """What the command tells in JSON."""
        return json_of(self, varve(*words, "--json"))

    def assert_fails(self, status, pattern_, *words):
        done = varve(*words)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "", words)
        self.assertRegex(done.stderr, pattern_)
        self.assertLess(done.stderr.count("\n"), 8)

    def assert_gone(self, path):
        with self.assertRaises(FileNotFoundError, msg=path):
            os.lstat(path)
        with self.assertRaises(FileNotFoundError, msg=path):
            os.listdir(path)

    def write_on(self, m, mib, name="filler"):
        """@mib MiB of history that no other file has a part in."""
        with open(m.head / name, "wb", buffering=0) as file:
            for i in range(mib):
                os.pwrite(file.fileno(), os.urandom(1 << 20), (i & 1) << 20)


class Limits(WindowCase):
    def test_it_is_shown_and_set_on_a_mount_and_on_a_store(self):
        m = self.mounted()
        for name, target in (("mount", m.point), ("path", m.head), ("mounted store", m.store),
                             ("store", m.store)):
            with self.subTest(name=name):
                if name == "store":
                    m.umount()
                shown = self.command("window", target, "--time", "none", "--bytes", "0")
                self.assertEqual((shown["time_ns"], shown["bytes"]), (0, 0))
                self.assertIn("time=none bytes=none", varve("window", target).stdout)
                shown = self.command("window", target, "--time", "7d")
                self.assertEqual((shown["time_ns"], shown["bytes"]), (7 * 86400 * 10**9, 0))
                shown = self.command("window", target, "--bytes", "50G")
                self.assertEqual((shown["time_ns"], shown["bytes"]),
                                 (7 * 86400 * 10**9, 50 << 30))
                self.assertIn("time=1w bytes=50G", varve("window", target).stdout)
                self.assertEqual(shown["pins"], [])
                self.assertLessEqual(shown["oldest_lsn"], shown["newest_lsn"])

    def test_units(self):
        m = self.mounted(mounted=False)
        for text, seconds in (("90s", 90), ("15m", 900), ("36h", 36 * 3600), ("2d", 2 * 86400),
                              ("4w", 28 * 86400), ("0", 0), ("none", 0)):
            self.assertEqual(self.command("window", m.store, "--time", text)["time_ns"], seconds * 10**9)
        for text, size in (("4096", 4096), ("10K", 10240), ("5M", 5 << 20), ("2T", 2 << 40), ("none", 0)):
            self.assertEqual(self.command("window", m.store, "--bytes", text)["bytes"], size)

    def test_it_is_kept_in_the_store(self):
        m = self.mounted()
        varve("window", m.point, "--time", "3h", "--bytes", "7M")
        m.remount()
        shown = self.command("window", m.point)
        self.assertEqual((shown["time_ns"], shown["bytes"]), (3 * 3600 * 10**9, 7 << 20))

    def test_the_ends_have_times(self):
        m = self.mounted()
        write_file(m.head / "a", b"x")
        now = time.time()
        shown = self.command("window", m.point)
        self.assertEqual((shown["oldest_lsn"], shown["newest_lsn"]), (m.oldest(), m.latest()))
        for key in ("oldest_time", "newest_time"):
            told = float(subprocess.run(["date", "-d", shown[key], "+%s.%N"], check=True,
                                        capture_output=True).stdout)
            self.assertLess(abs(told - now), 60)
        self.assertLess(shown["oldest_time"], shown["newest_time"])

    def test_wrong_usage(self):
        m = self.mounted()
        for words in (("window",), ("window", "a", "b"), ("window", m.point, "--time", "7"),
                      ("window", m.point, "--time", "7y"), ("window", m.point, "--time", "-1d"),
                      ("window", m.point, "--time", "99999999999w"), ("window", m.point, "--time", "16000w"),
                      ("window", m.point, "--bytes", "much"), ("window", m.point, "--bytes", "9E"),
                      ("window", m.point, "--bytes", "1X"), ("gc",), ("gc", "a", "b"),
                      ("gc", m.point, "--frob"), ("compact",), ("compact", "a", "b"), ("dump",),
                      ("dump", m.point, "layer"), ("dump", m.point, "layer", "x"),
                      ("dump", m.point, "page", "a"), ("dump", m.point, "page", "a", "b"),
                      ("dump", m.point, "rings"), ("dump", m.point, "layers", "1"),
                      ("mkfs", "--compression", "rar", "a")):
            with self.subTest(words=words):
                self.assert_fails(2, r"help|usage|Usage", *words)
        self.assertEqual(self.command("window", m.point)["time_ns"], 0)
        with self.assertRaises(OSError) as refused:
            (m.point / ".varve" / "window").write_text("bytes=9E")
        self.assertEqual(refused.exception.errno, errno.EINVAL)

    def test_what_is_no_store(self):
        folder = self.folder_new()
        for command in ("window", "gc", "compact", "dump"):
            with self.subTest(command=command):
                self.assert_fails(1, r"store", command, folder)
                self.assert_fails(1, r"No such|not there|no such", command, folder / "missing")

    def test_a_store_that_takes_no_changes(self):
        m = self.mounted()
        write_file(m.head / "a", b"x")
        m.umount()
        m.options = [LAYER, "ro"]
        m.mount()
        self.assertEqual(self.command("window", m.point)["bytes"], 0)
        self.assertTrue(self.command("dump", m.point)["layers"])
        for words in (("window", m.point, "--bytes", "1M"), ("gc", m.point), ("gc", "-n", m.point),
                      ("compact", m.point)):
            with self.subTest(words=words):
                self.assert_fails(1, r"takes no changes.*mount", *words)


class Moving(WindowCase):
    """What the window has passed is gone, and nothing else is."""

    def test_by_bytes(self):
        m = self.mounted()
        write_file(m.head / "a", b"first")
        first = m.latest()
        self.write_on(m, 6)
        varve("window", m.point, "--bytes", "4M")
        self.assertEqual(m.oldest(), m.latest() - (4 << 20))
        self.assert_gone(m.at(first))
        self.assert_gone(m.lsn / str(m.oldest() - 1))
        self.assertEqual(read_file(m.at(m.oldest()) / "a"), b"first")
        oldest = m.oldest()
        self.write_on(m, 3)
        wait_for("the window follows", lambda: m.oldest() >= oldest + (3 << 20))
        self.assert_gone(m.lsn / str(oldest + 1))
        wait_for("what was looked at is gone as well",
                 lambda: not os.path.lexists(m.lsn / str(oldest)))
        self.assertEqual(read_file(m.head / "a"), b"first")

    def test_by_time(self):
        m = self.mounted()
        write_file(m.head / "a", b"first")
        first = m.latest()
        self.write_on(m, 12)
        write_file(m.head / "a", b"second")
        self.assertTrue(varve("window", m.point, "--time", "1h").returncode == 0)
        self.assertTrue(m.at(first).is_dir())
        time.sleep(2.1)
        varve("window", m.point, "--time", "2s")
        wait_for("what is older than 2 s is gone", lambda: m.oldest() > first)
        self.assert_gone(m.at(first))
        self.assertEqual(read_file(m.at(m.oldest()) / "a"), b"first")
        self.assertEqual(read_file(m.at(m.latest()) / "a"), b"second")

    def test_names_that_the_kernel_knew_are_gone_as_well(self):
        """Of an LSN that was looked at before it left the window."""
        m = self.mounted()
        os.makedirs(m.head / "d" / "e")
        write_file(m.head / "d" / "e" / "a", b"first")
        first = m.latest()
        known = [m.lsn / str(first), m.at(first), m.at(first) / "d", m.at(first) / "d" / "e"]
        self.assertEqual(read_file(known[-1] / "a"), b"first")
        for folder in known:
            os.listdir(folder)
        self.write_on(m, 6)
        varve("window", m.point, "--bytes", "4M")
        for folder in known:
            self.assert_gone(folder)
        for call in (os.stat, read_file):
            with self.assertRaises(FileNotFoundError):
                call(known[-1] / "a")

    def test_they_are_when_the_window_moves_by_itself(self):
        m = self.mounted()
        write_file(m.head / "a", b"first")
        varve("window", m.point, "--bytes", "4M")
        first = m.latest()
        self.assertEqual(read_file(m.at(first) / "a"), b"first")
        self.write_on(m, 6)
        wait_for("the name is gone", lambda: not os.path.lexists(m.lsn / str(first)), timeout=10)

    def test_a_file_that_stays_the_same_is_read_through_what_is_left(self):
        """It is one inode under all LSNs; the first by which it was known goes."""
        m = self.mounted()
        data = pattern(300_000)
        write_file(m.head / "a", data)
        first = m.latest()
        os.stat(m.at(first) / "a")
        self.write_on(m, 5)
        later = m.latest()
        os.stat(m.at(later) / "a")
        self.write_on(m, 3)
        varve("window", m.point, "--bytes", "4M")
        varve("gc", m.point)
        self.assert_gone(m.at(first))
        self.assertEqual(read_file(m.at(later) / "a"), data)
        self.assertEqual(os.stat(m.at(later) / "a").st_ino, os.stat(m.at(m.latest()) / "a").st_ino)

    def test_a_limit_that_is_raised_brings_nothing_back(self):
        m = self.mounted()
        write_file(m.head / "a", b"first")
        first = m.latest()
        self.write_on(m, 6)
        varve("window", m.point, "--bytes", "4M")
        oldest = m.oldest()
        varve("window", m.point, "--bytes", "none")
        self.assertEqual(m.oldest(), oldest)
        self.assert_gone(m.at(first))


class Pins(WindowCase):
    """What is open keeps what it needs."""

    def test_an_open_file_and_an_open_directory_outlive_the_window(self):
        m = self.mounted()
        data = os.urandom(500_000)
        os.mkdir(m.head / "d")
        write_file(m.head / "d" / "a", data)
        write_file(m.head / "d" / "b", b"beside")
        first = m.latest()
        file = os.open(m.at(first) / "d" / "a", os.O_RDONLY)
        folder = os.open(m.at(first) / "d", os.O_RDONLY | os.O_DIRECTORY)
        os.unlink(m.head / "d" / "a")
        self.write_on(m, 9)
        varve("window", m.point, "--bytes", "4M")
        self.assertEqual([pin["lsn"] for pin in self.command("window", m.point)["pins"]], [first])
        self.assertEqual(self.command("info", m.point)["pin_count"], 1)
        for collect in (lambda: None, lambda: varve("gc", m.point), lambda: varve("compact", m.point)):
            collect()
            self.assertEqual(os.pread(file, len(data), 0), data)
            self.assertEqual(os.fstat(file).st_size, len(data))
            self.assertEqual(sorted(os.listdir(folder)), ["a", "b"])
            inner = os.open("b", os.O_RDONLY, dir_fd=folder)
            self.assertEqual(os.read(inner, 100), b"beside")
            os.close(inner)
            inner = os.open("a", os.O_RDONLY, dir_fd=folder)
            os.posix_fadvise(inner, 0, 0, os.POSIX_FADV_DONTNEED)
            self.assertEqual(os.pread(inner, len(data), 0), data)
            os.close(inner)
            self.assert_gone(m.at(first))
        # Closed, nothing holds it.
        os.close(file)
        os.close(folder)
        wait_for("nothing is pinned", lambda: not self.command("window", m.point)["pins"])
        before = disk_bytes(m.store)
        varve("gc", m.point)
        varve("compact", m.point)
        self.assertLess(disk_bytes(m.store), before - len(data) // 2)

    def test_an_open_file_that_was_looked_up_at_a_newer_lsn_too(self):
        m = self.mounted()
        write_file(m.head / "file", b"kept")
        os.setxattr(m.head / "file", "user.name", b"value")
        opened = m.latest()
        write_file(m.head / "other", b"")
        seen = m.latest()
        fd = os.open(m.at(opened) / "file", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        found = os.stat(m.at(seen) / "file")
        self.assertEqual(found.st_ino, os.fstat(fd).st_ino)     # one version, one inode
        self.write_on(m, 3)
        self.command("window", m.point, "--bytes", "1M")
        self.assertGreater(m.oldest(), seen)
        self.assertEqual(os.fstat(fd), found)
        self.assertEqual(os.getxattr(fd, "user.name"), b"value")
        self.assertEqual(os.listxattr(fd), ["user.name"])
        self.assertLess(int(os.getxattr(fd, "varve.lsn")), opened + 1)
        self.assertEqual(os.pread(fd, 100, 0), b"kept")
        self.assert_gone(m.at(opened))
        self.assert_gone(m.at(seen))

    def test_gc_tells_what_a_pin_costs(self):
        m = self.mounted()
        write_file(m.head / "a", os.urandom(2 << 20))
        first = m.latest()
        file = os.open(m.at(first) / "a", os.O_RDONLY)
        os.unlink(m.head / "a")
        self.write_on(m, 9)
        varve("window", m.point, "--bytes", "4M")
        (pin,) = self.command("gc", m.point, "--dry-run")["pins"]
        self.assertEqual(pin["lsn"], first)
        self.assertGreaterEqual(pin["bytes"], 2 << 20)
        self.assertLess(pin["bytes"], 3 << 20)
        self.assertIn(f"LSN {first} keeps", varve("gc", m.point).stdout)
        os.close(file)

    def test_an_unlinked_file_that_is_open_at_head_keeps_its_bytes(self):
        m = self.mounted()
        data = os.urandom(2 << 20)
        with open(m.head / "a", "w+b", buffering=0) as file:
            file.write(data)
            os.unlink(m.head / "a")
            varve("window", m.point, "--bytes", "1M")
            self.write_on(m, 6)
            varve("gc", m.point)
            varve("compact", m.point)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self.assertEqual(os.pread(file.fileno(), len(data), 0), data)
        # The kernel says when it forgets it.
        before = disk_bytes(m.store)

        def is_dropped():
            varve("gc", m.point)
            varve("compact", m.point)
            return disk_bytes(m.store) < before - len(data) // 2
        wait_for("its bytes go once it is closed", is_dropped, timeout=20)


class Collecting(WindowCase):
    def busy(self, m, rounds, seed):
        """A tree that changes, and copies of it: {LSN: tree}."""
        rng = random.Random(seed)
        copies = {}
        os.mkdir(m.head / "t")
        for i in range(rounds):
            for _ in range(20):
                path = m.head / "t" / f"f{rng.randrange(30)}"
                act = rng.random()
                if act < 0.15 and path.exists():
                    os.unlink(path)
                elif act < 0.25 and path.exists():
                    os.truncate(path, rng.randrange(60_000))
                elif act < 0.35 and path.exists():
                    os.rename(path, m.head / "t" / f"f{rng.randrange(30)}")
                else:
                    with open(path, "ab") as file:
                        file.seek(0)
                        os.pwrite(file.fileno(), rng.randbytes(rng.randrange(1, 40_000)),
                                  rng.randrange(100_000))
            copies[m.latest()] = tree_of(m.head / "t")
            if i % 5 == 0:
                self.write_on(m, 1)
        return copies

    def assert_kept(self, m, copies):
        kept = [lsn for lsn in copies if lsn >= m.oldest()]
        for lsn in kept:
            self.assertEqual(tree_of(m.at(lsn) / "t"), copies[lsn], f"at LSN {lsn}")
        for lsn in set(copies) - set(kept):
            self.assert_gone(m.lsn / str(lsn))
        return len(kept)

    def test_every_kept_lsn_reads_right_after_compact_and_gc(self):
        rng = harness.seeded_random()
        m = self.mounted()
        copies = self.busy(m, harness.by_size(30, 60), rng.randrange(1 << 30))
        self.assertEqual(self.assert_kept(m, copies), len(copies))
        self.assertEqual(self.command("compact", m.point)["dropped_versions"], 0)
        self.assertEqual(self.assert_kept(m, copies), len(copies))
        middle = sorted(copies)[len(copies) // 2]
        varve("window", m.point, "--bytes", m.latest() - middle + 1)
        kept = self.assert_kept(m, copies)
        self.assertGreater(kept, len(copies) // 4)
        self.assertLess(kept, len(copies))
        self.assertGreater(self.command("gc", m.point)["dropped_versions"], 0)
        self.assertEqual(self.assert_kept(m, copies), kept)
        m.assert_clean()
        m.remount()
        self.assertEqual(self.assert_kept(m, copies), kept)
        m.umount()
        m.assert_clean()

    def test_it_goes_on_beside_readers_and_writers(self):
        rng = harness.seeded_random()
        m = self.mounted()
        copies = self.busy(m, 20, rng.randrange(1 << 30))
        stop, failures = threading.Event(), []

        def read():
            mine = random.Random(7)
            while not stop.is_set():
                lsn = mine.choice(list(copies))
                if tree_of(m.at(lsn) / "t") != copies[lsn]:
                    failures.append(lsn)

        def write():
            while not stop.is_set():
                self.write_on(m, 1, "busy")
        threads = [threading.Thread(target=run) for run in (read, read, write)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(harness.by_size(2, 4)):
                for command in ("compact", "gc"):
                    self.assertEqual(varve(command, m.point).returncode, 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        m.assert_clean()

    def test_a_dry_run_tells_what_gc_then_frees(self):
        for mounted in (True, False):
            with self.subTest(mounted=mounted):
                m = self.mounted()
                write_file(m.head / "kept", pattern(3_000_000))
                self.write_on(m, 10)
                # So much that nothing is merged for it by itself: it is still worth its room.
                varve("compact", m.point)
                varve("window", m.point, "--bytes", "7M")
                target = m.point
                if not mounted:
                    m.umount()
                    target = m.store
                told = self.command("gc", "--dry-run", target)
                before = disk_bytes(m.store)
                self.assertGreater(told["dropped_versions"], 100)
                done = self.command("gc", target)
                freed = before - disk_bytes(m.store)
                for key in ("dropped_versions", "dropped_bytes", "bytes_before", "bytes_after",
                            "freed_bytes", "pins"):
                    self.assertEqual(done[key], told[key], key)
                self.assertEqual((told["dry_run"], done["dry_run"]), (True, False))
                self.assertLess(abs(freed - told["freed_bytes"]), 200_000)
                again = self.command("gc", "--dry-run", target)
                self.assertEqual(again["dropped_versions"], 0)
                if not mounted:
                    m.mount()
                self.assertEqual(read_file(m.head / "kept"), pattern(3_000_000))

    def test_the_bytes_of_deleted_files_go(self):
        m = self.mounted()
        for i in range(8):
            write_file(m.head / f"big-{i}", os.urandom(2 << 20))
        before = disk_bytes(m.store)
        for i in range(8):
            os.unlink(m.head / f"big-{i}")
        self.write_on(m, 1)
        varve("window", m.point, "--bytes", "1K")
        done = varve("gc", m.point)
        self.assertRegex(done.stdout, r"versions +\d+ dropped, of ", done.stderr)
        self.assertRegex(done.stdout, r"on disk +\S+ \S+ freed: ")
        # By it, or by merges before it.
        self.assertGreater(self.command("info", m.point)["gc_dropped_bytes"], 15 << 20)
        self.assertLess(disk_bytes(m.store), before - (14 << 20))
        m.assert_clean()

    def test_compact_leaves_one_run(self):
        m = self.mounted()
        self.write_on(m, 9)
        before = self.command("info", m.point)
        done = self.command("compact", m.point)
        self.assertEqual(done["runs_before"], before["run_count"])
        # The one, and the layer that takes what is written.
        layers = self.command("dump", m.point)["layers"]
        self.assertEqual(len({layer["run"] for layer in layers if layer["kind"] != "open"}), 1)
        self.assertEqual(done["runs_after"], self.command("info", m.point)["run_count"])
        m.umount()
        self.assertRegex(varve("compact", m.store).stdout, r"runs +\d+, of \d+")

    def test_compression_saves_room(self):
        sizes = {}
        for how in ("none", "lz4", "zstd"):
            m = self.mounted(mkfs=("--compression", how))
            data = b"".join(b"%d of many words\n" % i for i in range(200_000))
            write_file(m.head / "a", data)
            varve("compact", m.point)
            self.assertEqual(read_file(m.head / "a"), data)
            sizes[how] = self.command("info", m.point)["table_bytes"]
            m.remount()
            self.assertEqual(read_file(m.head / "a"), data)
        self.assertLess(sizes["lz4"], sizes["none"] * 0.7)
        self.assertLess(sizes["zstd"], sizes["lz4"])


class Dump(WindowCase):
    def test_layers(self):
        m = self.mounted()
        self.write_on(m, 9)
        varve("compact", m.point)
        self.write_on(m, 5)
        # Until its index is written a full layer counts as open.
        harness.wait_for("a layer is sealed", lambda: any(
            layer["kind"] == "sealed" for layer in self.command("dump", m.point, "layers")["layers"]))
        for target in (m.point, m.store):
            if target == m.store:
                m.umount()
            layers = self.command("dump", target, "layers")["layers"]
            kinds = {layer["kind"] for layer in layers}
            self.assertLessEqual({"open", "sealed", "delta"}, kinds)
            ids = [layer["id"] for layer in layers]
            self.assertEqual(len(set(ids)), len(ids))
            for layer in layers:
                self.assertTrue((m.store / layer["file"]).exists(), layer)
                if layer["kind"] in ("delta", "image"):
                    self.assertGreater(layer["version_count"], 0)
                    self.assertIsNotNone(layer["first_key"])
                    self.assertEqual(layer["file_bytes"], (m.store / layer["file"]).stat().st_size)
            lines = varve("dump", target).stdout.splitlines()
            self.assertEqual(len(lines), 1 + len(layers))
            self.assertRegex(lines[0], r"LAYER +KIND +LEVEL")

    def test_a_layer(self):
        m = self.mounted()
        self.write_on(m, 9)
        varve("compact", m.point)
        layers = self.command("dump", m.point)["layers"]
        by_key = [layer for layer in layers if layer["kind"] == "delta"]
        for layer in by_key:
            versions = self.command("dump", m.point, "layer", layer["id"])["versions"]
            self.assertEqual(len(versions), layer["version_count"])
            self.assertEqual({version["layer"] for version in versions}, {layer["id"]})
            places = [(v["key"]["inode"], v["key"]["what"] != "attributes") for v in versions]
            self.assertEqual(places, sorted(places))
        self.assert_fails(1, r"no layer 9999", "dump", m.point, "layer", "9999")

    def test_a_page(self):
        m = self.mounted()
        lsns = []
        with open(m.head / "a", "w+b", buffering=0) as file:
            for i in range(5):
                os.pwrite(file.fileno(), os.urandom(8192), 8192)
                lsns.append(m.latest())
                os.pwrite(file.fileno(), os.urandom(8192), 0)
        expected = lsns[::-1]
        for target, path in ((m.point, m.head / "a"), (m.point, "a"), (m.point, m.at(lsns[0]) / "a"),
                             (m.store, m.head / "a")):
            versions = self.command("dump", target, "page", path, "1")["versions"]
            self.assertEqual([version["lsn"] for version in versions], expected)
            self.assertEqual({(v["key"]["what"], v["key"]["index"]) for v in versions}, {("page", 1)})
            self.assertEqual({version["form"] for version in versions}, {"image"})
        varve("compact", m.point)
        m.umount()
        versions = self.command("dump", m.store, "page", "/a", "1")["versions"]
        self.assertEqual([version["lsn"] for version in versions], expected)
        self.assertEqual(len(varve("dump", m.store, "page", "a", "1").stdout.splitlines()), 6)
        self.assertEqual(self.command("dump", m.store, "page", "a", "77")["versions"], [])
        self.assert_fails(1, r"b/c: No such file", "dump", m.store, "page", "b/c", "1")


if __name__ == "__main__":
    harness.main()
