#!/usr/bin/python3
"""tools/start: mounts, shows a past LSN by commands that work as printed, can be repeated,
and clears what a dead server left."""
import os
import pwd
import shutil
import signal
import subprocess

import harness

START = harness.TOP / "tools" / "start"


class Start(harness.ServerCase):
    def start(self, *words, **environment):
        return subprocess.run([START, *words], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=300,
                              env={**os.environ, "VARVE_BUILD": str(harness.BUILD), **environment})

    def unmounted(self):
        """A Mount whose store is yet to be made, by tools/start."""
        m = self.mount_new(mounted=False)
        shutil.rmtree(m.store)
        m.point.rmdir()
        return m

    def assert_shows_the_past(self, done):
        commands = [line[2:] for line in done.stdout.splitlines() if line.startswith("  ")]
        self.assertEqual(len(commands), 3, done.stdout)
        shown = subprocess.run(["bash", "-e"], input="\n".join(commands), capture_output=True,
                               text=True, timeout=30, check=False)
        self.assertEqual((shown.returncode, shown.stdout, shown.stderr), (0, "one\n", ""))

    def test_from_nothing_and_again(self):
        m = self.unmounted()
        first = self.start(m.store, m.point)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assert_shows_the_past(first)
        harness.write_file(m.head / "mine", b"kept")
        (server,) = m.servers()
        again = self.start(m.store, m.point)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("already mounted", again.stdout)
        self.assert_shows_the_past(again)
        self.assertEqual(m.servers(), [server])
        m.umount()
        third = self.start(m.store, m.point)
        self.assertEqual(third.returncode, 0, third.stderr)
        self.assertEqual(harness.read_file(m.head / "mine"), b"kept")
        self.assert_shows_the_past(third)

    def test_a_dead_mount_is_cleared(self):
        m = self.unmounted()
        self.assertEqual(self.start(m.store, m.point).returncode, 0)
        harness.run("stat", m.point)        # the kernel keeps what it was told
        for pid in m.servers():
            os.kill(pid, signal.SIGKILL)
        harness.wait_for("the killed server is gone", lambda: not m.servers())
        self.assertTrue(harness.is_mounted(m.point))
        done = self.start(m.store, m.point)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_shows_the_past(done)

    def test_paths_with_spaces(self):
        m = self.unmounted()
        m.store, m.point = m.folder / "a store", m.folder / "a mount"
        done = self.start(m.store, m.point)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_shows_the_past(done)

    def test_the_places_without_arguments_are_outside_of_the_clone(self):
        home = self.folder_new()
        done = self.start("--help", HOME=str(home), XDG_DATA_HOME="")
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"{home}/.local/share/varve/store", done.stdout)
        self.assertIn(f"{home}/mnt/varve", done.stdout)

    def test_it_starts_without_a_home(self):
        environment = {name: value for name, value in os.environ.items() if name != "HOME"}
        done = subprocess.run([START, "--help"], capture_output=True, text=True, check=False,
                              env=environment, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(pwd.getpwuid(os.getuid()).pw_dir, done.stdout)

    def test_what_is_in_the_way_is_told(self):
        m = self.unmounted()
        other = self.mount_new()
        done = self.start(m.store, other.point)
        self.assertEqual(done.returncode, 1)
        self.assertIn("name another mount point", done.stderr)
        m.store.mkdir()
        harness.write_file(m.store / "thesis", b"years of work")
        done = self.start(m.store, m.point)
        self.assertEqual(done.returncode, 1)
        self.assertIn("store", done.stderr)
        self.assertEqual(harness.read_file(m.store / "thesis"), b"years of work")
        self.assertEqual(self.start("--frob").returncode, 2)
        self.assertEqual(self.start("a", "b", "c").returncode, 2)


if __name__ == "__main__":
    harness.main()
