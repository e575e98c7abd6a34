#!/usr/bin/python3
"""A virtual machine's disk: an image file on the mount, with ext4 in it, mounted by a loop device.

Four writers (ledger.py) put files there as careful programs do: written under another name, synced,
renamed, the directory synced. Files that nobody syncs come, change and go meanwhile. The daemon is
killed under them, which to the ext4 is a disk that fails. So, like after a power cut of the machine:
(1) after the remount the journal is replayed, e2fsck then finds nothing, and every file that was
    acknowledged is there;
(2) the image as of any LSN, copied out, is such a disk too: it has every file that was acknowledged by
    then, none that had not begun, and none that is not whole.
"""
import os
import random as randoms
import shutil
import signal
import stat
import subprocess
import time

from programs import harness
import ledger
import programs

ROUNDS = harness.by_size(1, 2, 6)
LOAD_S = harness.by_size(1.5, 3, 15)
PAST_PER_ROUND = harness.by_size(3, 6, 20)
IMAGE_BYTES = harness.by_size(256, 256, 1024) << 20
WRITERS = 4
SIZES = (10, 3000, 4096, 20_000, 60_000)
SCRATCH_FILES = 8
LOOP_MAJOR = 7
LOOP_CONTROL = "/dev/loop-control"
LOOP_CONTROL_DEVICE = os.makedev(10, 237)
harness.DEADLINE_S = harness.by_size(900, 900, 3600)


def content(name, number):
    random = randoms.Random(f"{name} {number}")
    return random.randbytes(random.choice(SIZES))


def scratch(folder, random):
    """A change to a file that nobody will ask for."""
    path = folder / f"scratch{random.randrange(SCRATCH_FILES)}"
    what = random.choice(("write", "write", "truncate", "unlink"))
    if what == "unlink" or not path.exists():
        path.unlink(missing_ok=True)
        path.write_bytes(b"")
    elif what == "truncate":
        os.truncate(path, random.randrange(200_000))
    else:
        with open(path, "r+b") as file:
            file.seek(random.randrange(200_000))
            file.write(random.randbytes(random.randrange(60_000)))


def writer_life(log, folder, name, random):
    (folder / name).mkdir()
    directory = os.open(folder / name, os.O_RDONLY)
    while True:
        number = log.begin()
        with open(folder / name / "next", "wb") as file:
            file.write(content(name, number))
            file.flush()
            os.fsync(file.fileno())
        os.rename(folder / name / "next", folder / name / str(number))
        os.fsync(directory)
        log.done()
        for _ in range(random.randrange(4)):
            scratch(folder / name, random)


def loops_or_skip():
    """A container may lack the nodes of loop devices, which can be made, or the right to use them."""
    try:
        if not os.path.exists(LOOP_CONTROL):
            os.mknod(LOOP_CONTROL, stat.S_IFCHR | 0o600, LOOP_CONTROL_DEVICE)
        os.close(os.open(LOOP_CONTROL, os.O_RDWR))
    except OSError as error:
        programs.skip(f"there are no loop devices to be had ({error})")


def loop_mount(image, folder):
    """Mount @image; the loop device goes with the unmount."""
    folder.mkdir(exist_ok=True)
    for _ in range(20):
        device = harness.run("losetup", "--find").strip()
        if not os.path.exists(device):
            os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(LOOP_MAJOR, int(device.removeprefix("/dev/loop"))))
        done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.1)         # another took it first
    raise AssertionError(f"mount -o loop: {done.stderr}")


class VmImage(harness.ServerCase):
    def setUp(self):
        harness.own_mount_namespace()       # a mounted image goes with this process
        self.random = harness.seeded_random()
        self.m = self.mount_new()
        self.image = self.m.head / "disk.img"
        self.guest = self.m.folder / "guest"
        self.writers = []
        self.addCleanup(self.guest_umount)

    def guest_umount(self):
        if harness.is_mounted(self.guest):
            harness.run("umount", self.guest)

    def assert_files(self, folder, lsn=None):
        rows = []
        for name in set(os.listdir(folder)) - {"lost+found"}:
            for number in filter(str.isdigit, os.listdir(folder / name)):
                whole = (folder / name / number).read_bytes() == content(name, int(number))
                self.assertTrue(whole, f"{name}/{number} as of LSN {lsn}")
                rows.append((name, int(number)))
        self.assertEqual(ledger.faults(self.writers, rows, lsn), [], f"as of LSN {lsn}")

    def assert_disk(self, image, lsn=None):
        """The kernel replays the journal of @image; then files and structure are right."""
        folder = self.m.folder / "replayed"
        loop_mount(image, folder)
        try:
            self.assert_files(folder, lsn)
        finally:
            harness.run("umount", folder)
        harness.run("e2fsck", "-fn", image)

    def assert_past(self, lsn):
        copy = self.m.folder / "copy.img"
        harness.run("cp", "--sparse=always", self.m.at(lsn) / "disk.img", copy)
        self.assert_disk(copy, lsn)
        copy.unlink()

    def load(self, round_number):
        """Writers on an empty disk, and in the midst of it the end of the daemon, so of their disk. The LSN it
        began at."""
        loop_mount(self.image, self.guest)
        for writer in self.writers:
            shutil.rmtree(self.guest / writer.name)
        harness.run("sync", "-f", self.guest)
        since = self.m.latest()
        writers = []
        for i in range(WRITERS):
            name, dice = f"r{round_number}w{i}", randoms.Random(self.random.random())
            writers.append(ledger.Client(self.m, name, lambda log: writer_life(log, self.guest, name, dice)))
        time.sleep(LOAD_S * self.random.uniform(0.7, 1.3))
        for writer in writers:
            writer.assert_alive()
        (daemon,) = self.m.servers()
        killed_at = time.monotonic()
        os.kill(daemon, signal.SIGKILL)
        for writer in writers:
            writer.gather(killed_at)
        self.writers = writers
        self.guest_umount()
        self.m.kill()
        return since

    def test_no_synced_file_is_lost_and_any_lsn_is_a_disk(self):
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        harness.run("mkfs.ext4", "-q", "-F", self.image)
        for round_number in range(ROUNDS):
            since = self.load(round_number)
            last = ledger.newest(self.writers)
            self.m.mount()
            self.assert_disk(self.image)
            for lsn in sorted(self.random.sample(range(since, last + 1), PAST_PER_ROUND)):
                self.assert_past(lsn)
            print(f"round {round_number}: {sum(len(writer.done) for writer in self.writers)} files synced, "
                  f"{last - since} bytes of history, {PAST_PER_ROUND} disks of the past", flush=True)
        self.m.umount()
        self.m.assert_clean()


if __name__ == "__main__":
    for name in ("mkfs.ext4", "e2fsck"):
        programs.program(name, "e2fsprogs")
    loops_or_skip()
    harness.main()
