#!/usr/bin/python3
"""/.varve: the state of a store in files. Well formed, of the size that is told, of one moment, and in nobody's way."""
import errno
import json
import os
import re
import subprocess
import threading
import xml.dom.minidom

import harness
from harness import json_of, read_file, run, varve, wait_for, write_file

NAMES = ["layers.svg", "metrics", "stats", "window"]


def metrics_of(text):
    """{name: {labels: value}}, by the rules of Prometheus' text format 0.0.4."""
    kinds, helped, values = {}, set(), {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if match := re.fullmatch(r"# HELP ([a-z_:][a-z0-9_:]*) (\S.*)", line):
            assert match[1] not in helped, line
            helped.add(match[1])
        elif match := re.fullmatch(r"# TYPE ([a-z_:][a-z0-9_:]*) (gauge|counter)", line):
            assert match[1] in helped and match[1] not in kinds, line
            kinds[match[1]] = match[2]
        else:
            match = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="[^"\\]*",?)+\})? (\S+)', line)
            assert match and match[1] in kinds, line
            of_name = values.setdefault(match[1], {})
            assert match[2] not in of_name, line
            of_name[match[2]] = float(match[3])
            # Values of a name stand together, below its type.
            assert list(kinds)[-1] == match[1], line
    for name, kind in kinds.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert values[name], name
    return values


class StateFiles(harness.MountCase):
    options = ("layer=4M",)

    def setUp(self):
        super().setUp()
        self.own = self.m.point / ".varve"

    def test_they_are_found_by_name_and_not_met_on_a_walk(self):
        self.assertEqual(sorted(os.listdir(self.own)), NAMES)
        self.assertNotIn(".varve", os.listdir(self.m.point))
        found = run("find", self.m.point, "-name", ".varve", "-o", "-name", "metrics")
        self.assertEqual(found, "")
        names = run("tar", "-cf", self.m.folder / "t.tar", "-C", self.m.point, ".", "-v")
        self.assertNotIn(".varve", names)
        self.assertEqual(os.lstat(self.own).st_dev, os.lstat(self.m.point).st_dev)
        self.assertEqual(os.path.realpath(self.own / ".."), str(self.m.point))

    def test_sizes_are_right_so_that_any_tool_can_copy_them(self):
        for name in NAMES:
            with self.subTest(name=name):
                size = os.stat(self.own / name).st_size
                data = read_file(self.own / name)
                self.assertEqual(len(data), size)
                self.assertGreater(size, 50)
                run("cp", self.own / name, self.m.folder / name)
                self.assertGreater(os.stat(self.m.folder / name).st_size, 50)
        run("tar", "-cf", self.m.folder / "own.tar", "-C", self.own, ".")

    def test_an_open_file_does_not_change(self):
        for name in NAMES:
            with self.subTest(name=name), open(self.own / name, "rb", buffering=0) as file:
                first = file.read(100)
                for i in range(5):
                    write_file(self.dir / "a", b"x" * 10_000 * i)
                rest = b""
                while piece := file.read(333):
                    rest += piece
                self.assertEqual(os.pread(file.fileno(), 1 << 21, 0), first + rest)
                self.assertEqual(os.pread(file.fileno(), 10, 10_000_000), b"")

    def test_stats_are_what_info_prints(self):
        same = ("store", "id", "newest_lsn", "oldest_lsn", "page_size_bytes", "mountpoint", "pid",
                "mounted_at", "layers", "head", "window", "disk_bytes", "commit_count")

        def are_equal():
            stats = json.loads(read_file(self.own / "stats"))
            info = json_of(self, varve("info", "--json", self.m.point))
            self.assertEqual(list(stats), list(info))
            return {key: stats[key] for key in same} == {key: info[key] for key in same}
        write_file(self.dir / "a", os.urandom(200_000))
        # A merge may end between the two, and a file is as old as the last look at its size.
        wait_for("stats are what info prints", are_equal)

    def test_what_is_at_head_is_counted(self):
        before = json_of(self, varve("info", "--json", self.m.point))["head"]
        os.makedirs(self.dir / "d" / "e")
        for i in range(600):
            write_file(self.dir / "d" / f"f{i}", b"x" * i)
        os.link(self.dir / "d" / "f599", self.dir / "d" / "again")
        os.symlink("f1", self.dir / "link")

        def is_counted():
            head = json_of(self, varve("info", "--json", self.m.point))["head"]
            return (head["file_bytes"] - before["file_bytes"] == sum(range(600)) and
                    head["inode_count"] - before["inode_count"] == 2 + 600 + 1)
        # At once, or a moment later if counting took long.
        wait_for("the files are counted", is_counted)

    def test_amplification(self):
        m = harness.Mount(options=self.options)
        self.addCleanup(m.close)
        m.mount()
        write_file(m.head / "a", os.urandom(3_000_000))
        for i in range(4):
            write_file(m.head / "a", os.urandom(3_000_000), "r+b")
        varve("compact", m.point)
        told = json_of(self, varve("info", "--json", m.point))
        self.assertEqual(told["amplification"]["read_runs"], told["run_count"])
        self.assertLessEqual(told["run_count"], told["amplification"]["read_runs_limit"])
        self.assertEqual(told["amplification"]["read_patches_limit"], 64)
        self.assertLess(told["level_0_count"], told["level_0_free"])
        self.assertLess(told["level_0_free"], told["level_0_limit"])
        self.assertEqual(told["head"]["file_bytes"], 3_000_000)
        self.assertAlmostEqual(told["amplification"]["space"], told["disk_bytes"] / 3_000_000, 3)
        self.assertGreater(told["amplification"]["space"], 4)
        # Each byte is written to the log, and by the merge once more.
        self.assertGreater(told["amplification"]["write"], 1.5)
        self.assertLess(told["amplification"]["write"], 3)

    def test_metrics(self):
        before = metrics_of(read_file(self.own / "metrics").decode())
        write_file(self.dir / "a", os.urandom(200_000))
        wait_for("the change is counted", lambda: metrics_of(read_file(
            self.own / "metrics").decode())["varve_newest_lsn"][None] == self.m.latest())
        after = metrics_of(read_file(self.own / "metrics").decode())
        self.assertEqual(after["varve_oldest_lsn"][None], self.m.oldest())
        self.assertGreater(after["varve_changes_total"][None], before["varve_changes_total"][None])
        self.assertEqual(after["varve_layers"]['{kind="open"}'], 1)
        self.assertEqual(after["varve_patches_limit"][None], 64)
        self.assertLessEqual(after["varve_unmerged_runs"][None], after["varve_unmerged_runs_limit"][None])
        self.assertLess(after["varve_unmerged_runs_free"][None], after["varve_unmerged_runs_limit"][None])
        self.assertEqual(set(after["varve_layers"]), {
            f'{{kind="{kind}"}}' for kind in ("open", "sealed", "delta", "image", "lost")})
        self.assertEqual(after["varve_disk_bytes"][None], sum(after["varve_layer_bytes"].values()))
        (labels,) = after["varve_info"]
        stats = json.loads(read_file(self.own / "stats"))
        self.assertIn(f'id="{stats["id"]}"', labels)

    def test_the_picture_shows_every_layer(self):
        for _ in range(3):
            write_file(self.dir / "a", os.urandom(3_000_000))
        varve("compact", self.m.point)
        for _ in range(2):
            write_file(self.dir / "a", os.urandom(3_000_000))
        n = self.m.latest() - 100
        with open(self.past(n) / "a", "rb"):
            varve("window", self.m.point, "--bytes", "1M")
            write_file(self.dir / "b", os.urandom(2_000_000))
            wait_for("the pin is below the window", lambda: self.m.oldest() > n)
            # A merge may end between the two, and the picture is as old as the last look at its size.
            wait_for("the picture shows every layer", lambda: self.shows_all_of(
                json_of(self, varve("dump", "--json", self.m.point))["layers"]))
            titles = self.titles()
        self.assertTrue(any("the window ends at LSN" in title for title in titles))
        self.assertTrue(any(f"pinned: LSN {n}" in title for title in titles), titles)
        varve("window", self.m.point, "--bytes", "none")

    def titles(self):
        """Of the layers, pins and bounds in the picture."""
        picture = xml.dom.minidom.parseString(read_file(self.own / "layers.svg"))
        self.assertEqual(picture.documentElement.tagName, "svg")
        return [title.firstChild.data for title in picture.getElementsByTagName("title")]

    def shows_all_of(self, layers):
        titles = self.titles()
        return all(any(title.startswith(f"{layer['kind']} layer {layer['id']},") for title in titles)
                   for layer in layers)

    def test_the_owner_writes_the_window(self):
        window = self.own / "window"
        run("sh", "-c", 'echo "time=7d bytes=50G" > "$1"', "sh", window)
        self.assertEqual(read_file(window).splitlines()[0], b"time=1w bytes=50G")
        write_file(window, b"bytes=none\n")
        self.assertEqual(read_file(window).splitlines()[0], b"time=1w bytes=none")
        # What was read can be written.
        write_file(window, read_file(window))
        self.assertEqual(json_of(self, varve("window", "--json", self.m.point))["time_ns"],
                         7 * 86400 * 10**9)
        write_file(window, b"time=none")
        for wrong in (b"\n", b"time=", b"time=7", b"time=7y\n", b"bytes=1G everything=2", b"frob", b"\0",
                      b"time=1d bytes=x", b"#\n", b"x" * 5000):
            with self.subTest(wrong=wrong):
                self.assert_errno(errno.EINVAL, self.write_at_once, window, wrong)
        self.assertEqual(read_file(window).splitlines()[0], b"time=none bytes=none")
        self.assertIn(str(self.m.oldest()).encode(), read_file(window))

    @staticmethod
    def write_at_once(path, data):
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def test_nobody_else_writes_it_and_nothing_else_is_written(self):
        os.chmod(self.m.folder, 0o755)

        def as_another(call):
            pid = os.fork()
            if not pid:
                os.setuid(12345)
                try:
                    call()
                    os._exit(0)
                except OSError as error:
                    os._exit(error.errno)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertEqual(as_another(lambda: os.open(self.own / "window", os.O_WRONLY)), errno.EACCES)
        self.assertEqual(as_another(lambda: read_file(self.own / "window")), 0)
        for name in ("stats", "metrics", "layers.svg"):
            self.assert_errno(errno.EPERM, os.open, self.own / name, os.O_WRONLY)
            self.assert_errno(errno.EPERM, os.truncate, self.own / name, 0)
        self.assert_errno(errno.EPERM, os.open, self.own / "new", os.O_WRONLY | os.O_CREAT)
        self.assert_errno(errno.EPERM, os.mkdir, self.own / "new")
        for name in NAMES:
            self.assert_errno(errno.EPERM, os.unlink, self.own / name)
            self.assert_errno(errno.EPERM, os.chmod, self.own / name, 0o600)
            self.assert_errno(errno.EPERM, os.rename, self.own / name, self.dir / name)
        self.assert_errno(errno.ENOENT, os.stat, self.own / "nothing")
        self.assert_errno(errno.ENOTDIR, os.listdir, self.own / "stats")

    def test_many_readers_at_once_beside_writers(self):
        stop, failures = threading.Event(), []

        def read(name):
            while not stop.is_set():
                data = read_file(self.own / name)
                try:
                    if name == "stats":
                        json.loads(data)
                    elif name == "metrics":
                        metrics_of(data.decode())
                    elif name == "layers.svg":
                        xml.dom.minidom.parseString(data)
                except (ValueError, AssertionError) as error:
                    failures.append((name, error, data[-200:]))
        threads = [threading.Thread(target=read, args=(name,)) for name in NAMES * 2]
        for thread in threads:
            thread.start()
        for _ in range(harness.by_size(20, 60)):
            write_file(self.dir / "a", os.urandom(500_000))
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Permissions(harness.ServerCase):
    def test_a_tree_of_another_user_is_his_to_set(self):
        m = self.mount_new()
        os.chown(m.head, 12345, 12345)
        self.assertEqual(os.stat(m.point / ".varve" / "window").st_uid, 12345)
        os.chmod(m.folder, 0o755)
        done = subprocess.run(["setpriv", "--reuid=12345", "--clear-groups", "sh", "-c",
                               'echo bytes=3M > "$1"', "sh", m.point / ".varve" / "window"], check=False)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(json_of(self, varve("window", "--json", m.point))["bytes"], 3 << 20)


if __name__ == "__main__":
    harness.main()
