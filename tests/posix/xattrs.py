"""setxattr, getxattr, listxattr, removexattr."""
import ctypes
import errno
import os

from claims import (OTHER, OWNER, append, by, claim, claim_all, libc, owned, refused, same, write)

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


def listed(path, **how):
    return sorted(os.listxattr(path, **how))


@claim_all({"empty": b"", "one byte": b"\0", "text": b"value", "bytes": bytes(range(256)), "3,000 bytes": b"v" * 3000})
def a_value_is_kept_byte_by_byte(value):
    for make, name in ((write, "file"), (os.mkdir, "dir")):
        make(name)
        os.setxattr(name, "user.name", value)
        same(os.getxattr(name, "user.name"), value)
        same(listed(name), ["user.name"])


@claim
def a_file_has_many_and_each_its_own():
    write("file")
    wanted = {f"user.n{i}": b"%d" % i * i for i in range(30)}
    for name, value in wanted.items():
        os.setxattr("file", name, value)
    same({name: os.getxattr("file", name) for name in os.listxattr("file")}, wanted)
    for name in list(wanted)[::2]:
        os.removexattr("file", name)
        del wanted[name]
    same({name: os.getxattr("file", name) for name in os.listxattr("file")}, wanted)


@claim
def a_value_is_replaced_by_a_longer_and_a_shorter_one():
    write("file")
    for value in (b"first", b"a much longer value" * 50, b"s", b""):
        os.setxattr("file", "user.a", value)
        same(os.getxattr("file", "user.a"), value)


@claim
def create_refuses_what_is_there_and_replace_what_is_not():
    write("file")
    refused(errno.ENODATA, os.setxattr, "file", "user.a", b"x", REPLACE)
    os.setxattr("file", "user.a", b"one", CREATE)
    refused(errno.EEXIST, os.setxattr, "file", "user.a", b"two", CREATE)
    same(os.getxattr("file", "user.a"), b"one")
    os.setxattr("file", "user.a", b"three", REPLACE)
    same(os.getxattr("file", "user.a"), b"three")
    refused(errno.EINVAL, libc, "setxattr", "file", "user.a", b"x", 1, 4)


@claim
def what_is_not_there_is_enodata():
    write("file")
    refused(errno.ENODATA, os.getxattr, "file", "user.no")
    refused(errno.ENODATA, os.removexattr, "file", "user.no")
    same(listed("file"), [])


@claim
def a_buffer_too_small_is_erange_and_none_tells_the_size():
    write("file")
    os.setxattr("file", "user.a", b"12345")
    buffer = ctypes.create_string_buffer(4)
    refused(errno.ERANGE, libc, "getxattr", "file", "user.a", buffer, 4)
    same(libc("getxattr", "file", "user.a", None, 0), 5)
    refused(errno.ERANGE, libc, "listxattr", "file", buffer, 4)
    same(libc("listxattr", "file", None, 0), len("user.a") + 1)


@claim
def names_are_at_most_255_bytes():
    write("file")
    name = "user." + "n" * 250
    os.setxattr("file", name, b"x")
    same(listed("file"), [name])
    refused(errno.ERANGE, os.setxattr, "file", name + "n", b"x")
    refused((errno.ERANGE, errno.ENODATA), os.getxattr, "file", name + "n")


@claim
def a_name_without_a_name_is_refused():
    write("file")
    refused(errno.EINVAL, os.setxattr, "file", "user.", b"x")
    refused((errno.EOPNOTSUPP, errno.EINVAL), os.setxattr, "file", "user", b"x")
    refused(errno.EOPNOTSUPP, os.setxattr, "file", "nospace.name", b"x")
    refused((errno.ERANGE, errno.EINVAL), os.setxattr, "file", "", b"x")
    same(listed("file"), [])


@claim
def a_value_beyond_64_kib_is_e2big():
    write("file")
    refused(errno.E2BIG, os.setxattr, "file", "user.a", b"x" * 65537)
    same(listed("file"), [])


@claim_all({"link": lambda: os.symlink("x", "it"), "fifo": lambda: os.mkfifo("it"),
            "device": lambda: os.mknod("it", 0o20666, 259)})
def users_names_are_for_files_and_directories_only(make):
    make()
    refused(errno.EPERM, os.setxattr, "it", "user.a", b"x", follow_symlinks=False)
    same(listed("it", follow_symlinks=False), [])


@claim
def a_link_is_followed_unless_told_not_to():
    write("file")
    os.symlink("file", "link")
    os.setxattr("link", "user.a", b"x")
    same(os.getxattr("file", "user.a"), b"x")
    os.setxattr("link", "trusted.a", b"link", follow_symlinks=False)
    same(listed("link", follow_symlinks=False), ["trusted.a"])
    same(listed("file"), ["user.a"])


@claim
def descriptors_serve_as_well_as_paths():
    fd = os.open(write("file"), os.O_RDONLY)
    os.setxattr(fd, "user.a", b"x")
    same(os.getxattr(fd, "user.a"), b"x")
    os.unlink("file")
    os.setxattr(fd, "user.b", b"y")
    same(listed(fd), ["user.a", "user.b"])
    os.removexattr(fd, "user.a")
    same(listed(fd), ["user.b"])
    refused(errno.EBADF, os.setxattr, 999, "user.a", b"x")


@claim
def they_follow_the_file_and_not_the_name():
    write("file")
    os.setxattr("file", "user.a", b"x")
    os.link("file", "twin")
    os.rename("file", "moved")
    same((os.getxattr("twin", "user.a"), os.getxattr("moved", "user.a")), (b"x", b"x"))
    os.unlink("moved")
    os.unlink("twin")
    write("moved")
    same(listed("moved"), [])


@claim
def they_change_nothing_of_the_content():
    write("file", b"content")
    os.setxattr("file", "user.a", b"x" * 1000)
    same(os.stat("file").st_size, 7)
    append("file", b" and more")
    os.truncate("file", 3)
    same(os.getxattr("file", "user.a"), b"x" * 1000)


@claim
def users_names_need_the_rights_of_the_content():
    write("file", mode=0o600)
    owned("file", OWNER, mode=0o600)
    by(OWNER, os.setxattr, "file", "user.a", b"x")
    refused(errno.EACCES, by, OTHER, os.getxattr, "file", "user.a")
    refused(errno.EACCES, by, OTHER, os.setxattr, "file", "user.b", b"x")
    os.chmod("file", 0o644)
    same(by(OTHER, os.getxattr, "file", "user.a"), b"x")
    refused(errno.EACCES, by, OTHER, os.setxattr, "file", "user.b", b"x")
    refused(errno.EACCES, by, OTHER, os.removexattr, "file", "user.a")
    os.chmod("file", 0o222)
    by(OTHER, os.setxattr, "file", "user.b", b"x")
    refused(errno.EACCES, by, OTHER, os.getxattr, "file", "user.b")


@claim
def in_a_sticky_directory_users_names_are_the_owners():
    os.mkdir("tmp")
    os.chmod("tmp", 0o1777)
    refused(errno.EPERM, by, OTHER, os.setxattr, "tmp", "user.a", b"x")
    os.setxattr("tmp", "user.a", b"x")


@claim
def trusted_names_are_roots_and_nobody_else_sees_them():
    write("file", mode=0o666)
    os.setxattr("file", "trusted.a", b"x")
    os.setxattr("file", "user.a", b"y")
    same(os.getxattr("file", "trusted.a"), b"x")
    same(listed("file"), ["trusted.a", "user.a"])
    refused(errno.EPERM, by, OTHER, os.setxattr, "file", "trusted.b", b"x")
    refused((errno.ENODATA, errno.EPERM), by, OTHER, os.getxattr, "file", "trusted.a")
    same(by(OTHER, listed, "file"), ["user.a"])


@claim
def a_file_s_capabilities_are_cleared_by_a_write():
    write("file", b"x", mode=0o777)
    capability = b"\x01\0\0\x02" + b"\0\x20\0\0" + b"\0" * 12
    os.setxattr("file", "security.capability", capability)
    same(os.getxattr("file", "security.capability"), capability)
    append("file", b"y")
    refused(errno.ENODATA, os.getxattr, "file", "security.capability")


@claim
def a_file_s_capabilities_are_cleared_by_a_change_of_owner():
    write("file", b"x", mode=0o777)
    os.setxattr("file", "security.capability", b"\x01\0\0\x02" + b"\0\x20\0\0" + b"\0" * 12)
    os.chown("file", 5, 6)
    refused(errno.ENODATA, os.getxattr, "file", "security.capability")
