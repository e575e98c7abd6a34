"""link, unlink, symlink, readlink."""
import ctypes
import errno
import os
import stat

from claims import (AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, OTHER, OWNER, append, by, claim, claim_all,
                    holds, libc, linkat, mode_of, names, owned, read, refused, same, write)


def socket_new(path):
    import socket
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path)


KINDS = {"file": write, "fifo": os.mkfifo, "device": lambda path: os.mknod(path, 0o20666, 259),
         "symbolic link": lambda path: os.symlink("nowhere", path), "socket": socket_new}


# ---- link ----

@claim_all(KINDS)
def link_gives_one_more_name(make):
    make("a")
    os.mkdir("dir")
    os.link("a", "dir/b", follow_symlinks=False)
    one, two = os.lstat("a"), os.lstat("dir/b")
    same((one.st_ino, one.st_dev, one.st_mode), (two.st_ino, two.st_dev, two.st_mode))
    same((one.st_nlink, two.st_nlink), (2, 2))
    os.unlink("a")
    same(os.lstat("dir/b").st_nlink, 1)


@claim
def names_of_one_file_share_all_but_the_name():
    write("a", b"one")
    os.link("a", "b")
    append("b", b" two")
    os.chmod("a", 0o600)
    os.chown("b", 5, 6)
    same(read("a"), b"one two")
    same((mode_of("b"), os.stat("a").st_uid, os.stat("a").st_gid), (0o600, 5, 6))


@claim_all({**KINDS, "directory": os.mkdir})
def link_to_a_name_that_is_there_is_eexist(make):
    write("a", b"a")
    make("b")
    refused(errno.EEXIST, os.link, "a", "b")
    same(os.stat("a").st_nlink, 1)


@claim
def a_directory_can_not_be_linked():
    os.mkdir("dir")
    refused(errno.EPERM, os.link, "dir", "other")
    refused(errno.EPERM, os.link, ".", "other")
    same(names(), ["dir"])


@claim
def link_takes_a_symbolic_link_for_itself_unless_told_to_follow():
    write("file", b"x")
    os.symlink("file", "link")
    linkat("link", "same", 0)
    linkat("link", "followed", AT_SYMLINK_FOLLOW)
    holds(os.path.islink("same"), "it was followed")
    same(os.stat("followed").st_ino, os.lstat("file").st_ino)
    holds(not os.path.islink("followed"), "it was not followed")
    refused(errno.EINVAL, linkat, "file", "b", 0x10)


@claim
def link_by_a_descriptor_alone_works():
    fd = os.open(write("file", b"x"), os.O_RDONLY)
    linkat(f"/proc/self/fd/{fd}", "b", AT_SYMLINK_FOLLOW)
    linkat("", "c", AT_EMPTY_PATH, old_fd=fd)
    same(os.fstat(fd).st_nlink, 3)


@claim
def a_file_without_a_name_gets_none_again():
    fd = os.open(write("file", b"x"), os.O_RDONLY)
    os.unlink("file")
    refused(errno.ENOENT, linkat, f"/proc/self/fd/{fd}", "b", AT_SYMLINK_FOLLOW)
    same(names(), [])


@claim
def link_to_another_file_system_is_exdev():
    write("a")
    other = f"/dev/shm/varve-suite-{os.getpid()}"
    try:
        refused(errno.EXDEV, os.link, "a", other)
        refused(errno.EXDEV, os.rename, "a", other)
        write(other)
        refused(errno.EXDEV, os.link, other, "b")
        refused(errno.EXDEV, os.rename, other, "b")
    finally:
        if os.path.exists(other):
            os.unlink(other)
    same(names(), ["a"])


@claim
def a_thousand_names_of_one_file_are_counted():
    write("a", b"x")
    for i in range(1000):
        os.link("a", f"n{i}")
    same(os.stat("n999").st_nlink, 1001)
    for i in range(1000):
        os.unlink(f"n{i}")
    same(os.stat("a").st_nlink, 1)


# ---- unlink ----

@claim_all(KINDS)
def unlink_takes_the_name(make):
    make("it")
    os.unlink("it")
    refused(errno.ENOENT, os.lstat, "it")
    refused(errno.ENOENT, os.unlink, "it")
    same(names(), [])


@claim
def unlink_of_a_directory_is_eisdir():
    os.mkdir("dir")
    refused(errno.EISDIR, os.unlink, "dir")
    refused((errno.EISDIR, errno.EINVAL), os.unlink, ".")
    same(names(), ["dir"])


@claim
def unlink_of_a_link_leaves_its_target():
    write("file", b"x")
    os.symlink("file", "link")
    os.unlink("link")
    same(read("file"), b"x")


@claim
def a_name_can_be_taken_again_at_once_and_is_another_file():
    write("a", b"first")
    fd = os.open("a", os.O_RDONLY)
    os.unlink("a")
    write("a", b"second")
    holds(os.fstat(fd).st_ino != os.stat("a").st_ino, "two files that live have one number")
    same((os.read(fd, 10), read("a")), (b"first", b"second"))
    os.unlink("a")
    os.mkdir("a")
    os.rmdir("a")
    os.symlink("x", "a")
    same(os.readlink("a"), "x")


@claim
def in_a_sticky_directory_only_owners_take_names_away():
    os.mkdir("tmp")
    owned("tmp", OWNER, mode=0o1777)
    for name in ("a", "b", "c", "e"):
        owned(write(f"tmp/{name}"), OTHER)
    write("tmp/roots")
    member = (3002, 3002, [])
    refused(errno.EPERM, by, member, os.unlink, "tmp/a")
    refused(errno.EPERM, by, member, os.rename, "tmp/a", "tmp/new")
    by(member, os.mkdir, "tmp/dir")
    refused(errno.EPERM, by, OTHER, os.rmdir, "tmp/dir")
    refused(errno.EPERM, by, OTHER, os.rename, "tmp/a", "tmp/roots")
    by(OTHER, os.unlink, "tmp/a")
    by(OTHER, os.rename, "tmp/b", "tmp/c")
    by(OWNER, os.unlink, "tmp/e")
    by(OWNER, os.unlink, "tmp/roots")
    by(OWNER, os.rmdir, "tmp/dir")
    same(names("tmp"), ["c"])


# ---- symlink, readlink ----

@claim_all({"relative": "dir/file", "absolute": "/nowhere/at/all", "one byte": "x", "dots": "../..",
            "bytes": os.fsdecode(b"\xff\x01 \n"), "255 bytes": "n" * 255, "4095 bytes": "./" * 2047 + "n"})
def a_link_holds_any_target(target):
    os.symlink(target, "link")
    same(os.readlink("link"), target)
    found = os.lstat("link")
    same((stat.S_ISLNK(found.st_mode), found.st_size), (True, len(os.fsencode(target))))


@claim
def a_target_of_4096_bytes_is_enametoolong_and_an_empty_one_enoent():
    refused(errno.ENAMETOOLONG, os.symlink, "n" * 4096, "link")
    refused(errno.ENOENT, os.symlink, "", "link")
    same(names(), [])


@claim_all({**KINDS, "directory": os.mkdir})
def symlink_over_a_name_that_is_there_is_eexist(make):
    make("it")
    refused(errno.EEXIST, os.symlink, "x", "it")


@claim
def readlink_of_what_is_no_link_is_einval():
    write("file")
    os.mkdir("dir")
    refused(errno.EINVAL, os.readlink, "file")
    refused(errno.EINVAL, os.readlink, "dir")


@claim
def readlink_cuts_at_the_buffer_s_end():
    os.symlink("0123456789", "link")
    buffer = ctypes.create_string_buffer(b"#" * 20)
    same(libc("readlink", "link", buffer, 4), 4)
    same(buffer.raw[:6], b"0123##")
    refused(errno.EINVAL, libc, "readlink", "link", buffer, 0)


@claim
def links_are_followed_relative_to_where_they_are():
    os.makedirs("a/b")
    write("a/file", b"x")
    os.symlink("../file", "a/b/link")
    os.symlink("a/b", "dir")
    same(read("dir/link"), b"x")
    os.rename("a/b", "a/c")
    same(read("a/c/link"), b"x")
    refused(errno.ENOENT, read, "dir/link")


@claim
def a_link_belongs_to_who_made_it_and_has_mode_0777():
    os.chmod(".", 0o777)
    by(OWNER, os.symlink, "x", "link")
    found = os.lstat("link")
    same((found.st_uid, found.st_gid, found.st_mode), (*OWNER[:2], 0o120777))
