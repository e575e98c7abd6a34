"""Paths: what every call that takes one says of a bad one."""
import errno
import os
import socket

from claims import (AT_FDCWD, OTHER, by, claim, claim_all, libc, names, refused, same, statx,
                    utimens, write)


def bind(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path)


def make_file(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def open_read(path):
    os.close(os.open(path, os.O_RDONLY))


# Calls that need what the path names, following a link at its end.
FOLLOWING = {
    "open": open_read,
    "truncate": lambda path: os.truncate(path, 0),
    "stat": os.stat,
    "statx": statx,
    "chmod": lambda path: os.chmod(path, 0o755),
    "chown": lambda path: os.chown(path, -1, -1),
    "utimensat": lambda path: utimens(path, None, None),
    "access": lambda path: libc("access", path, os.F_OK),
    "statfs": os.statvfs,
    "getxattr": lambda path: os.getxattr(path, "user.none"),
    "setxattr": lambda path: os.setxattr(path, "user.none", b""),
    "listxattr": os.listxattr,
    "removexattr": lambda path: os.removexattr(path, "user.none"),
    "execve": lambda path: os.execv(path, ["x"]),
}
FOLLOWING_DIRECTORIES = {
    "chdir": os.chdir,
    "opendir": os.listdir,
}
# Calls that need what the path names, and take a link at its end for itself.
NOT_FOLLOWING = {
    "lstat": os.lstat,
    "readlink": os.readlink,
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "lchown": lambda path: os.lchown(path, -1, -1),
    "rename from": lambda path: os.rename(path, "new"),
    "link from": lambda path: os.link(path, "new", follow_symlinks=False),
    "lgetxattr": lambda path: os.getxattr(path, "user.none", follow_symlinks=False),
}
# Calls that make a name.
CREATING = {
    "creat": make_file,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, 0o100644),
    "symlink": lambda path: os.symlink("x", path),
    "link to": lambda path: os.link("file", path),
    "rename to": lambda path: os.rename("file", path),
    "bind": bind,
}
EXISTING = FOLLOWING | FOLLOWING_DIRECTORIES | NOT_FOLLOWING
ALL = EXISTING | CREATING
WITHOUT_BIND = {name: call for name, call in ALL.items() if name != "bind"}


@claim_all(EXISTING)
def a_name_that_is_not_there_is_enoent(call):
    refused(errno.ENOENT, call, "no")


@claim_all(ALL)
def a_parent_that_is_not_there_is_enoent(call):
    write("file")
    refused(errno.ENOENT, call, "no/name")


@claim_all(ALL)
def a_file_for_a_parent_is_enotdir(call):
    write("file")
    write("other")
    refused(errno.ENOTDIR, call, "other/name")


@claim_all(ALL)
def a_dangling_link_for_a_parent_is_enoent(call):
    write("file")
    os.symlink("nowhere", "link")
    refused(errno.ENOENT, call, "link/name")


@claim_all(ALL)
def links_in_a_ring_for_a_parent_are_eloop(call):
    write("file")
    os.symlink("b", "a")
    os.symlink("a", "b")
    refused(errno.ELOOP, call, "a/name")


@claim_all(FOLLOWING | FOLLOWING_DIRECTORIES)
def links_in_a_ring_at_the_end_are_eloop(call):
    os.symlink("b", "a")
    os.symlink("a", "b")
    refused(errno.ELOOP, call, "a")


@claim_all(FOLLOWING | FOLLOWING_DIRECTORIES)
def more_than_forty_links_are_eloop(call):
    os.mkdir("l0")
    for i in range(41):
        os.symlink(f"l{i}", f"l{i + 1}")
    refused(errno.ELOOP, call, "l41")


@claim_all(FOLLOWING | FOLLOWING_DIRECTORIES)
def a_dangling_link_at_the_end_is_enoent(call):
    os.symlink("nowhere", "link")
    refused(errno.ENOENT, call, "link")


@claim_all(ALL)
def an_empty_path_is_enoent(call):
    write("file")
    if call is bind:
        return      # an empty address has a meaning of its own
    refused(errno.ENOENT, call, "")


@claim_all(WITHOUT_BIND)
def a_name_of_256_bytes_is_enametoolong(call):
    write("file")
    refused(errno.ENAMETOOLONG, call, "n" * 256)


@claim_all(WITHOUT_BIND)
def a_parent_of_256_bytes_is_enametoolong(call):
    write("file")
    refused(errno.ENAMETOOLONG, call, "n" * 256 + "/name")


@claim_all(WITHOUT_BIND)
def a_path_of_4096_bytes_is_enametoolong(call):
    write("file")
    refused(errno.ENAMETOOLONG, call, "./" * 2047 + "nn")


@claim_all({name: call for name, call in CREATING.items() if name != "bind"})
def names_of_255_bytes_and_paths_of_4095_are_taken(call):
    write("file")
    name = "n" * 255
    path = "./" * ((4095 - 255) // 2) + name
    call(path)
    same(name in names(), True)
    os.lstat("./" * 2047 + "/")


@claim_all(ALL)
def no_right_to_search_the_parent_is_eacces(call):
    os.mkdir("shut", 0o700)
    os.mkdir("shut/name")
    os.chmod(".", 0o777)
    write("file", mode=0o666)
    refused(errno.EACCES, by, OTHER, call, "shut/name")


@claim_all(CREATING)
def no_right_to_write_the_parent_is_eacces_to_a_new_name(call):
    os.mkdir("others", 0o755)
    write("file", mode=0o666)
    os.chmod(".", 0o777)
    os.chown("file", OTHER[0], OTHER[1])
    refused(errno.EACCES, by, OTHER, call, "others/name")
    same(names("others"), [])


@claim_all({"unlink": ("file", os.unlink), "rmdir": ("dir", os.rmdir),
            "rename from": ("file", lambda path: os.rename(path, "new"))})
def no_right_to_write_the_parent_is_eacces_to_the_removal_of_a_name(kind, call):
    os.mkdir("others", 0o755)
    if kind == "dir":
        os.mkdir("others/name")
    else:
        write("others/name")
    os.chown("others/name", OTHER[0], OTHER[1])
    os.chmod(".", 0o777)
    refused(errno.EACCES, by, OTHER, call, "others/name")
    same(names("others"), ["name"])


@claim_all(CREATING)
def a_removed_directory_takes_no_name(call):
    os.mkdir("gone")
    write("file")
    file = os.path.abspath("file")
    os.chdir("gone")
    os.rmdir("../gone")
    if call is CREATING["link to"]:
        refused(errno.ENOENT, os.link, file, "name")
    elif call is CREATING["rename to"]:
        refused(errno.ENOENT, os.rename, file, "name")
    else:
        refused(errno.ENOENT, call, "name")
    same(names(), [])


@claim_all({"open": open_read, "stat": os.stat, "truncate": lambda path: os.truncate(path, 0),
            "unlink": os.unlink, "rename from": lambda path: os.rename(path, "new"),
            "chmod": lambda path: os.chmod(path, 0o600)})
def a_slash_behind_a_file_is_enotdir(call):
    write("file", b"x")
    refused(errno.ENOTDIR, call, "file/")
    same(read_whole("file"), b"x")


def read_whole(path):
    with open(path, "rb") as file:
        return file.read()


@claim
def a_slash_behind_a_new_name_makes_a_directory_only():
    os.mkdir("dir/")
    refused(errno.EISDIR, os.open, "new/", os.O_CREAT | os.O_WRONLY)
    refused(errno.ENOENT, os.symlink, "x", "link/")
    os.rename("dir/", "dir2/")
    same(names(), ["dir2"])


@claim
def a_slash_behind_a_link_to_a_directory_is_the_directory():
    os.mkdir("dir")
    os.symlink("dir", "link")
    same(os.lstat("link/").st_ino, os.stat("dir").st_ino)
    refused(errno.ENOTDIR, os.unlink, "link/")
    refused(errno.ENOTDIR, os.rmdir, "link")


@claim_all({"creat": make_file, "mkdir": os.mkdir, "mkfifo": os.mkfifo,
            "symlink": lambda path: os.symlink("x", path),
            "link": lambda path: os.link("file", path)})
def a_relative_path_starts_at_the_working_directory(call):
    os.mkdir("dir")
    os.chdir("dir")
    write("file")
    call("new")
    same(names(), ["file", "new"])
    same(names(".."), ["dir"])


@claim_all({
    "mkdirat": lambda fd: os.mkdir("new", dir_fd=fd),
    "openat": lambda fd: os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)),
    "mknodat": lambda fd: os.mknod("new", 0o10644, dir_fd=fd),
    "symlinkat": lambda fd: os.symlink("x", "new", dir_fd=fd),
    "linkat": lambda fd: os.link("file", "new", dst_dir_fd=fd),
    "renameat": lambda fd: os.rename("file", "new", dst_dir_fd=fd)})
def a_path_at_a_descriptor_starts_at_its_directory(call):
    """It is EBADF at none, ENOTDIR at a file, and does not depend on the directory's name."""
    os.mkdir("dir")
    write("file")
    fd = os.open("dir", os.O_RDONLY)
    file = os.open("file", os.O_RDONLY)
    refused(errno.ENOTDIR, call, file)
    refused(errno.EBADF, call, 999)
    os.rename("dir", "moved")
    call(fd)
    same(names("moved"), ["new"])


@claim
def dot_dot_is_the_directory_above_also_after_a_rename():
    os.makedirs("a/sub")
    os.mkdir("b")
    same(os.stat("a/sub/..").st_ino, os.stat("a").st_ino)
    os.rename("a/sub", "b/sub")
    same(os.stat("b/sub/..").st_ino, os.stat("b").st_ino)
    os.chdir("b/sub")
    same(os.stat("..").st_ino, os.stat("../../b").st_ino)
    same(os.path.basename(os.getcwd()), "sub")


@claim
def names_are_bytes():
    every = [b"\xff\xfe", b"a\nb", b" ", b"-rf", b"\\", b"%s", b"*", b"..."] + \
        [bytes([byte]) for byte in range(1, 256) if byte not in b"./ \\*"]
    for name in every:
        write(name, name)
    same(sorted(os.listdir(b".")), sorted(every))
    for name in every:
        same(read_whole(name), name)


@claim
def names_that_differ_in_case_or_by_composition_are_different_files():
    for name in ("a", "A", "\u00e9", "e\u0301"):
        write(name, name.encode())
    same(len(names()), 4)
    same(read_whole("e\u0301"), "e\u0301".encode())


@claim
def a_bad_address_is_efault():
    refused(errno.EFAULT, libc, "mkdir", 1, 0o755)
    refused(errno.EFAULT, libc, "open", 1, os.O_RDONLY)
    refused(errno.EFAULT, libc, "rename", 1, 1)
    refused(errno.EFAULT, libc, "fchmodat", AT_FDCWD, 1, 0o600, 0)
