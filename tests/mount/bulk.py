#!/usr/bin/python3
"""Much at once: ten thousand small files by tar, and a gigabyte by cp; the past of both is
compared, byte by byte, with copies kept outside."""
import os
import shutil
import subprocess

import harness
from harness import run

FILES = harness.by_size(2000, 10_000)
BIG_MIB = harness.by_size(64, 1024)


class Tar(harness.ServerCase):
    def make_outside(self, random, folder):
        """A tree of small files, as a source tree has them."""
        for i in range(FILES):
            path = folder / f"d{i % 10}" / f"e{i % 97}" / f"file-{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.randbytes(random.choice((0, 10, 500, 3000, 9000))))
        os.symlink("d1", folder / "link")

    def test_ten_thousand_small_files(self):
        random = harness.seeded_random()
        m = self.mount_new()
        outside = m.folder / "outside"
        outside.mkdir()
        self.make_outside(random, outside)
        run("tar", "-C", outside, "-cf", m.folder / "all.tar", ".")
        run("tar", "-C", m.head, "-xf", m.folder / "all.tar", timeout=600)
        unpacked = m.latest()
        self.assertEqual(run("diff", "-r", outside, m.head, timeout=600), "")

        for i in range(FILES):
            path = m.head / f"d{i % 10}" / f"e{i % 97}" / f"file-{i}"
            if i % 2:
                os.unlink(path)
            elif i % 4:
                os.rename(path, path.with_name(f"renamed-{i}"))
            else:
                path.write_bytes(b"rewritten %d" % i)
        os.rename(m.head / "d0", m.head / "moved")
        shutil.copytree(m.head, m.folder / "after", symlinks=True)
        changed = m.latest()
        run("rm", "-rf", m.head / "moved", m.head / "d1")

        differing = subprocess.run(["diff", "-rq", outside, m.at(changed)], check=False,
                                   capture_output=True, text=True, timeout=600)
        self.assertEqual(differing.returncode, 1)
        for when in ("as written", "after a remount", "after a kill"):
            with self.subTest(when=when):
                self.assertEqual(run("diff", "-r", outside, m.at(unpacked), timeout=600), "")
                self.assertEqual(run("diff", "-r", m.folder / "after", m.at(changed),
                                     timeout=600), "")
            if when == "as written":
                m.remount()
            elif when == "after a remount":
                m.kill()
                m.mount()


class Big(harness.ServerCase):
    def test_a_big_file_overwritten(self):
        m = self.mount_new()
        one, two = m.folder / "one", m.folder / "two"
        for path in (one, two):
            run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={BIG_MIB}", timeout=600)
        run("cp", one, m.head / "big", timeout=600)
        first = m.latest()
        run("dd", f"if={two}", f"of={m.head / 'big'}", "bs=1M", "conv=notrunc", timeout=600)
        second = m.latest()
        for when in ("as written", "after a remount"):
            with self.subTest(when=when):
                run("cmp", one, m.at(first) / "big", timeout=600)
                run("cmp", two, m.at(second) / "big", timeout=600)
                run("cmp", two, m.head / "big", timeout=600)
            m.remount()


if __name__ == "__main__":
    harness.main()
