#!/usr/bin/python3
"""The exercisers find nothing: on ext4, which shows that they are right themselves, and on a
mount of varve whose layers are small, so that history is sealed and merged meanwhile."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness  # noqa: E402
from harness import BUILD, by_size  # noqa: E402

FILE_OPS = by_size(12_000, 40_000, 1_000_000)
TREE_OPS = by_size(1_500, 4_000, 100_000)


class Exercises(harness.ServerCase):
    def exercise(self, program, folder, *words):
        os.mkdir(folder)
        done = subprocess.run([str(BUILD / "tests" / program), str(folder), *map(str, words)],
                              capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False)
        print(done.stdout.strip(), done.stderr.strip(), sep="\n", flush=True)
        self.assertEqual(done.returncode, 0, "see the lines above")


class Ext4(Exercises):
    def setUp(self):
        self.disk = harness.disk_new(self, "ext4", mib=512)     # blocks of 4 KiB

    def test_a_file_holds_what_was_written_to_it(self):
        self.exercise("exercise_file", self.disk / "dir", "--ops", FILE_OPS)

    def test_a_tree_is_what_several_processes_made_of_it(self):
        self.exercise("exercise_tree", self.disk / "dir", "--ops", TREE_OPS)


class Varve(Exercises):
    def setUp(self):
        self.m = self.mount_new(options=("layer=4M",))

    def test_a_file_holds_what_was_written_to_it_at_every_lsn(self):
        self.exercise("exercise_file", self.m.head / "dir", "--ops", FILE_OPS, "--mount", self.m.point)
        self.m.assert_clean()

    def test_a_tree_is_what_several_processes_made_of_it_at_every_lsn(self):
        self.exercise("exercise_tree", self.m.head / "dir", "--ops", TREE_OPS, "--mount", self.m.point)
        self.m.assert_clean()


if __name__ == "__main__":
    harness.main()
