#!/usr/bin/python3
"""The claims of this folder hold on ext4, which shows that they are right, and on a mount of
varve at /head/rel but for the differences that are argued in differences.varve."""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mount"))
import harness  # noqa: E402


class Claims(harness.ServerCase):
    def assert_hold(self, folder, *words):
        done = subprocess.run([sys.executable, "-B", str(HERE / "run.py"), str(folder), *map(str, words)],
                              capture_output=True, text=True, timeout=600, check=False)
        print(done.stdout.strip(), done.stderr.strip(), sep="\n", flush=True)
        self.assertEqual(done.returncode, 0, "see the lines above")


class Ext4(Claims):
    def test_every_claim_holds(self):
        self.assert_hold(harness.disk_new(self, "ext4", mib=512))


class Varve(Claims):
    def test_every_claim_holds_but_for_the_differences(self):
        m = self.mount_new()
        self.assert_hold(m.head, "--differences", HERE / "differences.varve")
        m.assert_clean()


if __name__ == "__main__":
    harness.main()
