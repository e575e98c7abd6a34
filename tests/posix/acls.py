"""POSIX access control lists, by their extended attributes."""
import errno
import os
import struct

from claims import MEMBER, OTHER, OWNER, TEAM, by, claim, mode_of, outcome, owned, refused, same, write

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHERS = 1, 2, 4, 8, 16, 32
NOBODY_ID = 0xffffffff


def acl(*entries):
    """The attribute's value of (tag, rights) and (tag, rights, id)."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *(entry if len(entry) == 3 else (*entry, NOBODY_ID))) for entry in entries)


def for_other(rights, mask=7, group=0):
    """Owner rw, @rights for OTHER by name."""
    return acl((USER_OBJ, 6), (USER, rights, OTHER[0]), (GROUP_OBJ, group), (MASK, mask), (OTHERS, 0))


def file_of_owner(mode=0o600):
    write("file", b"x")
    return owned("file", OWNER, TEAM, mode)


def opens(user, flag=os.O_RDONLY, path="file"):
    return by(user, outcome, os.open, path, flag)


@claim
def a_named_user_gets_the_rights_of_his_entry():
    file_of_owner()
    same(opens(OTHER), "EACCES")
    os.setxattr("file", ACCESS, for_other(4))
    same((opens(OTHER), opens(OTHER, os.O_RDWR)), ("done", "EACCES"))
    os.setxattr("file", ACCESS, for_other(6))
    same(opens(OTHER, os.O_RDWR), "done")
    same(opens((3004, 3004, [])), "EACCES")


@claim
def a_named_group_gets_the_rights_of_its_entry():
    file_of_owner()
    os.setxattr("file", ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 0), (GROUP, 4, OTHER[1]), (MASK, 7),
                                    (OTHERS, 0)))
    same((opens(OTHER), opens(OTHER, os.O_WRONLY)), ("done", "EACCES"))


@claim
def a_named_user_can_be_given_less_than_others():
    file_of_owner()
    os.setxattr("file", ACCESS, acl((USER_OBJ, 6), (USER, 0, OTHER[0]), (GROUP_OBJ, 4), (MASK, 4),
                                    (OTHERS, 4)))
    same((opens(OTHER), opens((3004, 3004, []))), ("EACCES", "done"))


@claim
def the_mask_limits_named_users_and_groups():
    file_of_owner()
    os.setxattr("file", ACCESS, for_other(6, mask=4, group=6))
    same((opens(OTHER), opens(OTHER, os.O_WRONLY)), ("done", "EACCES"))
    same((opens(MEMBER), opens(MEMBER, os.O_WRONLY)), ("done", "EACCES"))
    same(opens(OWNER, os.O_RDWR), "done")


@claim
def the_mask_is_the_group_s_digit_of_the_mode():
    file_of_owner()
    os.setxattr("file", ACCESS, for_other(6, mask=6))
    same(f"{mode_of('file'):04o}", "0660")
    os.chmod("file", 0o640)
    same((opens(OTHER), opens(OTHER, os.O_WRONLY)), ("done", "EACCES"))
    same(os.getxattr("file", ACCESS), for_other(6, mask=4))


@claim
def an_access_list_of_three_entries_is_a_mode():
    file_of_owner()
    os.setxattr("file", ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHERS, 4)))
    same(f"{mode_of('file'):04o}", "0644")
    refused(errno.ENODATA, os.getxattr, "file", ACCESS)


@claim
def an_access_list_can_be_removed():
    file_of_owner()
    os.setxattr("file", ACCESS, for_other(4))
    same(os.listxattr("file"), [ACCESS])
    os.removexattr("file", ACCESS)
    same((os.listxattr("file"), opens(OTHER)), ([], "EACCES"))


@claim
def only_the_owner_sets_an_access_list():
    file_of_owner(0o666)
    refused(errno.EPERM, by, OTHER, os.setxattr, "file", ACCESS, for_other(7))
    by(OWNER, os.setxattr, "file", ACCESS, for_other(7))
    same(by(OTHER, os.getxattr, "file", ACCESS), for_other(7))


@claim
def lists_that_are_none_are_einval():
    file_of_owner()
    for value in (b"x", struct.pack("<I", 9), acl((USER_OBJ, 6)),
                  acl((USER_OBJ, 6), (USER, 4, 5), (GROUP_OBJ, 4), (OTHERS, 0)),
                  acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHERS, 0))[:-1],
                  acl((OTHERS, 0), (GROUP_OBJ, 4), (USER_OBJ, 6))):
        refused((errno.EINVAL, errno.EOPNOTSUPP) if value == struct.pack("<I", 9) else errno.EINVAL,
                os.setxattr, "file", ACCESS, value)
    same(mode_of("file"), 0o600)


@claim
def a_default_list_is_for_directories_only():
    file_of_owner()
    refused(errno.EACCES, os.setxattr, "file", DEFAULT, for_other(4))
    os.mkdir("dir")
    os.setxattr("dir", DEFAULT, for_other(4))
    same(os.getxattr("dir", DEFAULT), for_other(4))
    os.removexattr("dir", DEFAULT)
    same(os.listxattr("dir"), [])


@claim
def a_default_list_is_handed_on_and_umask_is_not_asked():
    os.mkdir("dir")
    os.setxattr("dir", DEFAULT, for_other(6, mask=7))
    os.umask(0o077)
    os.close(os.open("dir/file", os.O_CREAT | os.O_WRONLY, 0o666))
    same(os.getxattr("dir/file", ACCESS), for_other(6, mask=6))
    same(f"{mode_of('dir/file'):04o}", "0660")
    os.mkdir("dir/sub", 0o777)
    same(os.getxattr("dir/sub", DEFAULT), for_other(6, mask=7))
    same(os.getxattr("dir/sub", ACCESS), for_other(6, mask=7))
    os.mkfifo("dir/fifo", 0o600)
    same(f"{mode_of('dir/fifo'):04o}", "0600")


@claim
def a_new_file_without_a_default_list_has_none():
    os.mkdir("dir")
    os.setxattr("dir", ACCESS, for_other(7))
    write("dir/file")
    same(os.listxattr("dir/file"), [])


@claim
def a_link_has_no_access_list():
    os.symlink("x", "link")
    refused(errno.EOPNOTSUPP, os.setxattr, "link", ACCESS, for_other(4), follow_symlinks=False)


@claim
def an_access_list_moves_ctime():
    from claims import moved
    file_of_owner()
    same(moved(["file"], os.setxattr, "file", ACCESS, for_other(4)), ["c"])
