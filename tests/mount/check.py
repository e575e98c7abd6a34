#!/usr/bin/python3
"""varve check: what it says, and with which exit status, of stores unmounted and mounted, whole
and damaged; what --repair mends; and that a check of a mount under load finds nothing and
keeps nobody waiting."""
import json
import os
import pty
import random as randoms
import shutil
import subprocess
import threading
import time

import harness
from harness import VARVE, read_file, run, varve, write_file

CLEAN, REPAIRED, ERRORS, NOT_RUN, USAGE = 0, 1, 4, 8, 16
BLOCK = 4096
ODD_NAME = "two\nlines\x1b[2J"       # would clear the terminal
WRITE_SECONDS = harness.by_size(2, 6, 30)


def check(path, *words):
    return varve("check", *words, path)


def check_json(test, path, *words):
    """The exit status and what was printed, which has to be JSON and nothing else."""
    done = check(path, "--json", *words)
    return done.returncode, json.loads(done.stdout)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


class Damage(harness.ServerCase):
    """One store with sealed layers and an open one, damaged anew by each test."""

    @classmethod
    def setUpClass(cls):
        cls.m = harness.Mount(options=("layer=4M", "age=1"))
        cls.addClassCleanup(cls.m.close)
        cls.m.mount()
        random = randoms.Random(5)
        cls.files = {}
        for i in range(6):
            for name in ("big", f"file{i}", *([ODD_NAME] if i == 0 else [])):
                cls.files[name] = random.randbytes(900_000)
                write_file(cls.m.head / name, cls.files[name])
            os.makedirs(cls.m.head / "dir" / str(i), exist_ok=True)
        harness.wait_for("two layers are sealed", lambda: len(cls.sealed(cls.m.store)) > 1)
        write_file(cls.m.head / "last", b"last")
        cls.files["last"] = b"last"
        cls.lsn = cls.m.latest()
        cls.m.umount()
        cls.pristine = cls.m.folder / "pristine"
        run("cp", "-a", cls.m.store, cls.pristine)

    @staticmethod
    def sealed(store):
        """The sealed layer files, oldest first."""
        return [path for path in sorted((store / "layers").glob("*.layer"))
                if read_file(path)[-BLOCK:-BLOCK + 8] == b"VARVEEND"]

    def setUp(self):
        shutil.rmtree(self.m.store)
        run("cp", "-a", self.pristine, self.m.store)

    def assert_status(self, expected, *words):
        done = check(self.m.store, *words)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout

    def assert_reads(self, damaged=()):
        """Every file but those named, at the head and at the LSN of before."""
        self.m.mount()
        try:
            for name, data in self.files.items():
                if name not in damaged:
                    self.assertEqual(read_file(self.m.head / name), data, name)
                    self.assertEqual(read_file(self.m.at(self.lsn) / name), data, name)
        finally:
            self.m.umount()

    def test_clean(self):
        before = harness.store_bytes(self.m.store / "layers")
        self.assertRegex(self.assert_status(CLEAN), r"^\d+ layers with \d+ versions.*clean\n$")
        status, out = check_json(self, self.m.store)
        self.assertEqual(status, CLEAN)
        self.assertEqual(out["findings"], [])
        self.assertEqual(out["result"]["status"], "clean")
        self.assertGreater(out["result"]["state_count"], 1)
        self.assertEqual(self.assert_status(CLEAN, "--repair").count("repair:"), 0)
        self.assertEqual(harness.store_bytes(self.m.store / "layers"), before)

    def test_a_damaged_index(self):
        path = self.sealed(self.m.store)[0]
        flip(path, path.stat().st_size - 2 * BLOCK + 7)
        self.assertIn(f"layers/{path.name}", self.assert_status(ERRORS))
        self.assertIn("repair:", self.assert_status(REPAIRED, "--repair"))
        self.assert_status(CLEAN)
        self.assertTrue((self.m.store / "damaged" / (path.name + ".1")).exists())
        self.assert_reads()

    def test_a_dump_that_meets_damage_is_json_all_the_same(self):
        path = self.sealed(self.m.store)[0]
        whole = varve("dump", self.m.store, "layer", int(path.stem, 16), "--json")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        for back in range(2, 12):
            flip(path, path.stat().st_size - back * BLOCK + 7)
            cut = varve("dump", self.m.store, "layer", int(path.stem, 16), "--json")
            if cut.returncode and cut.stdout:
                rows = json.loads(cut.stdout)["versions"]
                self.assertEqual(rows, json.loads(whole.stdout)["versions"][:len(rows)])
                if rows:
                    return
        self.fail("no damage was met on the way")

    def test_a_damaged_page(self):
        wanted = self.files["file0"][30_000:30_064]
        (path,) = [path for path in self.sealed(self.m.store) if wanted in read_file(path)]
        flip(path, read_file(path).index(wanted))
        status, out = check_json(self, self.m.store)
        self.assertEqual(status, ERRORS)
        (finding,) = out["findings"]
        self.assertEqual(finding["kind"], "version", finding)
        self.assertEqual(finding["what"], "page")
        self.assertEqual(finding["file"], f"layers/{path.name}")
        self.assertEqual(finding["path"], "/file0")
        self.assertEqual(finding["page"], 30_000 // 8192)
        self.assertEqual(finding["damaged_from"], finding["readable_before"])
        self.assertRegex(self.assert_status(ERRORS), r"page \d+ of /\w+, inode \d+, at LSN \d+")
        self.assert_status(REPAIRED, "--repair")
        status, out = check_json(self, self.m.store)
        self.assertEqual(status, CLEAN)
        self.assertEqual(out["result"]["known_count"], 1)
        self.assertTrue(out["findings"][0]["known"])
        self.assert_reads(damaged=(finding["path"][1:],))
        # What the finding says of the LSNs around it holds.
        self.m.mount()
        try:
            offset = finding["page"] * 8192
            for lsn, bad in ((finding["damaged_from"], True),
                             (finding["damaged_from"] - 1, False)):
                name = self.m.at(lsn) / finding["path"][1:]
                if not name.exists():
                    self.assertFalse(bad)
                    continue
                with open(name, "rb", buffering=0) as file:
                    if bad:
                        with self.assertRaises(OSError):
                            os.pread(file.fileno(), 4096, offset)
                    else:
                        os.pread(file.fileno(), 4096, offset)
            self.assertEqual(check(self.m.point).returncode, CLEAN)
        finally:
            self.m.umount()

    def test_a_name_that_would_change_the_terminal(self):
        wanted = self.files[ODD_NAME][30_000:30_064]
        (path,) = [path for path in self.sealed(self.m.store) if wanted in read_file(path)]
        flip(path, read_file(path).index(wanted))
        out = self.assert_status(ERRORS)
        self.assertIn("of /two\\012lines\\033[2J, inode", out)
        self.assertNotIn("\x1b", out)
        self.assertIn("/" + ODD_NAME, {f["path"] for f in check_json(self, self.m.store)[1]["findings"]})

    def test_a_damaged_or_missing_manifest(self):
        manifest = self.m.store / "manifest"
        for lose in (lambda: flip(manifest, 100), lambda: flip(manifest, 2), manifest.unlink):
            lose()
            self.assert_status(ERRORS)
            self.assert_status(REPAIRED, "--repair")
            self.assert_status(CLEAN)
            self.assert_reads()
            self.setUp()

    def test_damage_to_what_had_been_synced_in_the_open_layer(self):
        opened = [path for path in sorted((self.m.store / "layers").glob("*.layer"))
                  if path not in self.sealed(self.m.store)][0]
        flip(opened, BLOCK + 50)
        done = varve("mount", self.m.store, self.m.point)
        self.assertEqual(done.returncode, 1)
        self.assertIn("(the store does not open)", self.assert_status(ERRORS))
        self.assertIn("the history ends at LSN", self.assert_status(REPAIRED, "--repair"))
        self.assert_status(CLEAN)
        self.assertEqual(read_file(self.m.store / "damaged" / (opened.name + ".1"))[:8], b"VARVELAY")
        self.m.mount()
        try:
            write_file(self.m.head / "after", b"the repair")
            self.assertEqual(read_file(self.m.head / "after"), b"the repair")
            self.assertEqual(check(self.m.point).returncode, CLEAN)
        finally:
            self.m.umount()

    def test_two_damaged_layers_are_both_named(self):
        paths = self.sealed(self.m.store)[:2]
        for path in paths:
            flip(path, path.stat().st_size - 9)
        out = self.assert_status(ERRORS)
        for path in paths:
            self.assertIn(path.name, out)

    def test_a_missing_layer_is_noted_as_lost_and_comes_back_from_a_backup(self):
        path = self.sealed(self.m.store)[0]
        kept = path.read_bytes()
        path.unlink()
        self.assertIn("missing", self.assert_status(ERRORS))
        self.assertIn("is lost", self.assert_status(REPAIRED, "--repair"))
        self.assertIn("is lost", self.assert_status(CLEAN))
        path.write_bytes(kept)
        self.assertIn("is there again", self.assert_status(REPAIRED, "--repair"))
        self.assertNotIn("lost", self.assert_status(CLEAN))

    def test_random_bytes_anywhere_never_crash_it(self):
        random = harness.seeded_random()
        files = self.sealed(self.m.store) + [self.m.store / "manifest"]
        for _ in range(harness.by_size(5, 15, 200)):
            path = random.choice(files)
            with open(path, "r+b") as file:
                file.seek(random.randrange(path.stat().st_size))
                file.write(random.randbytes(random.randrange(1, 3000)))
            self.assertIn(check(self.m.store).returncode, (CLEAN, ERRORS))
            self.assertIn(check(self.m.store, "--repair").returncode, (CLEAN, REPAIRED, ERRORS))
            self.setUp()


class Root(harness.ServerCase):
    """Attributes of the root are damaged, which all paths of a mount lie below."""

    @staticmethod
    def damage_root(m, lsn):
        """In the layer that holds what the root's change at @lsn made of them."""
        layers = json.loads(varve("dump", m.store, "--json").stdout)["layers"]
        (layer,) = [found for found in layers if found["start_lsn"] < lsn <= found["end_lsn"]]
        for offset in range(BLOCK + lsn - layer["start_lsn"] - 1, BLOCK, -3):
            flip(m.store / layer["file"], offset)
            if "attributes of inode 16" in check(m.store).stdout:
                return
            flip(m.store / layer["file"], offset)

    def test_what_is_whole_can_be_reached(self):
        m = self.mount_new(options=["layer=4M", "age=1"])
        write_file(m.head / "a", b"whole")
        lsn = m.latest()
        os.chmod(m.head, 0o751)
        changed = m.latest()
        harness.wait_for("the layer is sealed", lambda: "sealed" in varve("dump", m.point).stdout)
        m.umount()
        self.damage_root(m, changed)
        for words, status in (((), ERRORS), (("--repair",), REPAIRED)):
            with self.subTest(words=words):
                self.assertEqual(check(m.store, *words).returncode, status)
                m.mount()
                self.assertEqual(sorted(os.listdir(m.point)), ["head", "lsn"])
                self.assertEqual(os.stat(m.point / ".varve" / "window").st_uid, os.geteuid())
                with self.assertRaisesRegex(OSError, "Input/output error"):
                    os.stat(m.head)
                self.assertEqual(read_file(m.at(lsn) / "a"), b"whole")
                m.umount()
        m.options = [f"lsn={changed}"]
        with self.assertRaisesRegex(AssertionError, "Input/output error"):
            m.mount()
        m.umount()


class Words(harness.ServerCase):
    def test_called_wrongly(self):
        for words in ((), ("a", "b"), ("--nonsense", "a"), ("--samples", "0", "a")):
            self.assertEqual(varve("check", *words).returncode, USAGE)

    def test_what_can_not_be_printed_was_not_run(self):
        m = self.mount_new(mounted=False)
        for words in ((), ("--json",), ("--help",)):
            with self.subTest(words=words), open("/dev/full", "wb") as full:
                done = subprocess.run([VARVE, "check", *words, m.store], stdout=full, timeout=30,
                                      stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, NOT_RUN)
                self.assertIn(b"No space left", done.stderr)

    def test_help_tells_the_statuses(self):
        done = varve("help", "check")
        self.assertEqual(done.returncode, 0)
        for word in ("0 clean", "repaired", "4 damage", "8 the", "16 called"):
            self.assertIn(word, done.stdout.replace("\n", " "))

    def test_what_is_no_store(self):
        folder = self.folder_new()
        for path in (folder, folder / "missing", VARVE):
            done = check(path)
            self.assertEqual(done.returncode, NOT_RUN, done.stderr)
            self.assertTrue(done.stderr.startswith("varve: "))
            self.assertEqual(done.stdout, "")

    def test_a_bar_on_a_terminal_only(self):
        m = self.mount_new(mounted=False)
        self.assertEqual(check(m.store).stderr, "")
        theirs, ours = pty.openpty()
        done = subprocess.run([str(VARVE), "check", str(m.store)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=ours, timeout=60, check=False)
        os.close(ours)
        shown = os.read(theirs, 65536).decode()
        os.close(theirs)
        self.assertEqual(done.returncode, CLEAN)
        self.assertRegex(shown, r"\[#* *\]")
        self.assertTrue(shown.endswith("\r\x1b[K"))
        self.assertNotIn(b"\r", done.stdout)


class Mounted(harness.ServerCase):
    def test_any_path_names_the_store(self):
        m = self.mount_new()
        write_file(m.head / "file", b"x")
        for path in (m.store, m.point, m.head / "file", m.lsn / "latest" / "rel"):
            done = check(path)
            self.assertEqual(done.returncode, CLEAN, done.stdout + done.stderr)
        done = check(m.point, "--repair")
        self.assertEqual(done.returncode, NOT_RUN)
        self.assertIn("umount", done.stderr)
        # The daemon is as it was.
        write_file(m.head / "file", b"y")
        self.assertEqual(read_file(m.head / "file"), b"y")

    def test_damage_under_a_mount(self):
        m = self.mount_new(options=("layer=4M", "age=1"))
        write_file(m.head / "file", os.urandom(500_000))
        harness.wait_for("a layer is sealed", lambda: Damage.sealed(m.store))
        wanted = read_file(m.head / "file")[100_000:100_064]
        (path,) = [path for path in Damage.sealed(m.store) if wanted in read_file(path)]
        flip(path, read_file(path).index(wanted))
        status, out = check_json(self, m.point)
        self.assertEqual(status, ERRORS)
        self.assertEqual(out["findings"][0]["path"], "/file")

    def test_mounts_that_write_nothing(self):
        """However often it is mounted and left alone: nothing is added, and what is written later is merged."""
        m = self.mount_new(options=("layer=4M", "age=1"))
        write_file(m.head / "file", b"1" * 500_000)
        varve("compact", m.point)
        write_file(m.head / "file", b"2" * 500_000)
        harness.wait_for("a layer is sealed", lambda: Damage.sealed(m.store))
        before = Damage.sealed(m.store)
        for _ in range(2):
            m.umount()
            m.mount()
            time.sleep(3)
            self.assertEqual(Damage.sealed(m.store), before)
        write_file(m.head / "file", b"3" * 500_000)
        varve("compact", m.point)
        self.assertEqual(Damage.sealed(m.store), [])
        self.assertEqual(check_json(self, m.point)[0], CLEAN)
        self.assertEqual(read_file(m.head / "file"), b"3" * 500_000)

    def test_under_load(self):
        """Four writers, names and pages, small layers that are frozen meanwhile: no finding, and no
        call takes long."""
        m = self.mount_new(options=("layer=4M",))
        stop = time.monotonic() + WRITE_SECONDS
        slowest, counts, errors = [0.0] * 4, [0] * 4, []

        def write(index):
            random = randoms.Random(index)
            folder = m.head / f"writer{index}"
            folder.mkdir()
            try:
                while time.monotonic() < stop:
                    before = time.monotonic()
                    name = folder / str(random.randrange(20))
                    what = random.randrange(6)
                    if what == 0 and name.exists():
                        name.unlink()
                    elif what == 1 and name.exists():
                        os.truncate(name, random.randrange(300_000))
                    elif what == 2 and name.exists():
                        name.rename(folder / str(random.randrange(20)))
                    else:
                        with open(name, "ab") as file:
                            file.write(random.randbytes(random.randrange(1, 200_000)))
                    slowest[index] = max(slowest[index], time.monotonic() - before)
                    counts[index] += 1
            except OSError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        checks = 0
        while time.monotonic() < stop:
            done = check(m.point)
            self.assertEqual(done.returncode, CLEAN, done.stdout + done.stderr)
            checks += 1
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        print(f"{checks} checks beside {sum(counts)} changes; slowest change {max(slowest):.2f} s")
        self.assertGreater(checks, 0)
        self.assertGreater(min(counts), 0)
        self.assertEqual(check(m.point).returncode, CLEAN)
        m.umount()
        self.assertEqual(check(m.store).returncode, CLEAN)

    def test_unmounting_ends_it(self):
        m = self.mount_new()
        write_file(m.head / "file", os.urandom(30_000_000))
        with subprocess.Popen([str(VARVE), "check", str(m.point), "--samples=10000"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
            time.sleep(0.3)
            started = time.monotonic()
            m.umount()
            self.assertLess(time.monotonic() - started, 20)
            asked.communicate(timeout=30)
            self.assertIn(asked.returncode, (NOT_RUN, CLEAN))


if __name__ == "__main__":
    harness.main()
