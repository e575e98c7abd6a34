#!/usr/bin/python3
"""Mount options: each does what people know it to do elsewhere, or is refused by name."""
import errno
import os
import pathlib
import shutil
import stat
import subprocess

import harness
from harness import read_file, varve, write_file

NOBODY = 65534


class OptionCase(harness.ServerCase):
    def mount_with(self, *options, m=None):
        m = m or self.mount_new(mounted=False)
        m.options = list(options)
        m.folder.chmod(0o755)
        return m.mount()

    def assert_refused(self, m, option, *wanted):
        """Called wrongly, by a message that names the option, and nothing is mounted."""
        done = varve("mount", m.store, m.point, "-o", option)
        self.assertEqual(done.returncode, 2, done.stderr)
        for word in (option, *wanted):
            self.assertIn(word, done.stderr)
        self.assertFalse(harness.is_mounted(m.point))

    def assert_errno(self, code, call, *args, **named):
        with self.assertRaises(OSError) as caught:
            call(*args, **named)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[code])


def as_user(call, uid=NOBODY):
    """What @call() returns when user @uid makes it, in a process of its own; an OSError is raised here."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            result = repr(call())
        except OSError as error:
            result = f"!{error.errno}"
        os.write(write_end, result.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    if result.startswith("!"):
        raise OSError(int(result[1:]), "as another user")
    return result


class Flags(OptionCase):
    def test_ro_takes_no_changes(self):
        m = self.mount_with("rw")
        write_file(m.head / "file", b"there")
        m.umount()
        self.mount_with("ro", m=m)
        self.assertEqual(read_file(m.head / "file"), b"there")
        for call in (lambda: write_file(m.head / "file", b"x"), lambda: (m.head / "new").mkdir(),
                     lambda: os.unlink(m.head / "file"), lambda: os.utime(m.head / "file")):
            self.assert_errno(errno.EROFS, call)
        self.assertIn("ro", harness.mount_entry(m.point)["options"])

    def test_of_two_that_contradict_the_later_holds(self):
        m = self.mount_with("ro", "rw")
        write_file(m.head / "file", b"x")
        m.umount()
        self.mount_with("rw", "ro", m=m)
        self.assert_errno(errno.EROFS, write_file, m.head / "file", b"x")

    def test_dev_and_nodev(self):
        m = self.mount_new()
        os.mknod(m.head / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for options, opens in (((), False), (("nodev",), False), (("dev",), True)):
            m.umount()
            self.mount_with(*options, m=m)
            if opens:
                write_file(m.head / "null", b"gone")
            else:
                self.assert_errno(errno.EACCES, write_file, m.head / "null", b"gone")

    def test_suid_and_nosuid(self):
        m = self.mount_new()
        shutil.copy("/usr/bin/id", m.head / "id")
        os.chmod(m.head / "id", 0o4755)
        for options, euid in (((), NOBODY), (("nosuid",), NOBODY), (("suid",), 0)):
            m.umount()
            self.mount_with(*options, m=m)
            said = harness.run(m.head / "id", "-u", user=NOBODY, group=NOBODY)
            self.assertEqual(int(said), euid, options)

    def test_exec_and_noexec(self):
        m = self.mount_new()
        shutil.copy("/usr/bin/true", m.head / "true")
        for options, runs in (((), True), (("exec",), True), (("noexec",), False)):
            m.umount()
            self.mount_with(*options, m=m)
            if runs:
                harness.run(m.head / "true")
            else:
                self.assert_errno(errno.EACCES, subprocess.run, [m.head / "true"], check=False)

    def test_no_read_moves_an_atime(self):
        """So noatime asks for what is anyway, and the others are taken and can't have it."""
        m = self.mount_new()
        write_file(m.head / "file", b"x")
        os.utime(m.head / "file", ns=(10**18, 2 * 10**18))
        for option in ("atime", "noatime", "relatime", "norelatime", "strictatime", "diratime",
                       "nodiratime", "lazytime"):
            m.umount()
            self.mount_with(option, m=m)
            read_file(m.head / "file")
            self.assertEqual(os.stat(m.head / "file").st_atime_ns, 10**18, option)
            self.assertEqual("noatime" in harness.mount_entry(m.point)["options"], option == "noatime")


class Names(OptionCase):
    def test_source_and_type(self):
        m = self.mount_new()
        entry = harness.mount_entry(m.point)
        self.assertEqual((entry["type"], entry["source"]), ("fuse.varve", str(m.store)))
        m.umount()
        self.mount_with("fsname=a name", "subtype=varve", m=m)
        entry = harness.mount_entry(m.point)
        self.assertEqual((entry["type"], entry["source"]), ("fuse.varve", "a\\040name"))
        m.umount()
        self.assertEqual(m.servers(), [])

    def test_another_subtype_is_refused(self):
        self.assert_refused(self.mount_new(mounted=False), "subtype=other", "fsname=")

    def test_what_concerns_mount_8_alone_is_passed_over(self):
        m = self.mount_with("defaults", "auto", "noauto", "nofail", "_netdev", "user", "user=ada",
                            "users", "nouser", "owner", "group", "x-systemd.automount",
                            "x-gvfs-show", "X-mount.mkdir", "comment=mine", "async", "loud")
        write_file(m.head / "file", b"x")
        self.assertNotIn("ada", str(harness.mount_entry(m.point)))

    def test_what_is_not_known_is_refused_unless_it_is_to_be_passed_over(self):
        m = self.mount_new(mounted=False)
        for option in ("no_such", "lsn", "uid", "memory", "rock", "sync"):
            self.assert_refused(m, option)
        self.assertEqual(varve("mount", "-o", "no_such,ro", "-s", m.store, m.point).returncode, 0)
        self.assertIn("ro", harness.mount_entry(m.point)["options"])

    def test_values_that_are_none(self):
        m = self.mount_new(mounted=False)
        for option in ("lsn=0", "lsn=-1", "lsn=latest", "lsn=4611686018427387904", "lsn=",
                       "uid=ada", "uid=4294967295", "uid=-1", "gid=", "umask=8", "umask=1000",
                       "umask=", "umask=-1", "memory=0", "age=0"):
            self.assert_refused(m, option)


class OneLsn(OptionCase):
    def past(self):
        """A store that is not mounted, with an LSN at which its tree was another."""
        m = self.mount_new()
        (m.head / "dir" / "sub").mkdir(parents=True)
        write_file(m.head / "dir" / "file", b"before")
        os.symlink("dir/file", m.head / "link")
        lsn = m.latest()
        write_file(m.head / "dir" / "file", b"after")
        (m.head / "later").mkdir()
        harness.run("cp", "-a", m.at(lsn), m.folder / "copy")
        m.umount()
        return m, lsn

    def test_its_tree_is_the_root(self):
        m, lsn = self.past()
        self.mount_with(f"lsn={lsn}", m=m)
        self.assertEqual(sorted(os.listdir(m.point)), ["dir", "link"])
        harness.run("diff", "-r", m.folder / "copy", m.point)
        self.assertEqual(read_file(m.point / "link"), b"before")
        self.assertIn("ro", harness.mount_entry(m.point)["options"])
        for call in (lambda: write_file(m.point / "dir" / "file", b"x"),
                     lambda: (m.point / "new").mkdir()):
            self.assert_errno(errno.EROFS, call)
        harness.run("tar", "-C", m.point, "-cf", m.folder / "tar", ".")
        harness.run("tar", "-C", m.folder / "copy", "--compare", "-f", m.folder / "tar")

    def test_numbers_are_those_that_stat_shows(self):
        m, lsn = self.past()
        self.mount_with(f"lsn={lsn}", m=m)
        for folder in (m.point, m.point / "dir", m.point / "dir" / "sub"):
            listed = harness.run("ls", "-ai1", folder).split()
            for number, name in zip(listed[::2], listed[1::2]):
                # What is above the mount point is another file system's.
                if folder != m.point or name != "..":
                    self.assertEqual(int(number), os.lstat(folder / name).st_ino, f"{folder}/{name}")

    def test_rw_as_mount_8_always_says_is_no_contradiction(self):
        m, lsn = self.past()
        self.mount_with("rw", f"lsn={lsn}", m=m)
        self.assert_errno(errno.EROFS, (m.point / "new").mkdir)

    def test_every_lsn_of_a_store_can_be_mounted_in_turn(self):
        m, lsn = self.past()
        for at in (lsn, lsn + 1, lsn - 1):
            self.mount_with(f"lsn={at}", m=m)
            self.assertEqual(os.path.lexists(m.point / "link"), at >= lsn)
            self.assertEqual(read_file(m.point / "dir" / "file"), b"before")
            m.umount()

    def test_commands_work_there(self):
        m, lsn = self.past()
        self.mount_with(f"lsn={lsn}", m=m)
        info = harness.json_of(self, varve("info", m.point, "--json"))
        self.assertTrue(info["read_only"])
        self.assertEqual(info["pin_count"], 1)
        self.assertEqual(varve("check", m.point).returncode, 0)
        self.assertIn("grew from 0 B", varve("log", m.point / "dir" / "file").stdout)
        self.assertEqual(os.getxattr(m.point / "dir", "varve.store"), os.fsencode(m.store))

    def test_it_changes_nothing_of_the_store(self):
        m, lsn = self.past()
        before = harness.store_bytes(m.store / "layers")
        self.mount_with(f"lsn={lsn}", m=m)
        read_file(m.point / "dir" / "file")
        m.umount()
        self.assertEqual(harness.store_bytes(m.store / "layers"), before)

    def test_an_lsn_that_is_not_there(self):
        m, lsn = self.past()
        for at in (1, lsn + 10**6):
            done = varve("mount", m.store, m.point, "-o", f"lsn={at}")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"has no LSN {at}", done.stderr)
            self.assertIn("can be read are LSNs", done.stderr)
            self.assertFalse(harness.is_mounted(m.point))

    def test_of_a_store_that_is_mounted_the_command_in_the_message_does_it(self):
        m, lsn = self.past()
        m.options = []
        m.mount()
        other = m.folder / "other place"
        other.mkdir()
        done = varve("mount", m.store, other, "-o", f"lsn={lsn}")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"mounted at {m.point} already", done.stderr)
        harness.run("sh", "-c", done.stderr.strip().split("as root: ")[1])
        self.addCleanup(subprocess.run, ["umount", "-l", other], check=False, stderr=subprocess.DEVNULL)
        harness.run("diff", "-r", m.folder / "copy", other)
        self.assert_errno(errno.EROFS, (other / "new").mkdir)
        write_file(m.head / "more", b"the head goes on")
        harness.run("umount", other)

    def test_a_store_whose_past_is_mounted_names_that_mount(self):
        m, lsn = self.past()
        self.mount_with(f"lsn={lsn}", m=m)
        other = m.folder / "other"
        other.mkdir()
        for options in ([], ["-o", f"lsn={lsn}"]):
            done = varve("mount", m.store, other, *options)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"LSN {lsn} mounted at {m.point}", done.stderr)


class Owner(OptionCase):
    """uid=, gid=, umask=: what every file shows, as for file systems without owners."""

    def test_every_file_shows_them(self):
        m = self.mount_new()
        for name, uid, mode in (("one", 1, 0o600), ("two", 2, 0o4777), ("three", 3, 0o000)):
            write_file(m.head / name, b"x")
            os.chown(m.head / name, uid, uid)
            os.chmod(m.head / name, mode)
        (m.head / "dir").mkdir(0o700)
        lsn = m.latest()
        m.umount()
        self.mount_with("uid=1234", "gid=5678", "umask=027", m=m)
        for root in (m.head, m.at(lsn)):
            for name in ("one", "two", "three", "dir", "."):
                shown = os.stat(root / name)
                self.assertEqual((shown.st_uid, shown.st_gid, stat.S_IMODE(shown.st_mode)),
                                 (1234, 5678, 0o750), f"{root}/{name}")
        self.assertEqual(os.stat(m.point / "head").st_mode & 0o777, 0o550)
        m.umount()
        self.mount_with(m=m)
        self.assertEqual([stat.S_IMODE(os.stat(m.head / name).st_mode) for name in ("one", "two", "three")],
                         [0o600, 0o4777, 0])
        self.assertEqual(os.stat(m.head / "two").st_uid, 2)

    def test_each_alone(self):
        m = self.mount_new()
        write_file(m.head / "file", b"x")
        os.chown(m.head / "file", 1, 2)
        os.chmod(m.head / "file", 0o640)
        for option, wanted in (("uid=77", (77, 2, 0o640)), ("gid=77", (1, 77, 0o640)),
                               ("umask=0", (1, 2, 0o777))):
            m.umount()
            self.mount_with(option, m=m)
            shown = os.stat(m.head / "file")
            self.assertEqual((shown.st_uid, shown.st_gid, stat.S_IMODE(shown.st_mode)), wanted)

    def test_the_kernel_goes_by_what_is_shown(self):
        m = self.mount_new()
        write_file(m.head / "file", b"of root")
        os.chmod(m.head / "file", 0o600)
        m.umount()
        self.mount_with(f"uid={NOBODY}", "umask=077", m=m)
        as_user(lambda: write_file(m.head / "file", b"of nobody"))
        as_user(lambda: write_file(m.head / "new", b"of nobody"))
        self.assert_errno(errno.EACCES, as_user, lambda: read_file(m.head / "file"), 12345)
        m.umount()
        self.mount_with(m=m)
        self.assertEqual(read_file(m.head / "file"), b"of nobody")
        # What is new belongs to who made it, also where it is shown otherwise.
        self.assertEqual((os.stat(m.head / "file").st_uid, os.stat(m.head / "new").st_uid), (0, NOBODY))

    def test_what_could_not_be_seen_is_refused_and_what_is_shown_already_is_done(self):
        m = self.mount_with("uid=1234", "gid=5678", "umask=022")
        write_file(m.head / "file", b"x")
        lsn = m.latest()
        self.assert_errno(errno.EPERM, os.chown, m.head / "file", 1, -1)
        self.assert_errno(errno.EPERM, os.chown, m.head / "file", -1, 1)
        self.assert_errno(errno.EPERM, os.chmod, m.head / "file", 0o644)
        os.chown(m.head / "file", 1234, 5678)
        os.chmod(m.head / "file", 0o755)
        self.assertEqual(m.latest(), lsn)
        os.utime(m.head / "file", (5, 5))
        self.assertEqual(os.stat(m.head / "file").st_mtime, 5)

    def test_one_alone_leaves_the_others_to_be_changed(self):
        m = self.mount_with("uid=1234")
        write_file(m.head / "file", b"x")
        os.chmod(m.head / "file", 0o604)
        os.chown(m.head / "file", -1, 9)
        shown = os.stat(m.head / "file")
        self.assertEqual((shown.st_uid, shown.st_gid, stat.S_IMODE(shown.st_mode)), (1234, 9, 0o604))

    def test_a_set_id_bit_does_not_pass_to_another_owner(self):
        m = self.mount_new()
        shutil.copy("/usr/bin/id", m.head / "id")
        os.chown(m.head / "id", 1, 1)
        os.chmod(m.head / "id", 0o6755)
        m.umount()
        self.mount_with("uid=0", "suid", m=m)
        self.assertEqual(stat.S_IMODE(os.stat(m.head / "id").st_mode), 0o755)
        self.assertEqual(int(harness.run(m.head / "id", "-u", user=NOBODY, group=NOBODY)), NOBODY)


class Remount(OptionCase):
    def remount(self, m, options):
        return varve("mount", "-o", f"remount,{options}", m.store, m.point)

    def test_flags_change_and_the_rest_stays(self):
        m = self.mount_with("noexec")
        with open(m.head / "file", "wb") as file:
            file.write(b"x")
        (server,) = m.servers()
        self.assertEqual(self.remount(m, "ro").returncode, 0)
        self.assert_errno(errno.EROFS, write_file, m.head / "file", b"y")
        entry = harness.mount_entry(m.point)["options"]
        self.assertTrue({"ro", "noexec", "nodev", "nosuid"} <= set(entry), entry)
        # What mount(8) adds from the table and fstab is no change of flags, and stays as it is.
        self.assertEqual(self.remount(m, "rw,exec,memory=1G,nofail").returncode, 0)
        write_file(m.head / "file", b"y")
        entry = harness.mount_entry(m.point)["options"]
        self.assertTrue({"rw", "nodev", "nosuid"} <= set(entry) and "noexec" not in entry, entry)
        self.assertEqual(m.servers(), [server])

    def test_not_while_a_file_is_open_for_writing(self):
        m = self.mount_new()
        with open(m.head / "file", "wb"):
            done = self.remount(m, "ro")
            self.assertEqual(done.returncode, 1)
            self.assertIn("busy", done.stderr)
            write_file(m.head / "other", b"x")

    def test_a_store_opened_for_reading_is_not_made_to_take_changes(self):
        m = self.mount_with("ro")
        done = self.remount(m, "rw")
        self.assertEqual(done.returncode, 1)
        self.assertIn("varve umount", done.stderr)
        self.assertIn("ro", harness.mount_entry(m.point)["options"])

    def test_nothing_is_mounted(self):
        m = self.mount_new(mounted=False)
        done = self.remount(m, "ro")
        self.assertEqual(done.returncode, 1)
        self.assertIn("mounted nothing", done.stderr)


class TwoAtOnce(OptionCase):
    def test_a_mount_right_after_umount_8_waits_for_the_server_to_end(self):
        m = self.mount_new()
        for i in range(harness.by_size(5, 20)):
            write_file(m.head / f"file{i}", harness.pattern(2_000_000, i))
            lsn = m.latest()
            harness.run("umount", m.point)
            self.mount_with(f"lsn={lsn}", m=m)
            harness.run("umount", m.point)
            self.mount_with(m=m)
        self.assertEqual(len(os.listdir(m.head)), i + 1)

    def test_a_server_that_goes_on_though_its_mount_is_gone_is_named(self):
        m = self.mount_new()
        with open(m.head / "file", "wb"):
            harness.run("umount", "-l", m.point)
            done = varve("mount", m.store, m.point, timeout=10)
            self.assertEqual(done.returncode, 1)
            self.assertIn("in use there, or mounted in another mount namespace", done.stderr)
            harness.run("sh", "-c", done.stderr.strip().split("end it: ")[1])
            harness.wait_for("the server ends", lambda: not m.servers())
        m.mount()

    def test_a_store_that_is_mounted_is_told_at_once(self):
        m = self.mount_new()
        other = pathlib.Path(m.folder, "other")
        other.mkdir()
        done = varve("mount", m.store, other, timeout=5)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"mounted at {m.point}", done.stderr)


if __name__ == "__main__":
    harness.main()
