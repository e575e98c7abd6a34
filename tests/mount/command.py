#!/usr/bin/python3
"""The varve command: what each part prints, its exit status (0 done, 1 failed, 2 usage), and
that an error is one message on standard error which names the cure."""
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import time

import harness
from harness import VARVE, json_of, read_file, varve, write_file

COMMANDS = ("mkfs", "mount", "umount", "info", "log", "window", "gc", "compact", "dump", "check", "help")


class CommandCase(harness.ServerCase):
    def assert_fails(self, status, pattern, *words):
        """The command ends with @status and says @pattern on standard error, and nothing else."""
        done = varve(*words)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "", words)
        self.assertRegex(done.stderr, pattern)
        self.assertLess(done.stderr.count("\n"), 8, "an error is no page of text")
        return done

    def assert_done(self, *words):
        done = varve(*words)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")
        return done


class Usage(CommandCase):
    def test_help_lists_every_command(self):
        for words in (("help",), ("--help",)):
            text = self.assert_done(*words).stdout
            for command in COMMANDS:
                self.assertRegex(text, rf"\b{command}\b")

    def test_help_of_a_command(self):
        for command in COMMANDS:
            for words in (("help", command), (command, "--help")):
                with self.subTest(words=words):
                    text = self.assert_done(*words).stdout
                    self.assertIn("Usage:", text)
                    self.assertIn(command, text)

    def test_version(self):
        self.assertRegex(self.assert_done("--version").stdout, r"\d+\.\d+")

    def test_wrong_usage_is_status_2_and_leads_to_help(self):
        for words in ((), ("frobnicate",), ("help", "frobnicate"), ("mkfs",), ("mkfs", "a", "b"),
                      ("mount",), ("mount", "a"), ("mount", "a", "b", "c"), ("umount",), ("info",),
                      ("info", "a", "b"), ("log",), ("mkfs", "--no-such-option", "a"),
                      ("info", "--frob", "a"), ("mkfs", "--page-size"),
                      ("mkfs", "--page-size", "many", "a"), ("mount", "-o", "no_such_option", "a", "b"),
                      ("umount", "a", "b"), ("log", "a", "b")):
            with self.subTest(words=words):
                done = varve(*words)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"help|Usage|usage")
        self.assertFalse(pathlib.Path("a").exists())

    def test_a_full_standard_output_is_a_failure(self):
        for words in (("help",), ("help", "mount"), ("--version",)):
            with self.subTest(words=words), open("/dev/full", "wb") as full:
                done = subprocess.run([VARVE, *words], stdout=full, stderr=subprocess.PIPE,
                                      check=False, timeout=30)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"No space left", done.stderr)


class Mkfs(CommandCase):
    def test_it_makes_a_store(self):
        folder = self.folder_new()
        self.assert_done("mkfs", folder / "new")
        self.assertTrue((folder / "new").is_dir())
        (folder / "empty").mkdir()
        self.assert_done("mkfs", folder / "empty")

    def test_it_never_touches_a_store_or_anything_else(self):
        folder = self.folder_new()
        self.assert_done("mkfs", folder / "store")
        before = harness.store_bytes(folder)
        self.assert_fails(1, r"store", "mkfs", folder / "store")
        (folder / "full").mkdir()
        write_file(folder / "full" / "thesis.txt", b"years of work")
        self.assert_fails(1, r"empty", "mkfs", folder / "full")
        write_file(folder / "file", b"x")
        self.assert_fails(1, r"file", "mkfs", folder / "file")
        self.assert_fails(1, r"no", "mkfs", folder / "no" / "such" / "parent")
        after = harness.store_bytes(folder)
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(set(after) - set(before), {"full/thesis.txt", "file"})

    def test_page_sizes(self):
        folder = self.folder_new()
        for size in (4096, 8192, 16384, 32768, 65536):
            with self.subTest(size=size):
                store = folder / str(size)
                self.assert_done("mkfs", "--page-size", size, store)
                info = json_of(self, varve("info", "--json", store))
                self.assertEqual(info["page_size_bytes"], size)
        for size in ("0", "1", "512", "2048", "5000", "8193", "131072", "-8192", "8k x", "",
                     "99999999999999999999"):
            with self.subTest(size=size):
                done = varve("mkfs", "--page-size", size, folder / "bad")
                self.assertIn(done.returncode, (1, 2))
                self.assertRegex(done.stderr, r"page size")
                self.assertFalse((folder / "bad").exists())

    def test_every_page_size_works_mounted(self):
        for size in (4096, 65536):
            m = self.mount_new(mkfs=("--page-size", size))
            data = harness.pattern(300_000)
            write_file(m.head / "a", data)
            n = m.latest()
            write_file(m.head / "a", b"changed", "r+b")
            m.remount()
            self.assertEqual(harness.read_file(m.at(n) / "a"), data)
            self.assertEqual(harness.read_file(m.head / "a"), b"changed" + data[7:])


class MountAndUmount(CommandCase):
    def test_mount_returns_when_the_mount_answers(self):
        m = self.mount_new(mounted=False)
        for _ in range(5):
            self.assert_done("mount", m.store, m.point)
            self.assertTrue(os.path.isdir(m.head))
            write_file(m.head / "a", b"x")
            self.assert_done("umount", m.point)

    def test_umount_waits_until_the_lock_is_free(self):
        m = self.mount_new()
        for i in range(harness.by_size(5, 20)):
            write_file(m.head / f"file-{i}", os.urandom(3_000_000))
            m.umount()
            self.assertFalse(harness.is_mounted(m.point))
            self.assertEqual(m.servers(), [])
            m.mount()
        self.assertEqual(len(os.listdir(m.head)), harness.by_size(5, 20))

    def test_umount_says_why_it_can_not(self):
        m = self.mount_new()
        self.assert_fails(1, r"mount", "umount", m.folder)
        self.assert_fails(1, r"mount", "umount", m.folder / "no such thing")
        with open(m.head / "busy", "wb"):
            self.assert_fails(1, r"[Bb]usy|in use|open", "umount", m.point)
            self.assertTrue(harness.is_mounted(m.point))
        self.assert_done("umount", m.point)

    def test_foreground_stays_until_told(self):
        m = self.mount_new(mounted=False)
        server = subprocess.Popen([VARVE, "mount", "-f", m.store, m.point],
                                  stdin=subprocess.DEVNULL)
        self.addCleanup(server.kill)
        harness.wait_for("the mount answers", lambda: os.path.isdir(m.head))
        self.assertIsNone(server.poll())
        write_file(m.head / "a", b"x")
        self.assert_done("umount", m.point)
        self.assertEqual(server.wait(10), 0)
        server = subprocess.Popen([VARVE, "mount", "-f", m.store, m.point],
                                  stdin=subprocess.DEVNULL)
        self.addCleanup(server.kill)
        harness.wait_for("the mount answers", lambda: os.path.isdir(m.head))
        self.assertEqual(harness.read_file(m.head / "a"), b"x")
        server.send_signal(signal.SIGINT)
        self.assertEqual(server.wait(10), 0)
        harness.wait_for("the mount is gone", lambda: not harness.is_mounted(m.point))

    def test_the_background_holds_no_terminal_and_no_pipe(self):
        m = self.mount_new(mounted=False)
        read_end, write_end = os.pipe()
        done = subprocess.run([VARVE, "mount", m.store, m.point], stdout=write_end, stderr=write_end,
                              stdin=subprocess.DEVNULL, timeout=30, check=False)
        os.close(write_end)
        self.assertEqual(done.returncode, 0)
        fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_NONBLOCK)
        self.assertEqual(os.read(read_end, 100), b"")       # the end, not EAGAIN: nobody holds it
        os.close(read_end)
        (pid,) = m.servers()
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")

    def test_it_starts_with_standard_descriptors_closed(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed=closed):
                m = self.mount_new(mounted=False)
                done = subprocess.run(["bash", "-c", f'exec "$@" {closed}', "bash", VARVE, "mount",
                                       m.store, m.point], capture_output=True,
                                      stdin=subprocess.DEVNULL, timeout=30, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                (pid,) = m.servers()
                for fd in range(3):
                    self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
                other = m.folder / "other"
                other.mkdir()
                self.assert_fails(1, r"mounted", "mount", m.store, other)
                write_file(m.head / "a", b"x")
                self.assert_done("check", m.point)
                m.umount()

    def test_relative_paths(self):
        m = self.mount_new(mounted=False)
        done = subprocess.run([VARVE, "mount", "store", "mount"], cwd=m.folder, check=False,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        write_file(m.head / "a", b"x")
        self.assertTrue(os.path.isdir(m.at(m.latest())))
        done = subprocess.run([VARVE, "umount", "mount"], cwd=m.folder, check=False,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_table_of_mounts_names_varve(self):
        m = self.mount_new()
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            (line,) = [line for line in table if str(m.point) in line]
        self.assertIn(" fuse.varve ", line)

    def test_read_only(self):
        m = self.mount_new()
        write_file(m.head / "a", b"x")
        m.umount()
        m.options = ["ro"]
        m.mount()
        self.assertEqual(harness.read_file(m.head / "a"), b"x")
        with self.assertRaises(OSError):
            write_file(m.head / "b", b"x")
        m.umount()


class Info(CommandCase):
    def test_of_a_store_and_of_every_path_in_its_mount(self):
        m = self.mount_new()
        write_file(m.head / "a", b"x" * 5000)
        n = m.latest()
        infos = [json_of(self, varve("info", "--json", path)) for path in (
            m.store, m.point, m.head, m.head / "a", m.lsn, m.at(n) / "a")]
        for info in infos:
            self.assertEqual(info["store"], str(m.store))
            self.assertEqual(info["page_size_bytes"], 8192)
            self.assertEqual(info["id"], infos[0]["id"])
            self.assertIn("format_version", info)
        for info in infos[1:]:
            self.assertEqual(info["newest_lsn"], n)
            self.assertEqual(info["oldest_lsn"], m.oldest())
        m.umount()
        info = json_of(self, varve("info", "--json", m.store))
        self.assertEqual(info["newest_lsn"], n)
        self.assertEqual(info["id"], infos[0]["id"])

    def test_a_store_that_nobody_serves_tells_the_same(self):
        m = self.mount_new()
        write_file(m.head / "a", os.urandom(300_000))
        varve("compact", m.point)
        write_file(m.head / "b", os.urandom(70_000))
        served = json_of(self, varve("info", "--json", m.point))
        m.kill()
        told = json_of(self, varve("info", "--json", m.store))
        self.assertFalse(told["mounted"])
        for key in ("id", "oldest_lsn", "newest_lsn", "run_count", "inode_next"):
            self.assertEqual(told[key], served[key], key)
        for key in ("inode_count", "file_bytes"):
            self.assertEqual(told["head"][key], served["head"][key])
        self.assertEqual(told["layers"]["image"], served["layers"]["image"])
        for key in ("time", "bytes", "newest_time", "oldest_time"):
            self.assertEqual(told["window"].get(key), served["window"].get(key))
        self.assertIsNone(told["amplification"]["write"])
        self.assertIsNone(told["read_only"])
        text = self.assert_done("info", m.store).stdout
        self.assertIn(str(told["newest_lsn"]), text)
        self.assertNotIn("mounted,", text)
        self.assertNotIn("read-only", text)

    def test_what_can_not_be_opened_tells_what_its_manifest_says(self):
        store = self.folder_new() / "store"
        self.assert_done("mkfs", store)
        (layer,) = (store / "layers").glob("*1.layer")
        layer.write_bytes(b"x" * 100)
        done = self.assert_done("info", store)
        self.assertIn("from its manifest", done.stderr)
        self.assertIn("LSNs             up to", done.stdout)

    def test_it_tells_who_holds_the_store(self):
        m = self.mount_new()
        self.assertIn(str(m.point), self.assert_done("info", m.store).stdout)
        m.umount()
        self.assertNotIn(str(m.point), self.assert_done("info", m.store).stdout)

    def test_it_tells_what_the_arena_holds(self):
        m = self.mount_new()
        before = json_of(self, varve("info", "--json", m.point))
        # Zeros at the end of a page would take no room.
        write_file(m.head / "a", bytes(byte or 1 for byte in os.urandom(80_000)))
        after = json_of(self, varve("info", "--json", m.point))
        self.assertGreaterEqual(after["arena_image_bytes"] - before["arena_image_bytes"], 80_000)
        self.assertGreater(after["arena_used_bytes"], before["arena_used_bytes"] + 80_000)
        parts = sum(after[f"arena_{part}_bytes"]
                    for part in ("framing", "attr", "name", "image", "patch"))
        self.assertLessEqual(parts, after["arena_used_bytes"])
        self.assertGreater(parts, after["arena_used_bytes"] - 4097)     # the layer's header

    def test_a_small_write_to_a_page_costs_about_what_it_changes(self):
        """But for the whole page that now and then bounds the chain of patches."""
        for page_size in (4096, 8192, 65536):
            m = self.mount_new(mkfs=("--page-size", page_size))
            write_file(m.head / "a", os.urandom(page_size * 4))
            costs, before = [], m.latest()
            with open(m.head / "a", "r+b", buffering=0) as file:
                for i in range(200):
                    os.pwrite(file.fileno(), os.urandom(100), page_size + i * 500 % (page_size - 100))
                    costs.append(m.latest() - before)
                    before += costs[-1]
            print(f"100 bytes to a page of {page_size}: median {sorted(costs)[100]}, "
                  f"mean {sum(costs) / 200:.0f} bytes of history")
            self.assertLess(sorted(costs)[100], 200)
            self.assertLess(sum(cost > 1000 for cost in costs), 10)

    def test_a_whole_page_costs_about_what_changed_in_it(self):
        m, page_size, count = self.mount_new(), 8192, 200
        pages = [bytearray(os.urandom(page_size)) for _ in range(count)]
        with open(m.head / "a", "w+b", buffering=0) as file:
            for page in pages:
                file.write(page)
            before = m.latest()
            for i in range(10 * count):
                at = i * 500 % (page_size - 100)
                pages[i % count][at:at + 100] = os.urandom(100)
                os.pwrite(file.fileno(), pages[i % count], i % count * page_size)
            changed = (m.latest() - before) / (10 * count)
            before = m.latest()
            for i, page in enumerate(pages):
                os.pwrite(file.fileno(), page, i * page_size)
            unchanged = (m.latest() - before) / count
        print(f"100 bytes changed in a page, which is written whole: {changed:.0f} bytes of history; "
              f"nothing changed: {unchanged:.0f}")
        self.assertLess(changed, 400)
        self.assertLess(unchanged, 150)
        self.assertEqual(read_file(m.head / "a"), b"".join(pages))

    def test_people_and_programs_are_told_the_same(self):
        m = self.mount_new()
        text = self.assert_done("info", m.point).stdout
        info = json_of(self, varve("info", "--json", m.point))
        for key in ("id", "newest_lsn", "oldest_lsn", "pid"):
            self.assertIn(str(info[key]), text)
        self.assertIn("8.0 KiB", text)

    def test_what_is_no_store(self):
        folder = self.folder_new()
        self.assert_fails(1, r"store|mount", "info", folder)
        self.assert_fails(1, r"No such|not there|no such", "info", folder / "missing")
        write_file(folder / "file", b"x")
        self.assert_fails(1, r"store|mount", "info", folder / "file")


class Log(CommandCase):
    def versions(self, path):
        return json_of(self, varve("log", "--json", path))["versions"]

    def test_every_version_of_a_file(self):
        m = self.mount_new()
        path = m.head / "a"
        lsns, sizes = [], []

        def note():
            lsns.append(m.latest())
            sizes.append(os.stat(path).st_size)
        started = time.time()
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        note()
        fd = os.open(path, os.O_WRONLY)
        # The kernel cuts a write that begins inside of a page at the page's end.
        for offset, data in ((0, b"first"), (20_480, b"x" * 9000), (3, b"yy")):
            os.pwrite(fd, data, offset)
            note()
        os.close(fd)
        os.truncate(path, 10)
        note()
        os.chmod(path, 0o600)
        note()
        for when in ("as written", "after a remount"):
            with self.subTest(when=when):
                versions = self.versions(path)
                self.assertEqual([v["lsn"] for v in versions], lsns)
                self.assertEqual([v["size_bytes"] for v in versions], sizes)
                for version in versions:
                    self.assertLess(abs(time_of(version["time"]) - started), 60)
            m.remount()
        text = self.assert_done("log", path).stdout
        self.assertEqual([line for line in map(str, lsns) if line not in text], [])

    def test_what_changed_is_told(self):
        m = self.mount_new()
        path = m.head / "a"
        write_file(path, b"x" * 20_000)
        os.chmod(path, 0o600)
        os.truncate(path, 10)
        os.chown(path, 5, 5)
        os.utime(path, (1, 1))
        versions = self.versions(path)
        self.assertTrue(versions[0]["created"])
        self.assertEqual([v["created"] for v in versions[1:]], [False] * (len(versions) - 1))
        mode, cut, owner, times = versions[-4:]
        self.assertNotEqual(mode["mode"], mode["mode_before"])
        self.assertEqual((cut["size_before_bytes"], cut["size_bytes"]), (20_000, 10))
        self.assertEqual((owner["uid_before"], owner["uid"], owner["gid"]), (0, 5, 5))
        self.assertTrue(times["times_set"])
        self.assertEqual([v["times_set"] for v in versions[:-1]], [False] * (len(versions) - 1))
        self.assertEqual(sum(v["data_bytes"] for v in versions[:-4]), 20_000)
        written = [v for v in versions[:-4] if v["pages_written"]]
        self.assertEqual((written[0]["page_first"], written[-1]["page_last"]), (0, 2))
        lines = self.assert_done("log", path).stdout.splitlines()
        for word, version in (("creat", versions[0]), ("mode", mode), ("cut", cut),
                              ("own|uid", owner), ("time", times)):
            (line,) = [line for line in lines if re.search(rf"\b{version['lsn']}\b", line)]
            self.assertRegex(line, word)

    def test_a_path_of_the_past_and_a_renamed_file(self):
        m = self.mount_new()
        write_file(m.head / "a", b"one")
        n = m.latest()
        os.rename(m.head / "a", m.head / "b")
        write_file(m.head / "b", b"two")
        of_head = [v["lsn"] for v in self.versions(m.head / "b")]
        of_past = [v["lsn"] for v in self.versions(m.at(n) / "a")]
        self.assertEqual(of_head, of_past)
        self.assertLess(of_head[0], n + 1)

    def test_a_removed_file_by_its_past(self):
        m = self.mount_new()
        write_file(m.head / "a", b"one")
        n = m.latest()
        os.unlink(m.head / "a")
        gone = m.latest()
        versions = self.versions(m.at(n) / "a")
        self.assertEqual(versions[-1]["lsn"], gone)
        self.assertTrue(versions[-1]["deleted"])

    def test_a_directory_has_versions_too(self):
        m = self.mount_new()
        os.mkdir(m.head / "d")
        write_file(m.head / "d" / "a", b"")
        self.assertGreaterEqual(len(self.versions(m.head / "d")), 2)

    def test_what_has_no_log(self):
        m = self.mount_new()
        folder = self.folder_new()
        write_file(folder / "plain", b"x")
        self.assert_fails(1, r"mount", "log", folder / "plain")
        self.assert_fails(1, r"No such|no such|not there", "log", m.head / "missing")
        self.assert_fails(1, r"rel", "log", m.lsn)


def time_of(text):
    """Seconds since the epoch of an RFC 3339 time."""
    return float(subprocess.run(["date", "-d", text, "+%s"], check=True, capture_output=True).stdout)


if __name__ == "__main__":
    harness.main()
