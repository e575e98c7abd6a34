"""O_TMPFILE: files without a name."""
import errno
import os
import stat

from claims import (AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, OTHER, OWNER, by, claim, holds, linkat, moved, names,
                    outcome, read, refused, same, write)


def unnamed(flags=os.O_RDWR, mode=0o644, path="."):
    return os.open(path, os.O_TMPFILE | flags, mode)


def give_name(fd, path):
    linkat(f"/proc/self/fd/{fd}", path, AT_SYMLINK_FOLLOW)


@claim
def a_file_without_a_name_is_a_file_and_shows_nowhere():
    fd = unnamed()
    os.write(fd, b"content")
    found = os.fstat(fd)
    same((stat.S_ISREG(found.st_mode), found.st_nlink, found.st_size), (True, 0, 7))
    same(os.pread(fd, 10, 0), b"content")
    same(names(), [])
    same(read(f"/proc/self/fd/{fd}"), b"content")


@claim
def it_gets_a_name_by_linkat():
    fd = unnamed()
    os.write(fd, b"content")
    give_name(fd, "file")
    same((read("file"), os.fstat(fd).st_nlink, names()), (b"content", 1, ["file"]))
    os.write(fd, b" and more")
    linkat("", "twin", AT_EMPTY_PATH, old_fd=fd)
    same((read("twin"), os.fstat(fd).st_nlink), (b"content and more", 2))


@claim
def its_name_must_be_free():
    fd = unnamed()
    write("file", b"old")
    refused(errno.EEXIST, give_name, fd, "file")
    same((read("file"), os.fstat(fd).st_nlink), (b"old", 0))


@claim
def with_o_excl_it_never_gets_a_name():
    fd = unnamed(os.O_RDWR | os.O_EXCL)
    refused(errno.ENOENT, give_name, fd, "file")
    same(names(), [])


@claim
def it_has_to_be_open_for_writing():
    refused(errno.EINVAL, unnamed, os.O_RDONLY)
    os.close(unnamed(os.O_WRONLY))


@claim
def it_needs_a_directory():
    write("file")
    refused(errno.ENOTDIR, unnamed, path="file")
    refused(errno.ENOENT, unnamed, path="no")
    os.symlink(".", "link")
    os.close(unnamed(path="link"))
    same(outcome(unnamed, flags=os.O_RDWR | os.O_NOFOLLOW, path="link") in ("ELOOP", "ENOTDIR"), True)


@claim
def it_belongs_to_who_made_it_and_umask_counts():
    os.chmod(".", 0o777)

    def make():
        os.umask(0o027)
        found = os.fstat(unnamed(mode=0o666))
        return found.st_uid, found.st_gid, found.st_mode & 0o7777
    same(by(OWNER, make), (*OWNER[:2], 0o640))


@claim
def the_directory_s_group_goes_on_to_it_under_set_group_id():
    os.chown(".", 0, 4321)
    os.chmod(".", 0o2777)
    same(by(OTHER, lambda: os.fstat(unnamed()).st_gid), 4321)


@claim
def it_needs_the_right_to_write_the_directory():
    refused(errno.EACCES, by, OTHER, unnamed)


@claim
def it_moves_no_time_of_the_directory_until_it_is_named():
    held = []
    same(moved(["."], lambda: held.append(unnamed())), [""])
    same(moved(["."], lambda: give_name(held[0], "file")), ["mc"])


@claim
def all_that_files_can_it_can():
    fd = unnamed()
    os.ftruncate(fd, 100_000)
    os.pwrite(fd, b"x", 50_000)
    os.fchmod(fd, 0o600)
    os.fchown(fd, 5, 6)
    os.fsync(fd)
    import mmap
    with mmap.mmap(fd, 0) as area:
        area[0:1] = b"y"
    same(os.pread(fd, 1, 0) + os.pread(fd, 1, 50_000), b"yx")
    os.setxattr(fd, "user.a", b"x")
    give_name(fd, "file")
    same(os.getxattr("file", "user.a"), b"x")
    same((os.stat("file").st_uid, os.stat("file").st_size), (5, 100_000))


@claim
def many_at_a_time_are_different_files():
    every = [unnamed() for _ in range(50)]
    for i, fd in enumerate(every):
        os.write(fd, b"%d" % i)
    same(len({os.fstat(fd).st_ino for fd in every}), 50)
    for i, fd in enumerate(every):
        same(os.pread(fd, 9, 0), b"%d" % i)
    holds(names() == [], "a name shows")
