#!/usr/bin/python3
"""Bad input: stores that are none, damaged, half made, newer or held by another; mount points
that won't do. Each gets a clear error; nothing is lost, nothing is changed, nothing crashes."""
import errno
import json
import os
import pathlib
import random as randoms
import shutil
import signal
import socket
import subprocess
import time

import harness
from harness import pattern, run, store_bytes, varve, write_file

# So small that a little data is enough for several sealed layers.
SMALL_LAYERS = "layer=4M"

# Where the manifest and each layer keep the version of their format, 32 bits.
VERSION_OFFSET = 8


def is_runtime_file(name):
    """Files of a store that are rewritten by looking at it: who holds it, no data."""
    return pathlib.Path(name).name in ("lock",)


def store_data(folder):
    return {name: data for name, data in store_bytes(folder).items() if not is_runtime_file(name)}


class Refused(harness.ServerCase):
    def assert_refused(self, said, *words, status=1):
        """The command fails with a message that says @said, in a few lines."""
        done = varve(*words)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        self.assertRegex(done.stderr, said)
        self.assertEqual(done.stdout, "")
        self.assertLess(done.stderr.count("\n"), 6)

    def places(self):
        folder = self.folder_new()
        (folder / "point").mkdir()
        return folder, folder / "point"

    def assert_not_mounted(self, point):
        self.assertFalse(harness.is_mounted(point))
        self.assertEqual(os.listdir(point), [])


class Stores(Refused):
    def test_what_is_no_store(self):
        folder, point = self.places()
        (folder / "empty").mkdir()
        (folder / "other").mkdir()
        write_file(folder / "other" / "thesis", b"years of work")
        write_file(folder / "file", b"x")
        for name, said in (("missing", r"mkfs"), ("empty", r"mkfs"), ("other", r"not a (varve )?store"),
                           ("file", r"not a (varve )?store|not a directory")):
            with self.subTest(name=name):
                self.assert_refused(said, "mount", folder / name, point)
                self.assert_not_mounted(point)
        self.assertEqual(store_bytes(folder / "other"), {"thesis": b"years of work"})
        self.assertEqual(os.listdir(folder / "empty"), [])
        self.assertFalse((folder / "missing").exists())

    def test_a_newer_format(self):
        """The version field of the manifest, and of a layer, raised: named as such, not as damage."""
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        m.umount()
        layer = sorted(str(path.relative_to(m.store)) for path in m.store.rglob("*.layer"))[0]
        for name, version in (("manifest", 3), (layer, 1)):
            with self.subTest(file=name):
                whole = (m.store / name).read_bytes()
                with open(m.store / name, "r+b") as file:
                    file.seek(VERSION_OFFSET)
                    self.assertEqual(file.read(4), version.to_bytes(4, "little"))
                    file.seek(VERSION_OFFSET)
                    file.write((version + 1).to_bytes(4, "little"))
                before = store_data(m.store)
                self.assert_refused(r"newer", "mount", m.store, m.point)
                self.assert_not_mounted(m.point)
                self.assertEqual(store_data(m.store), before)
                if name == "manifest":
                    self.assert_refused(r"newer", "info", m.store)
                write_file(m.store / name, whole)
        m.mount()
        self.assertEqual(harness.read_file(m.head / "a"), b"x")

    def test_held_by_another_is_named(self):
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        other = m.folder / "other"
        other.mkdir()
        (server,) = m.servers()
        self.assert_refused(rf"{m.point}(.|\n)*{server}|{server}(.|\n)*{m.point}",
                            "mount", m.store, other)
        self.assert_refused(r"umount", "mount", m.store, other)
        self.assert_not_mounted(other)
        self.assertEqual(harness.read_file(m.head / "a"), b"x")
        m.umount()
        self.assertEqual(varve("mount", m.store, other).returncode, 0)
        self.assertEqual(varve("umount", other).returncode, 0)

    def test_a_dead_holder_is_no_holder(self):
        m = self.mount_new()
        (server,) = m.servers()
        os.kill(server, signal.SIGKILL)
        harness.wait_for("the killed server is gone", lambda: not m.servers())
        m.clear()
        m.mount()

    def test_mkfs_over_a_mounted_store(self):
        m = self.mount_new()
        self.assert_refused(r"store", "mkfs", m.store)
        write_file(m.head / "a", b"x")

    def test_a_store_without_its_manifest(self):
        """Its layers are still the user's data: nobody is told to make a new store over them."""
        m = self.mount_new()
        write_file(m.head / "a", b"precious")
        m.umount()
        (m.store / "manifest").rename(m.folder / "manifest")
        before = store_data(m.store)
        for words in (("mount", m.store, m.point), ("mkfs", m.store), ("info", m.store)):
            self.assert_refused(r"manifest.*backup", *words)
        self.assertEqual(store_data(m.store), before)
        (m.folder / "manifest").rename(m.store / "manifest")
        m.mount()
        self.assertEqual(harness.read_file(m.head / "a"), b"precious")

    def test_a_half_made_store(self):
        """mkfs killed at any moment: a store, or none, and then mkfs makes it."""
        random = harness.seeded_random()
        folder, point = self.places()
        began = time.monotonic()
        self.assertEqual(varve("mkfs", folder / "timing").returncode, 0)
        whole = time.monotonic() - began
        outcomes = {"store": 0, "none": 0, "half made": 0}
        for i in range(harness.by_size(30, 120)):
            store = folder / f"store{i}"
            making = subprocess.Popen([harness.VARVE, "mkfs", store], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0, whole * 1.2))
            making.send_signal(signal.SIGKILL)
            making.wait()
            left = os.listdir(store) if store.exists() else []
            mounted = varve("mount", store, point)
            if mounted.returncode == 0:
                outcomes["store"] += 1
            else:
                outcomes["half made" if left else "none"] += 1
                self.assertEqual(mounted.returncode, 1)
                self.assertIn("mkfs", mounted.stderr)
                done = varve("mkfs", store)
                self.assertEqual(done.returncode, 0, f"{left}: {done.stderr}")
                mounted = varve("mount", store, point)
                self.assertEqual(mounted.returncode, 0, mounted.stderr)
            write_file(point / "head" / "rel" / "a", b"x")
            self.assertEqual(varve("umount", point).returncode, 0)
            shutil.rmtree(store)
        print("mkfs killed:", outcomes)


class ControlSocket(harness.ServerCase):
    """Whatever is said to a mount's socket, the mount goes on."""

    def ask(self, m, request, finish=True):
        """What the daemon answers to @request, bytes as they are."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            here = os.open(m.store, os.O_PATH)
            try:
                connection.connect(f"/proc/self/fd/{here}/socket")
            finally:
                os.close(here)
            try:
                connection.sendall(request)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
                answer = b""
                while piece := connection.recv(65536):
                    answer += piece
                return answer
            except (ConnectionResetError, BrokenPipeError):
                return b""

    def assert_lives(self, m, server):
        self.assertEqual(m.servers(), [server])
        self.assertEqual(harness.read_file(m.head / "a"), b"x")
        self.assertIn(b'"newest_lsn"', self.ask(m, b'{"op": "info"}\n'))

    def test_bad_requests(self):
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        (server,) = m.servers()
        for request in (b"", b"\n", b"\0\n", b"[]\n", b"7\n", b"{}\n", b'{"op": 7}\n', b'{"op": null}\n',
                        b'{"op": "info", "op": "wait"}\n', b'{"op": "no such"}\n', b'{"op": "log"}\n',
                        b'{"op": "log", "inode": "16"}\n', b'{"op": "log", "inode": -1}\n',
                        b'{"op": "log", "inode": 1.5}\n', b'{"op": "log", "inode": 99999999999999999999}\n',
                        b'{"op": "log", "inode": 9223372036854775807}\n', b'{"op": "inf\xff"}\n',
                        b"[" * 4000 + b"\n", b"x" * 4096, b"x" * 100_000, b'{"op": "info"}'):
            with self.subTest(request=request[:60]):
                answer = self.ask(m, request)
                if answer:
                    self.assertIn(b'"error"', answer.splitlines()[-1])
        self.assert_lives(m, server)

    def test_bad_operations(self):
        """Each is told what is wrong with it, in a line of JSON, and changes nothing."""
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        (server,) = m.servers()
        before = self.ask(m, b'{"op": "window"}\n')
        self.assertIn(b'"window"', before)
        for request in (b'{"op": "window", "time_ns": -1}', b'{"op": "window", "time_ns": "1"}',
                        b'{"op": "window", "bytes": 1.5}', b'{"op": "window", "time_ns": 1, "bytes": null}',
                        b'{"op": "layer"}', b'{"op": "layer", "id": -1}', b'{"op": "layer", "id": 99999999999}',
                        b'{"op": "page"}', b'{"op": "page", "inode": 16, "block": -1}',
                        b'{"op": "page", "inode": 16, "block": 72057594037927936}',
                        b'{"op": "page", "path": "no/such", "block": 0}',
                        b'{"op": "page", "path": "a/a", "block": 0}',
                        b'{"op": "check", "samples": -1}', b'{"op": "check", "samples": 4294967296}'):
            with self.subTest(request=request):
                answer = json.loads(self.ask(m, request + b"\n").splitlines()[-1])
                self.assertGreater(answer["errno"], 0)
                self.assertTrue(answer["error"])
        # A message that names it is cut in the middle of a letter, whichever the length.
        for length in (1200, 1201):
            path = "x" * (length - 1200) + "\u00e9" * 1200
            answer = json.loads(self.ask(m, json.dumps({"op": "page", "path": path, "block": 0},
                                                       ensure_ascii=False).encode() + b"\n"))
            self.assertEqual(answer["errno"], errno.ENAMETOOLONG)
        self.assertEqual(self.ask(m, b'{"op": "window"}\n'), before)
        self.assert_lives(m, server)

    def test_random_requests(self):
        random = harness.seeded_random()
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        (server,) = m.servers()
        words = (b'{"op": "info"}', b'{"op": "log", "inode": 16}', b'{"op": "wat"}')
        for _ in range(harness.by_size(200, 1000, 20_000)):
            request = bytearray(random.choice(words))
            for _ in range(random.randrange(4)):
                at = random.randrange(len(request))
                request[at:at + random.randrange(3)] = random.randbytes(random.randrange(3))
                request = request or bytearray(b"{")
            self.ask(m, bytes(request) + b"\n")
        self.assert_lives(m, server)

    def test_clients_that_say_nothing(self):
        """As many as there is room for, and more: they time out, and the mount goes on."""
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        (server,) = m.servers()
        silent = []
        for _ in range(40):
            connection = socket.socket(socket.AF_UNIX)
            self.addCleanup(connection.close)
            here = os.open(m.store, os.O_PATH)
            connection.connect(f"/proc/self/fd/{here}/socket")
            os.close(here)
            silent.append(connection)
        self.assertEqual(harness.read_file(m.head / "a"), b"x")
        for connection in silent:
            connection.settimeout(20)
            try:
                self.assertIn(b"error", connection.recv(4096))
            except ConnectionResetError:
                pass
        self.assert_lives(m, server)


class MountPoints(Refused):
    def setUp(self):
        self.folder, self.point = self.places()
        self.store = self.folder / "store"
        self.assertEqual(varve("mkfs", self.store).returncode, 0)
        self.before = store_data(self.store)

    def tearDown(self):
        self.assertEqual(store_data(self.store), self.before)

    def test_missing(self):
        self.assert_refused(r"mkdir", "mount", self.store, self.folder / "missing")
        self.assertFalse((self.folder / "missing").exists())

    def test_a_file(self):
        write_file(self.folder / "file", b"x")
        self.assert_refused(r"directory", "mount", self.store, self.folder / "file")

    def test_not_empty(self):
        write_file(self.point / "thesis", b"years of work")
        self.assert_refused(r"empty", "mount", self.store, self.point)
        self.assertEqual(os.listdir(self.point), ["thesis"])

    def test_inside_the_store(self):
        (self.store / "point").mkdir()
        for inside in (self.store / "point", self.store):
            self.assert_refused(r"inside|within|empty", "mount", self.store, inside)
            self.assertFalse(harness.is_mounted(inside))
        link = self.folder / "link"
        link.symlink_to(self.store / "point")
        self.assert_refused(r"inside|within", "mount", self.store, link)
        (self.store / "point").rmdir()

    def test_a_mount_point_already(self):
        m = self.mount_new()
        self.assert_refused(r"mount|empty", "mount", self.store, m.point)
        self.assertTrue(m.head.is_dir())

    def test_a_dead_mount(self):
        m = self.mount_new()
        (server,) = m.servers()
        os.kill(server, signal.SIGKILL)
        harness.wait_for("the killed server is gone", lambda: not m.servers())
        self.assert_refused(r"umount", "mount", self.store, m.point)
        self.assertEqual(varve("umount", m.point).returncode, 0)
        self.assertFalse(harness.is_mounted(m.point))
        m.mount()


class Damage(Refused):
    """One store with sealed layers and an open one; each of its files is damaged in each way."""

    @classmethod
    def setUpClass(cls):
        cls.m = harness.Mount(options=(SMALL_LAYERS, "age=1"))
        cls.addClassCleanup(cls.m.close)
        cls.m.mount()
        cls.files = {}
        # The first layer has its size from mkfs: it has to go by age.
        write_file(cls.m.head / "first", b"first")
        cls.files["first"] = b"first"
        harness.wait_for("the first layer is sealed", lambda: cls.layer_count() > 0)
        random = randoms.Random(3)
        cls.noted = []
        for i in range(8):
            for name in ("big", f"file{i}"):
                data = random.randbytes(900_000)
                write_file(cls.m.head / name, data)
                cls.files[name] = data
            os.makedirs(cls.m.head / "dir" / str(i), exist_ok=True)
            cls.noted.append((cls.m.latest(), dict(cls.files)))
        cls.m.umount()
        cls.pristine = cls.m.folder / "pristine"
        run("cp", "-a", "--sparse=auto", cls.m.store, cls.pristine)
        files = {name: data.rstrip(b"\0") for name, data in store_bytes(cls.pristine).items()
                 if not is_runtime_file(name)}
        # The spare layer, made ahead and not yet begun, holds nothing that could be lost.
        cls.names = [name for name, data in files.items() if data]
        cls.used = {cls.m.store / name: len(data) for name, data in files.items()}

    @classmethod
    def layer_count(cls):
        return json.loads(varve("info", "--json", cls.m.store).stdout)["layer_count"]

    def restore(self):
        shutil.rmtree(self.m.store)
        run("cp", "-a", "--sparse=auto", self.pristine, self.m.store)

    def read_all(self):
        """Read head and each noted LSN, as (right, refused with an errno) counts; a wrong byte fails."""
        right = refused = 0
        for root, files in [(self.m.head, self.files)] + \
                [(self.m.at(lsn), files) for lsn, files in self.noted]:
            for name, wanted in files.items():
                try:
                    found = harness.read_file(root / name)
                except OSError as error:
                    self.assertIn(error.errno, (errno.EIO, errno.EUCLEAN, errno.EBADMSG))
                    refused += 1
                    continue
                self.assertEqual(found, wanted, f"{root / name}: wrong bytes")
                right += 1
        return right, refused

    def outcome_of(self, name):
        """What a mount of the damaged store comes to: refused, some reads refused, harmless."""
        before = store_data(self.m.store)
        done = varve("mount", "-o", SMALL_LAYERS, self.m.store, self.m.point)
        if done.returncode != 0:
            self.assertEqual(done.returncode, 1, f"{name}: {done.stderr}")
            self.assertRegex(done.stderr, r"\S", name)
            self.assertRegex(done.stderr, rf"{pathlib.Path(name).name}|format \d+")
            self.assertFalse(harness.is_mounted(self.m.point))
            after = store_data(self.m.store)
            self.assertEqual(set(after), set(before), f"{name}: the refused mount changed files")
            self.assertEqual([n for n in before if before[n] != after[n]], [],
                             f"{name}: the refused mount changed files")
            return "refused"
        try:
            _, refused = self.read_all()
            refused += self.write_refused()
            self.assertEqual(len(self.m.servers()), 1, "the server crashed")
            self.m.umount()
        finally:
            self.m.kill()
        return "reads refused" if refused else "harmless"

    def write_refused(self):
        """Make a file: 1 if that is refused, for a damaged index can't tell that the name is free."""
        try:
            write_file(self.m.head / "after", b"the damage")
        except OSError as error:
            self.assertEqual(error.errno, errno.EIO)
            return 1
        self.assertEqual(harness.read_file(self.m.head / "after"), b"the damage")
        return 0

    def damage_each(self, what, damage):
        """Apply damage(path) to each file in turn; the outcomes by file."""
        outcomes = {}
        for name in self.names:
            with self.subTest(damage=what, file=name):
                self.restore()
                if damage(self.m.store / name) is False:
                    continue
                outcomes[name] = self.outcome_of(name)
        print(f"{what}:", outcomes)
        return outcomes

    def test_0_the_store_has_what_is_to_be_damaged(self):
        self.restore()
        self.m.mount()
        self.assertEqual(self.read_all()[1], 0)
        self.assertGreaterEqual(self.layer_count(), 2)
        self.m.umount()

    def test_a_file_emptied(self):
        outcomes = self.damage_each("emptied", lambda path: os.truncate(path, 0))
        self.assertNotIn("harmless", outcomes.values())

    def test_a_file_removed(self):
        outcomes = self.damage_each("removed", os.unlink)
        self.assertNotIn("harmless", outcomes.values())

    def test_a_file_cut_to_half(self):
        outcomes = self.damage_each("halved", lambda path: os.truncate(
            path, self.used[path] // 2))
        self.assertNotIn("harmless", outcomes.values())

    def test_a_file_cut_by_a_byte(self):
        self.damage_each("short by a byte", lambda path: os.truncate(path, path.stat().st_size - 1))

    def test_the_manifest_cut_at_every_length(self):
        """A shorter manifest must not pass for a whole one: what it no longer names is still there."""
        size = len((self.pristine / "manifest").read_bytes().rstrip(b"\0"))
        outcomes = {}
        for length in range(0, size, harness.by_size(11, 1)):
            with self.subTest(length=length):
                self.restore()
                os.truncate(self.m.store / "manifest", length)
                outcome = self.outcome_of(self.m.store / "manifest")
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        print(f"manifest of {size} bytes cut:", outcomes)

    def test_a_file_zeroed(self):
        outcomes = self.damage_each("zeroed", lambda path: write_file(
            path, b"\0" * path.stat().st_size, "r+b"))
        self.assertNotIn("harmless", outcomes.values())

    def test_a_file_of_noise(self):
        outcomes = self.damage_each("noise", lambda path: write_file(
            path, randoms.Random(1).randbytes(path.stat().st_size), "r+b"))
        self.assertNotIn("harmless", outcomes.values())

    def test_a_file_swapped_with_its_neighbour(self):
        layers = sorted(name for name in self.names if name.endswith(".layer"))
        self.restore()
        one, two = (self.m.store / name for name in layers[:2])
        one.rename(self.m.store / "swap")
        two.rename(one)
        (self.m.store / "swap").rename(two)
        self.assertNotEqual(self.outcome_of(one), "harmless")

    def test_bits_flipped(self):
        random = harness.seeded_random()
        counts = {}
        for i in range(harness.by_size(3, 12, 100)):
            def flip(path, i=i):
                data, used = path.read_bytes(), self.used[path]
                offset = (0, used - 1)[i] if i < 2 else random.randrange(used)
                with open(path, "r+b") as file:
                    file.seek(offset)
                    file.write(bytes([data[offset] ^ (1 << random.randrange(8))]))
            for outcome in self.damage_each("bit flipped", flip).values():
                counts[outcome] = counts.get(outcome, 0) + 1
        print("bits flipped:", counts)

    def test_a_layer_damaged_under_a_running_mount(self):
        """Cut short while it is read: EIO for what is gone, the server lives, the rest is right."""
        self.restore()
        layers = sorted(name for name in self.names if name.endswith(".layer"))
        self.m.mount()
        try:
            os.truncate(self.m.store / layers[0], 4096)
            _, refused = self.read_all()
            self.assertGreater(refused, 0)
            self.assertEqual(len(self.m.servers()), 1)
            self.assertEqual(harness.read_file(self.m.head / "file7"), self.files["file7"])
            write_file(self.m.head / "file7", b"x", "r+b")
            self.assertEqual(harness.read_file(self.m.head / "file7")[:1], b"x")
            self.m.umount()
        finally:
            self.m.kill()


if __name__ == "__main__":
    harness.main()
