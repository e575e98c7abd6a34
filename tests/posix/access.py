"""Who may do what: modes and owners, access, faccessat, as several users."""
import errno
import os

from claims import (AT_EACCESS, AT_FDCWD, MEMBER, OTHER, OWNER, TEAM, by, claim, claim_all, in_child,
                    libc, outcome, owned, refused, same, write)

RIGHTS = {os.R_OK: 4, os.W_OK: 2, os.X_OK: 1}
WHO = {"owner": (OWNER, 6), "member of the group": (MEMBER, 3), "other": (OTHER, 0)}


def grants(path):
    """The rights that access(2) tells the caller of, as the digit of a mode."""
    return sum(digit for right, digit in RIGHTS.items() if os.access(path, right))


def file_of_team(mode, path="file"):
    write(path, b"x")
    return owned(path, OWNER, TEAM, mode)


@claim_all(WHO)
def one_class_of_the_mode_decides(user, shift):
    """The owner's bits for the owner, though the group's would grant more; and so on."""
    write("file")
    for mode in range(0, 0o1000, 0o37):
        owned("file", OWNER, TEAM, mode)
        same(by(user, grants, "file"), mode >> shift & 7, f"{mode:04o}")


@claim_all(WHO)
def open_is_granted_as_the_mode_says(user, shift):
    for digit in range(8):
        file_of_team(digit << shift)
        for flag, need in ((os.O_RDONLY, 4), (os.O_WRONLY, 2), (os.O_RDWR, 6)):
            same(by(user, outcome, os.open, "file", flag),
                 "done" if digit & need == need else "EACCES", f"{digit}, {need}")


@claim_all(WHO)
def a_directory_is_used_as_the_mode_says(user, shift):
    os.mkdir("dir")
    write("dir/file")
    for digit in range(8):
        owned("dir", OWNER, TEAM, digit << shift)
        same(by(user, outcome, os.listdir, "dir"), "done" if digit & 4 else "EACCES", f"r of {digit}")
        same(by(user, outcome, os.stat, "dir/file"), "done" if digit & 1 else "EACCES", f"x of {digit}")
        wanted = "done" if digit & 3 == 3 else "EACCES"
        same(by(user, outcome, os.mkdir, "dir/new"), wanted, f"wx of {digit}")
        same(by(user, outcome, os.unlink, "dir/file"), wanted, f"wx of {digit}")
        if wanted == "done":
            os.rmdir("dir/new")
            write("dir/file")


@claim
def root_may_all_but_run_what_nobody_may():
    file_of_team(0)
    same(grants("file"), 6)
    os.close(os.open("file", os.O_RDWR))
    os.chmod("file", 0o001)
    same(grants("file"), 7)


@claim_all({"chmod": lambda: os.chmod("file", 0o777), "utimensat": lambda: os.utime("file", (1, 1)),
            "chown": lambda: os.chown("file", *OTHER[:2]), "chgrp": lambda: os.chown("file", -1, TEAM)})
def only_the_owner_changes_attributes(call):
    file_of_team(0o666)
    before = os.stat("file")
    refused(errno.EPERM, by, OTHER, call)
    refused(errno.EPERM, by, MEMBER, call)
    after = os.stat("file")
    same((after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns),
         (before.st_mode, before.st_uid, before.st_gid, before.st_mtime_ns))


@claim
def the_owner_changes_mode_and_times_without_any_right_to_the_file():
    file_of_team(0)
    by(OWNER, os.utime, "file", (1, 2))
    by(OWNER, os.chmod, "file", 0o640)
    same(os.stat("file").st_mode & 0o777, 0o640)
    same(os.stat("file").st_mtime, 2)


@claim
def an_owner_gives_a_file_to_his_groups_only_and_to_nobody():
    write("file")
    owned("file", OWNER)
    by(OWNER, os.chown, "file", -1, TEAM)
    same(os.stat("file").st_gid, TEAM)
    refused(errno.EPERM, by, OWNER, os.chown, "file", -1, 99)
    refused(errno.EPERM, by, OWNER, os.chown, "file", OTHER[0], -1)
    by(OWNER, os.chown, "file", OWNER[0], OWNER[1])
    same((os.stat("file").st_uid, os.stat("file").st_gid), OWNER[:2])


@claim
def the_time_of_now_can_be_set_by_who_may_write():
    file_of_team(0o664)
    by(MEMBER, os.utime, "file")
    refused(errno.EPERM, by, MEMBER, os.utime, "file", (1, 1))
    refused(errno.EACCES, by, OTHER, os.utime, "file")


@claim
def access_asks_for_the_real_user_and_at_eaccess_for_the_effective_one():
    file_of_team(0o600)

    def act():
        os.setgroups([])
        os.setresuid(OTHER[0], OWNER[0], OWNER[0])
        return (outcome(libc, "access", "file", os.R_OK),
                outcome(libc, "faccessat", AT_FDCWD, "file", os.R_OK, AT_EACCESS),
                outcome(os.open, "file", os.O_RDONLY))
    same(in_child(act), ("EACCES", "done", "done"))


@claim
def access_refuses_what_is_no_mode_and_tells_of_what_is_there():
    write("file", mode=0)
    same(os.access("file", os.F_OK), True)
    refused(errno.EINVAL, libc, "access", "file", 8)


@claim
def supplementary_groups_count():
    file_of_team(0o040)
    same(by((3003, 3003, [5, 6, TEAM]), outcome, os.open, "file", os.O_RDONLY), "done")
    same(by((3003, 3003, [5, 6]), outcome, os.open, "file", os.O_RDONLY), "EACCES")


@claim
def a_write_needs_the_right_to_open_and_no_more():
    file_of_team(0o222)

    def act():
        fd = os.open("file", os.O_WRONLY)
        os.write(fd, b"yes")
        os.ftruncate(fd, 2)
        refused(errno.EACCES, os.open, "file", os.O_RDONLY)
    by(OTHER, act)
    same(os.stat("file").st_size, 2)


@claim
def truncate_needs_the_right_to_write():
    file_of_team(0o444)
    refused(errno.EACCES, by, OTHER, os.truncate, "file", 0)
    same(os.stat("file").st_size, 1)
