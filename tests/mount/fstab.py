#!/usr/bin/python3
"""An install, and what mount(8), /etc/fstab and an ordinary user do with it.

All of it runs in a mount namespace of its own, where the installed files lie over /usr and a file of
the test is /etc/fstab and /etc/fuse.conf: the machine's are not touched."""
import errno
import os
import pathlib
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile

import harness
from harness import read_file, wait_for, write_file

USER = pwd.getpwnam("nobody").pw_uid
END_S = 10
ETC = ("fstab", "fuse.conf")

installed = None


def setUpModule():
    """Install the build, and lay it over this process's own view of the machine."""
    global installed
    harness.own_mount_namespace()
    installed = pathlib.Path(tempfile.mkdtemp(prefix="varve-test-install-"))
    installed.chmod(0o755)
    # This process's own, so it goes with it however it ends.
    harness.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", installed)
    harness.run("cmake", "--install", harness.BUILD, "--prefix", "/usr",
                env={**os.environ, "DESTDIR": str(installed)})
    for folder in ("bin", "sbin"):
        harness.run("mount", "-t", "overlay", "-o",
                    f"lowerdir={installed}/usr/{folder}:/usr/{folder}", "overlay", f"/usr/{folder}")
    for name in ETC:
        write_file(installed / name, b"")
        if not os.path.exists(f"/etc/{name}"):
            raise AssertionError(f"there is no /etc/{name} to lie over")
        harness.run("mount", "--bind", installed / name, f"/etc/{name}")
    # Open to all users, as udev has it.
    os.mknod(installed / "fuse", stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
    os.chmod(installed / "fuse", 0o666)
    harness.run("mount", "--bind", installed / "fuse", "/dev/fuse")


def tearDownModule():
    for place in [f"/etc/{name}" for name in ETC] + ["/dev/fuse", "/usr/bin", "/usr/sbin", str(installed)]:
        subprocess.run(["umount", "-l", place], check=False)
    installed.rmdir()


def as_user(*words):
    """Run a command as an ordinary user; the finished process."""
    return subprocess.run(list(map(str, words)), user=USER, group=USER, extra_groups=[],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                          check=False, cwd="/")


class InstalledCase(harness.ServerCase):
    def new(self, user=False):
        """A store and a mount point; with @user they are the ordinary user's."""
        m = self.mount_new(mounted=False)
        if user:
            shutil.rmtree(m.store)
            m.folder.chmod(0o755)
            for path in (m.folder, m.point):
                os.chown(path, USER, USER)
            self.assert_done(as_user("varve", "mkfs", m.store))
        return m

    def fstab(self, *lines):
        write_file("/etc/fstab", "".join(line + "\n" for line in lines).encode())
        self.addCleanup(write_file, "/etc/fstab", b"")

    def assert_done(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def assert_ends(self, m):
        wait_for("the server ends", lambda: not m.servers(), timeout=END_S)

    def said(self, *words):
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False)


class Install(InstalledCase):
    def test_the_files_there_are(self):
        found = {str(path.relative_to(installed)) for path in (installed / "usr").rglob("*")
                 if not path.is_dir()}
        self.assertEqual(found, {
            "usr/bin/varve", "usr/sbin/mount.varve", "usr/sbin/mount.fuse.varve",
            "usr/share/man/man8/varve.8", "usr/share/man/man8/mount.varve.8",
            "usr/lib/systemd/system/varve@.service", "usr/share/doc/varve/README.md"})

    def test_the_readme_has_them_all(self):
        readme = (harness.TOP / "README.md").read_text("utf-8")
        for name in ("bin/varve", "sbin/mount.varve", "mount.fuse.varve", "varve@.service", "varve(8)",
                     "mount.varve(8)"):
            self.assertIn(name, readme)

    def test_the_program_runs_from_there(self):
        self.assertEqual(shutil.which("varve"), "/usr/bin/varve")
        self.assertEqual(harness.run("varve", "--version"), harness.run(harness.VARVE, "--version"))

    def test_any_other_prefix(self):
        """mount.varve finds the program that was installed beside it."""
        folder = self.folder_new()
        harness.run("cmake", "--install", harness.BUILD, "--prefix", folder / "opt")
        m = self.new()
        done = self.said(folder / "opt/sbin/mount.varve", m.store, m.point, "-v", "-f", "-o", "ro")
        self.assert_done(done)
        self.assertIn(f"{folder}/opt/sbin/../bin/varve mount", done.stdout)
        self.assertTrue((folder / "opt/sbin/mount.fuse.varve").resolve().samefile(
            folder / "opt/sbin/mount.varve"))

    def test_the_man_pages_are_well_formed_and_name_every_command_and_option(self):
        if not shutil.which("groff"):
            self.skipTest("there is no groff")
        text, count = {}, 0
        for name in ("varve", "mount.varve"):
            page = installed / f"usr/share/man/man8/{name}.8"
            done = self.said("groff", "-mdoc", "-Tascii", "-P-cbou", "-ww", page)
            self.assert_done(done)
            text[name] = done.stdout
        for line in harness.run("varve", "help").splitlines():
            if line.startswith("  "):
                self.assertIn(f"varve {line.split()[0]}", text["varve"])
        for line in harness.run("varve", "help", "mount").splitlines():
            if line.startswith("  ") and line[2].islower() and "  " in line.strip():
                for word in line.strip().split("  ")[0].split(", "):
                    self.assertIn(word.split("=")[0], text["mount.varve"])
                    count += 1
        self.assertGreater(count, 12)


class Mount8(InstalledCase):
    def test_mount_by_type_and_umount(self):
        m = self.new()
        self.assert_done(self.said("mount", "-t", "varve", m.store, m.point, "-o", "noexec,nofail"))
        write_file(m.head / "file", b"x")
        entry = harness.mount_entry(m.point)
        self.assertEqual((entry["type"], entry["source"]), ("fuse.varve", str(m.store)))
        self.assertIn("noexec", entry["options"])
        self.assert_done(self.said("umount", m.point))
        self.assert_ends(m)

    def test_read_only_and_one_lsn(self):
        m = self.new()
        harness.run("mount", "-t", "varve", m.store, m.point)
        write_file(m.head / "file", b"before")
        lsn = m.latest()
        write_file(m.head / "file", b"after")
        harness.run("umount", m.point)
        self.assert_done(self.said("mount", "-t", "varve", "-o", f"ro,lsn={lsn}", m.store, m.point))
        self.assertEqual(read_file(m.point / "file"), b"before")
        harness.run("umount", m.point)
        self.assert_done(self.said("mount", "-r", "-t", "varve", m.store, m.point))
        with self.assertRaises(OSError) as caught:
            write_file(m.head / "file", b"x")
        self.assertEqual(caught.exception.errno, errno.EROFS)

    def test_remount(self):
        m = self.new()
        self.fstab(f"{m.store} {m.point} varve noauto,memory=200M 0 0")
        harness.run("mount", m.point)
        write_file(m.head / "file", b"x")
        self.assert_done(self.said("mount", "-o", "remount,ro", m.point))
        with self.assertRaises(OSError):
            write_file(m.head / "file", b"y")
        self.assert_done(self.said("mount", "-o", "remount,rw", m.point))
        write_file(m.head / "file", b"y")

    def test_the_letters_that_mount_8_hands_on(self):
        m = self.new()
        self.assert_done(self.said("mount", "-f", "-t", "varve", m.store, m.point))
        self.assertFalse(harness.is_mounted(m.point))
        done = self.said("mount", "-s", "-t", "varve", "-o", "no_such", m.store, m.point)
        self.assert_done(done)
        harness.run("umount", m.point)
        done = self.said("mount", "-n", "-v", "-t", "varve", m.store, m.point)
        self.assert_done(done)
        self.assertIn("varve mount", done.stdout)
        harness.run("umount", m.point)
        self.assertEqual(self.said("mount", "-t", "varve", "-o", "no_such", m.store, m.point).returncode, 2)
        self.assertEqual(self.said("mount.varve", m.store).returncode, 2)
        self.assertEqual(self.said("mount.varve", m.store, m.point, "-t", "ext4").returncode, 2)
        self.assertFalse(harness.is_mounted(m.point))


class Fstab(InstalledCase):
    def test_mount_by_mount_point_and_all(self):
        one, two, three = self.new(), self.new(), self.new()
        self.fstab(f"{one.store} {one.point} varve _netdev,nofail,x-systemd.requires=/,age=600 0 0",
                   f"{two.store} {two.point} fuse.varve defaults,comment=mine 0 0",
                   f"{three.store} {three.point} varve noauto 0 0")
        self.assert_done(self.said("mount", one.point))
        write_file(one.head / "file", b"x")
        self.assert_done(self.said("mount", "-a"))
        self.assertEqual([harness.is_mounted(m.point) for m in (one, two, three)], [True, True, False])
        self.assert_done(self.said("mount", "-a"))
        self.assertEqual([len(m.servers()) for m in (one, two, three)], [1, 1, 0])
        self.assert_done(self.said("umount", "-a", "-t", "fuse.varve"))
        for m in (one, two):
            self.assertFalse(harness.is_mounted(m.point))
            self.assert_ends(m)

    def test_names_with_spaces(self):
        m = self.new()
        m.store.rename(m.folder / "a store")
        m.point.rename(m.folder / "a mount")
        m.store, m.point = m.folder / "a store", m.folder / "a mount"
        escaped = str(m.folder / "a").replace(" ", "\\040") + "\\040"
        self.fstab(f"{escaped}store {escaped}mount varve defaults 0 0")
        self.assert_done(self.said("mount", m.point))
        write_file(m.head / "file", b"x")
        self.assert_done(self.said("umount", m.point))

    def test_umount_and_mount_again_and_again(self):
        m = self.new()
        self.fstab(f"{m.store} {m.point} varve defaults 0 0")
        for i in range(harness.by_size(3, 10)):
            self.assert_done(self.said("mount", m.point))
            write_file(m.head / f"file{i}", harness.pattern(1_000_000, i))
            self.assert_done(self.said("umount", m.point))

    def test_user_lets_an_ordinary_user_mount(self):
        m = self.new(user=True)
        self.fstab(f"{m.store} {m.point} varve noauto,user 0 0")
        self.assert_done(as_user("mount", m.point))
        entry = harness.mount_entry(m.point)
        self.assertTrue({f"user_id={USER}", "nosuid", "nodev", "noexec"} <= set(entry["options"]), entry)
        self.assert_done(as_user("sh", "-c", f"echo mine > {m.head}/file"))
        self.assert_done(as_user("umount", m.point))
        self.assert_ends(m)

    def test_an_ordinary_user_gets_there_by_his_own_rights_alone(self):
        """mount(8) gives its own up before it calls the helper, with `user` and without."""
        m = self.new()
        m.folder.chmod(0o755)
        os.chown(m.point, USER, USER)
        for options in ("noauto", "noauto,user"):
            self.fstab(f"{m.store} {m.point} varve {options} 0 0")
            self.assertNotEqual(as_user("mount", m.point).returncode, 0)
            self.assertFalse(harness.is_mounted(m.point))


class OrdinaryUser(InstalledCase):
    def mounted(self, *options):
        m = self.new(user=True)
        words = ["-o", ",".join(options)] if options else []
        self.assert_done(as_user("varve", "mount", m.store, m.point, *words))
        return m

    def test_mounts_and_uses_it(self):
        m = self.mounted()
        script = (f"echo one > {m.head}/file; n=$(readlink {m.lsn}/latest); echo two > {m.head}/file;"
                  f"cat {m.lsn}/$n/rel/file {m.head}/file; varve info {m.point} > /dev/null")
        done = as_user("sh", "-ec", script)
        self.assert_done(done)
        self.assertEqual(done.stdout, "one\ntwo\n")
        self.assertEqual(pathlib.Path(f"/proc/{m.servers()[0]}").stat().st_uid, USER)

    def test_keeps_all_others_out_root_too(self):
        m = self.mounted()
        with self.assertRaises(OSError) as caught:
            os.listdir(m.head)
        self.assertEqual(caught.exception.errno, errno.EACCES)

    def test_unmounts_by_either_command(self):
        for command in (("fusermount3", "-u"), ("varve", "umount")):
            m = self.mounted()
            self.assert_done(as_user("sh", "-c", f"echo kept > {m.head}/file"))
            self.assert_done(as_user(*command, m.point))
            self.assertFalse(harness.is_mounted(m.point))
            self.assert_ends(m)
            m.mount()
            self.assertEqual(read_file(m.head / "file"), b"kept\n")

    def test_root_unmounts_it_and_waits_for_its_end(self):
        m = self.mounted()
        self.assert_done(self.said("varve", "umount", m.point))
        self.assertEqual(m.servers(), [])

    def test_another_user_may_not(self):
        m = self.mounted()
        done = subprocess.run(["varve", "umount", m.point], user=12345, group=12345, extra_groups=[],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(harness.is_mounted(m.point))

    def test_a_dead_mount_is_cleared(self):
        m = self.mounted()
        os.kill(m.servers()[0], signal.SIGKILL)
        wait_for("the killed server is gone", lambda: not m.servers())
        self.assert_done(as_user("varve", "umount", m.point))
        self.assertFalse(harness.is_mounted(m.point))

    def test_allow_other_wants_a_line_in_fuse_conf(self):
        m = self.new(user=True)
        done = as_user("varve", "mount", m.store, m.point, "-o", "allow_other")
        self.assertEqual(done.returncode, 1)
        self.assertIn("user_allow_other", done.stderr)
        self.assertIn("/etc/fuse.conf", done.stderr)
        self.assertFalse(harness.is_mounted(m.point))
        write_file("/etc/fuse.conf", b"# one\nuser_allow_other\n")
        self.addCleanup(write_file, "/etc/fuse.conf", b"")
        self.assert_done(as_user("varve", "mount", m.store, m.point, "-o", "allow_other"))
        self.assertEqual(os.listdir(m.head), [])

    def test_a_device_that_is_closed_to_users(self):
        m = self.new(user=True)
        self.addCleanup(os.chmod, installed / "fuse", 0o666)
        os.chmod(installed / "fuse", 0o600)
        done = as_user("varve", "mount", m.store, m.point)
        self.assertEqual(done.returncode, 1)
        self.assertIn("chmod 666 /dev/fuse", done.stderr)

    def test_one_lsn(self):
        m = self.mounted()
        lsn = int(as_user("sh", "-c", f"echo x > {m.head}/file; readlink {m.lsn}/latest").stdout)
        self.assert_done(as_user("varve", "umount", m.point))
        self.assert_done(as_user("varve", "mount", m.store, m.point, "-o", f"lsn={lsn}"))
        self.assertEqual(as_user("cat", m.point / "file").stdout, "x\n")

    def test_a_remount_takes_root(self):
        m = self.mounted()
        done = as_user("varve", "mount", m.store, m.point, "-o", "remount,ro")
        self.assertEqual(done.returncode, 1)
        self.assertIn("it takes root", done.stderr)


class Unit(InstalledCase):
    """The unit's commands, as systemd runs them; and the unit by systemd's own check, if it is here."""

    def commands(self, m, options="memory=200M"):
        """Of the unit: the words of each setting that starts with Exec."""
        values = {"${STORE}": str(m.store), "${MOUNTPOINT}": str(m.point), "${OPTIONS}": options}
        found = {}
        for line in (installed / "usr/lib/systemd/system/varve@.service").read_text("utf-8").splitlines():
            if line.startswith("Exec"):
                name, command = line.split("=", 1)
                found[name] = [values.get(word, word) for word in command.lstrip("-").split()]
        self.assertEqual(set(found), {"ExecStart", "ExecStop", "ExecStopPost"})
        return found

    def test_start_and_stop(self):
        m = self.new()
        unit = self.commands(m)
        self.assert_done(self.said(*unit["ExecStart"]))
        write_file(m.head / "file", b"x")
        self.assertEqual(len(m.servers()), 1)
        self.assert_done(self.said(*unit["ExecStop"]))
        self.assertEqual(m.servers(), [])
        # Nothing is left to be cleared: the dash before it takes that.
        self.assertEqual(self.said(*unit["ExecStopPost"]).returncode, 1)

    def test_a_killed_server_is_started_again(self):
        m = self.new()
        unit = self.commands(m)
        self.assert_done(self.said(*unit["ExecStart"]))
        write_file(m.head / "file", b"kept")
        with open(m.head / "file", "rb"):       # somebody uses the mount
            os.kill(m.servers()[0], signal.SIGKILL)
            wait_for("the killed server is gone", lambda: not m.servers())
            self.assert_done(self.said(*unit["ExecStopPost"]))
            self.assert_done(self.said(*unit["ExecStart"]))
            self.assertEqual(read_file(m.head / "file"), b"kept")

    def test_no_options(self):
        m = self.new()
        self.assert_done(self.said(*self.commands(m, options="")["ExecStart"]))

    def test_systemd_finds_nothing_wrong(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("there is no systemd-analyze")
        done = self.said("systemd-analyze", "verify", "--man=no",
                         installed / "usr/lib/systemd/system/varve@.service")
        self.assertEqual((done.returncode, [line for line in done.stderr.splitlines() if "varve" in line]),
                         (0, []), done.stderr)


if __name__ == "__main__":
    harness.main()
