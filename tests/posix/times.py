"""Which times each call moves, and utimensat."""
import errno
import os

from claims import (AT_FDCWD, AT_SYMLINK_NOFOLLOW, EXCHANGE, UTIME_NOW, UTIME_OMIT, append, claim,
                    claim_all, holds, libc, moved, read, refused, renameat2, same, times_of, utimens,
                    write)

STEP = 1_000_000_000

# What is called, and what it moves of: "." the directory, "file", "dir", as far as they are named.
# "mc": mtime and ctime, "c": ctime, "": neither.
MOVES = {
    "creat": (lambda: write("new"), {".": "mc", "file": "", "dir": ""}),
    "creat of what is there": (lambda: os.close(os.open("file", os.O_CREAT | os.O_RDWR)),
                               {".": "", "file": ""}),
    "O_TRUNC": (lambda: write("file"), {".": "", "file": "mc"}),
    "mkdir": (lambda: os.mkdir("new"), {".": "mc", "dir": ""}),
    "mkdir below": (lambda: os.mkdir("dir/new"), {".": "", "dir": "mc"}),
    "rmdir": (lambda: os.rmdir("dir/sub"), {".": "", "dir": "mc"}),
    "mkfifo": (lambda: os.mkfifo("dir/new"), {"dir": "mc"}),
    "symlink": (lambda: os.symlink("x", "dir/new"), {"dir": "mc"}),
    "link": (lambda: os.link("file", "dir/new"), {".": "", "dir": "mc", "file": "c"}),
    "unlink": (lambda: os.unlink("twin"), {".": "mc", "file": "c"}),
    "rename within": (lambda: os.rename("twin", "new"), {".": "mc", "dir": "", "file": "c"}),
    "rename across": (lambda: os.rename("twin", "dir/new"), {".": "mc", "dir": "mc", "file": "c"}),
    "rename of a directory": (lambda: os.rename("dir/sub", "new"), {".": "mc", "dir": "mc"}),
    "rename over": (lambda: os.rename("other", "twin"), {".": "mc", "file": "c"}),
    "exchange": (lambda: renameat2("twin", "dir/sub", EXCHANGE), {".": "mc", "dir": "mc", "file": "c"}),
    "write": (lambda: append("file", b"x"), {".": "", "file": "mc"}),
    "read": (lambda: read("file"), {".": "", "file": ""}),
    "truncate to shrink": (lambda: os.truncate("file", 1), {"file": "mc"}),
    "truncate to grow": (lambda: os.truncate("file", 9999), {"file": "mc"}),
    "chmod": (lambda: os.chmod("file", 0o600), {".": "", "file": "c"}),
    "chmod to what it is": (lambda: os.chmod("file", 0o644), {"file": "c"}),
    "chmod of a directory": (lambda: os.chmod("dir", 0o700), {".": "", "dir": "c"}),
    "chown": (lambda: os.chown("file", 5, 6), {".": "", "file": "c"}),
    "chown of nothing": (lambda: os.chown("file", -1, -1), {"file": "c"}),
    "utimensat of the access": (lambda: utimens("file", (1, 0), (0, UTIME_OMIT)), {"file": "c"}),
    "utimensat of nothing": (lambda: utimens("file", (0, UTIME_OMIT), (0, UTIME_OMIT)), {"file": ""}),
    "setxattr": (lambda: os.setxattr("file", "user.a", b"x"), {".": "", "file": "c"}),
    "removexattr": (lambda: os.removexattr("file", "user.old"), {"file": "c"}),
    "getxattr": (lambda: os.getxattr("file", "user.old"), {"file": ""}),
    "listing": (lambda: os.listdir("dir"), {"dir": ""}),
    "a listing and a stat": (lambda: os.stat("dir/sub"), {".": "", "dir": ""}),
    "readlink": (lambda: os.readlink("link"), {".": "", "link": ""}),
    "fsync": (lambda: os.fsync(os.open("file", os.O_RDWR)), {"file": ""}),
}


@claim_all(MOVES)
def a_call_moves_the_times_that_its_manual_says(call, wanted):
    write("file", b"content")
    os.link("file", "twin")
    write("other")
    os.symlink("x", "link")
    os.makedirs("dir/sub")
    if "xattr" in next(name for name, row in MOVES.items() if row[0] is call):
        os.setxattr("file", "user.old", b"x")
    same(dict(zip(wanted, moved(list(wanted), call))), wanted)


@claim_all({"unlink": lambda: os.unlink("no"), "mkdir": lambda: os.mkdir("file"),
            "link": lambda: os.link("file", "dir"), "rename": lambda: os.rename("no", "file"),
            "rmdir": lambda: os.rmdir("file"), "open": lambda: os.open("no", os.O_RDONLY),
            "truncate": lambda: os.truncate("file", -1)})
def a_call_that_fails_moves_no_time(call):
    write("file", b"content")
    os.mkdir("dir")

    def act():
        refused((errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EINVAL), call)
    same(moved([".", "file", "dir"], act), ["", "", ""])


@claim_all({"zero": (0, 0), "a nanosecond": (0, 1), "long ago": (-1_000_000_000, 5),
            "1901": (-0x80000000, 0), "2106": (0x100000000, 999_999_999), "now": (1_800_000_000, 123_456_789)})
def times_are_kept_to_the_nanosecond(seconds, nanoseconds):
    write("file")
    utimens("file", (seconds, nanoseconds), (seconds + 1, nanoseconds))
    at = seconds * STEP + nanoseconds
    same(times_of("file")[:2], (at, at + STEP))


@claim
def utimensat_sets_each_time_or_now_or_leaves_it():
    write("file")
    utimens("file", (10, 0), (20, 0))
    utimens("file", (0, UTIME_OMIT), (30, 0))
    same(times_of("file")[:2], (10 * STEP, 30 * STEP))
    utimens("file", (40, 0), (0, UTIME_OMIT))
    same(times_of("file")[:2], (40 * STEP, 30 * STEP))
    utimens("file", (0, UTIME_NOW), (0, UTIME_OMIT))
    holds(times_of("file")[0] > 10**18 and times_of("file")[1] == 30 * STEP, "now, and what was")
    utimens("file", None, None)
    holds(times_of("file")[1] > 10**18, "both are now")


@claim
def utimensat_of_the_link_itself_and_of_a_descriptor():
    write("file")
    os.symlink("file", "link")
    utimens("link", (10, 0), (20, 0), AT_SYMLINK_NOFOLLOW)
    utimens("link", (30, 0), (40, 0))
    same((times_of("link")[1], times_of("file")[1]), (20 * STEP, 40 * STEP))
    os.utime(os.open("file", os.O_RDONLY), (50, 60))
    same(times_of("file")[:2], (50 * STEP, 60 * STEP))


@claim
def utimensat_refuses_nanoseconds_that_are_none():
    write("file")
    refused(errno.EINVAL, utimens, "file", (0, 1_000_000_000), (0, 0))
    refused(errno.EINVAL, utimens, "file", (0, 0), (0, -1))
    refused(errno.EINVAL, libc, "utimensat", AT_FDCWD, "file", None, 0x8)


@claim
def times_that_were_set_stay_through_link_rename_and_chmod():
    write("file")
    utimens("file", (10, 11), (20, 21))
    os.link("file", "b")
    os.rename("file", "c")
    os.chmod("c", 0o600)
    os.unlink("b")
    same(times_of("c")[:2], (10 * STEP + 11, 20 * STEP + 21))


@claim
def ctime_can_not_be_set_back():
    write("file")
    utimens("file", (10, 0), (20, 0))
    holds(times_of("file")[2] > 10**18, "ctime is not now")


@claim
def a_write_after_a_set_time_is_now_again():
    write("file")
    fd = os.open("file", os.O_RDWR)
    utimens("file", (10, 0), (20, 0))
    os.write(fd, b"x")
    holds(times_of("file")[1] > 10**18, "mtime is not now")
    os.close(fd)
    holds(times_of("file")[1] > 10**18, "mtime went back at close")


@claim
def times_go_on_from_call_to_call():
    """A later change never has an earlier time."""
    last = 0
    for i in range(200):
        write(f"f{i % 7}", b"%d" % i)
        found = times_of(f"f{i % 7}")[1]
        holds(found >= last, f"{found} after {last}")
        last = found
