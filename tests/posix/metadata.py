"""stat, fstatat, statx, chmod, chown."""
import errno
import os
import stat
import time

from claims import (AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, OTHER, OWNER, TEAM, by, chmod_link, claim,
                    claim_all, holds, libc, mode_of, owned, refused, same, statx, write)

BTIME, BASIC = 0x800, 0x7ff


@claim
def stat_follows_a_link_and_lstat_does_not():
    write("file", b"12345")
    os.symlink("file", "link")
    same(os.stat("link").st_ino, os.stat("file").st_ino)
    same(os.stat("link").st_size, 5)
    holds(stat.S_ISLNK(os.lstat("link").st_mode), "lstat followed")
    holds(stat.S_ISLNK(os.stat("link", follow_symlinks=False).st_mode), "fstatat followed")


@claim
def fstat_by_path_and_by_descriptor_say_the_same():
    write("file", b"12345")
    fd = os.open("file", os.O_RDONLY)
    same(os.fstat(fd)[:9], os.stat("file")[:9])
    found = statx("", AT_EMPTY_PATH, fd=fd)
    wanted = os.stat("file")
    same((found.ino, found.size, found.mode, found.nlink, found.uid, found.gid),
         (wanted.st_ino, wanted.st_size, wanted.st_mode, wanted.st_nlink, 0, 0))


@claim
def statx_tells_all_basic_fields_and_refuses_bad_flags():
    write("file", b"12345")
    found = statx("file")
    same(found.mask & BASIC, BASIC)
    same(found.blocks, os.stat("file").st_blocks)
    refused(errno.EINVAL, statx, "file", 0x80000)
    refused(errno.EINVAL, statx, "file", 0, 0x80000000)


@claim
def statx_tells_the_time_of_birth():
    write("file")
    holds(statx("file", mask=BTIME | BASIC).mask & BTIME, "no time of birth")


@claim
def numbers_are_one_for_each_file_and_stay():
    numbers = {}
    for i in range(50):
        numbers[os.stat(write(f"f{i}")).st_ino] = i
    same(len(numbers), 50)
    for number, i in numbers.items():
        same(os.stat(f"f{i}").st_ino, number)
    same({os.stat(f"f{i}").st_dev for i in range(50)}, {os.stat(".").st_dev})


@claim
def the_size_of_a_file_is_what_was_written():
    write("file", b"x" * 70_001)
    same(os.stat("file").st_size, 70_001)
    holds(os.stat("file").st_blksize >= 512, "no preferred size of blocks")


@claim_all({f"{mode:04o}": mode for mode in (0, 0o1, 0o777, 0o640, 0o1755, 0o2755, 0o4711, 0o7777)})
def chmod_sets_exactly_the_mode(mode):
    write("file")
    os.mkdir("dir")
    fd = os.open("file", os.O_RDWR)
    os.chmod("file", mode)
    os.chmod("dir", mode)
    same((mode_of("file"), mode_of("dir")), (mode, mode))
    os.fchmod(fd, 0o600)
    os.fchmod(fd, mode)
    same(mode_of("file"), mode)
    holds(stat.S_ISREG(os.stat("file").st_mode) and stat.S_ISDIR(os.stat("dir").st_mode), "the type changed")


@claim
def chmod_follows_a_link_whose_own_mode_stays():
    write("file")
    os.symlink("file", "link")
    os.chmod("link", 0o600)
    same((mode_of("file"), mode_of("link")), (0o600, 0o777))
    refused(errno.EOPNOTSUPP, chmod_link, "link", 0o600)


@claim
def chown_sets_owner_and_group_and_minus_one_leaves_them():
    write("file")
    os.chown("file", 11, 12)
    os.chown("file", -1, 22)
    os.chown("file", 21, -1)
    found = os.stat("file")
    same((found.st_uid, found.st_gid), (21, 22))
    os.fchown(os.open("file", os.O_RDONLY), 31, 32)
    same((os.stat("file").st_uid, os.stat("file").st_gid), (31, 32))
    os.chown("file", 0xfffffffe, 0xfffffffe)
    same((os.stat("file").st_uid, os.stat("file").st_gid), (0xfffffffe, 0xfffffffe))


@claim
def lchown_changes_the_link_and_chown_its_target():
    write("file")
    os.symlink("file", "link")
    os.lchown("link", 5, 6)
    same((os.stat("file").st_uid, os.lstat("link").st_uid), (0, 5))
    os.chown("link", 7, 8)
    same((os.stat("file").st_uid, os.lstat("link").st_uid), (7, 5))


@claim
def changes_through_a_descriptor_reach_a_file_without_a_name():
    fd = os.open(write("file"), os.O_RDWR)
    os.unlink("file")
    os.fchmod(fd, 0o611)
    os.fchown(fd, 3, 4)
    found = os.fstat(fd)
    same((found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_nlink), (0o611, 3, 4, 0))


@claim
def bad_flags_are_einval():
    write("file")
    refused(errno.EINVAL, libc, "fchownat", -100, "file", -1, -1, 0x10)
    refused(errno.EINVAL, libc, "utimensat", -100, "file", None, 0x10)
    refused(errno.EINVAL, libc, "unlinkat", -100, "file", 0x10)
    same(AT_SYMLINK_NOFOLLOW, 0x100)


@claim
def new_times_are_between_before_and_after():
    before = time.time_ns() - 20_000_000
    write("file")
    os.mkdir("dir")
    os.symlink("x", "link")
    for name in ("file", "dir", "link"):
        found = os.lstat(name)
        for at in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns):
            holds(before <= at <= time.time_ns() + 1_000_000, f"{name}: {at} is not now")


@claim
def a_new_file_in_a_directory_of_a_team_has_the_maker_s_group():
    os.mkdir("dir")
    owned("dir", OWNER, TEAM, 0o777)
    by(OTHER, write, "dir/file")
    same(os.stat("dir/file").st_gid, OTHER[1])
