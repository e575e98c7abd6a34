"""What can't be changed: EROFS from each call that would, and reading goes on.

On varve the tree is one of the past; elsewhere a read-only bind mount of the directory.
"""
import errno
import os

import claims
from claims import (PUNCH_HOLE, KEEP_SIZE, claim, claim_all, fallocate, names, read, refused, same,
                    utimens, write)

BIND, READ_ONLY, REMOUNT = 4096, 1, 32


def past_of(path):
    """The directory @path on a varve mount as it stands, in the past; None elsewhere."""
    try:
        os.getxattr(path, "varve.store")
    except OSError:
        return None
    top = path
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    place = os.path.relpath(path, os.path.join(top, "head", "rel"))
    latest = os.readlink(os.path.join(top, "lsn", "latest"))
    return os.path.join(top, "lsn", latest, "rel", place)


class Frozen:
    """Makes some files, and the working directory their read-only image while it lasts."""

    def __enter__(self):
        os.mkdir("tree")
        os.makedirs("tree/dir/sub")
        write("tree/file", b"content", mode=0o666)
        os.symlink("file", "tree/link")
        os.mkfifo("tree/fifo")
        self.start = os.getcwd()
        place = past_of(os.path.abspath("tree"))
        self.mounted = place is None
        if self.mounted:
            claims.mount("tree", "tree", None, BIND)
            claims.mount("none", "tree", None, BIND | REMOUNT | READ_ONLY)
            place = "tree"
        os.chdir(place)

    def __exit__(self, *_):
        os.chdir(self.start)
        if self.mounted:
            claims.umount("tree")


CHANGES = {
    "open to write": lambda: os.open("file", os.O_WRONLY),
    "open to read and write": lambda: os.open("file", os.O_RDWR),
    "open to truncate": lambda: os.open("file", os.O_RDONLY | os.O_TRUNC),
    "creat": lambda: os.open("new", os.O_CREAT | os.O_WRONLY),
    "creat, exclusively": lambda: os.open("new", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "O_TMPFILE": lambda: os.open(".", os.O_TMPFILE | os.O_RDWR),
    "mkdir": lambda: os.mkdir("new"),
    "mknod": lambda: os.mknod("new", 0o100644),
    "mkfifo": lambda: os.mkfifo("new"),
    "symlink": lambda: os.symlink("x", "new"),
    "link": lambda: os.link("file", "new"),
    "unlink": lambda: os.unlink("file"),
    "rmdir": lambda: os.rmdir("dir/sub"),
    "rename": lambda: os.rename("file", "new"),
    "rename over": lambda: os.rename("file", "fifo"),
    "truncate": lambda: os.truncate("file", 0),
    "chmod": lambda: os.chmod("file", 0o600),
    "fchmod": lambda: os.fchmod(os.open("file", os.O_RDONLY), 0o600),
    "chown": lambda: os.chown("file", 1, 1),
    "lchown": lambda: os.lchown("link", 1, 1),
    "utimensat": lambda: utimens("file", None, None),
    "setxattr": lambda: os.setxattr("file", "user.a", b"x"),
    "removexattr": lambda: os.removexattr("file", "user.a"),
    "fallocate": lambda: fallocate(os.open("file", os.O_WRONLY), PUNCH_HOLE | KEEP_SIZE, 0, 1),
}


@claim_all(CHANGES)
def a_change_is_erofs(call):
    with Frozen():
        refused(errno.EROFS, call)
        same(names(), ["dir", "fifo", "file", "link"])
        same(read("file"), b"content")


@claim
def opening_what_is_there_with_o_creat_to_read_is_no_change():
    with Frozen():
        os.close(os.open("file", os.O_CREAT | os.O_RDONLY))
        refused(errno.EEXIST, os.open, "file", os.O_CREAT | os.O_EXCL | os.O_RDONLY)
        refused(errno.EEXIST, os.mkdir, "dir")


@claim
def reading_goes_on():
    import mmap
    with Frozen():
        same(read("link"), b"content")
        fd = os.open("file", os.O_RDONLY)
        same(mmap.mmap(fd, 0, mmap.MAP_PRIVATE)[:], b"content")
        os.fsync(fd)
        same(os.listdir("dir"), ["sub"])
        same(os.path.realpath("dir/sub/..") == os.path.realpath("dir"), True)
        os.statvfs("file")


@claim
def modes_and_owners_are_what_they_were():
    with Frozen():
        same(oct(os.stat("file").st_mode), "0o100666")
