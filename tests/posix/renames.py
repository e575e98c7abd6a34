"""rename and renameat2."""
import errno
import os

from claims import (EXCHANGE, NOREPLACE, OTHER, OWNER, WHITEOUT, by, claim, claim_all, mode_of,
                    moved, names, outcome, owned, read, refused, renameat2, same, times_of, write)


def nothing(_):
    pass


def full_directory(path):
    os.mkdir(path)
    write(f"{path}/inside")


SOURCES = {"file": write, "empty directory": os.mkdir, "full directory": full_directory,
           "link": lambda path: os.symlink("nowhere", path), "fifo": os.mkfifo}
TARGETS = {"nothing": nothing, **SOURCES}


def due(source, target):
    """What rename(2) says of the two kinds."""
    if target == "nothing":
        return "done"
    if "directory" in source:
        return {"empty directory": "done", "full directory": "ENOTEMPTY"}.get(target, "ENOTDIR")
    return "EISDIR" if "directory" in target else "done"


@claim_all({f"{source} to {target}": (source, target) for source in SOURCES for target in TARGETS})
def rename_replaces_like_by_like_only(source, target):
    SOURCES[source]("old")
    TARGETS[target]("new")
    number = os.lstat("old").st_ino
    before = names()
    found = outcome(os.rename, "old", "new")
    wanted = due(source, target)
    same("EEXIST or ENOTEMPTY" if found == "EEXIST" and wanted == "ENOTEMPTY" else found, wanted)
    if found == "done":
        same(names(), ["new"])
        same(os.lstat("new").st_ino, number)
    else:
        same(names(), before)
        same(os.lstat("old").st_ino, number)


@claim_all({f"{source} and {target}": (source, target) for source in SOURCES for target in SOURCES})
def exchange_swaps_whatever_they_are(source, target):
    os.mkdir("dir")
    SOURCES[source]("a")
    SOURCES[target]("dir/b")
    one, two = os.lstat("a").st_ino, os.lstat("dir/b").st_ino
    renameat2("a", "dir/b", EXCHANGE)
    same((os.lstat("a").st_ino, os.lstat("dir/b").st_ino), (two, one))
    if "directory" in source:
        same(os.stat("dir/b/..").st_ino, os.stat("dir").st_ino)
    os.rename("a", "c")
    same(names(), ["c", "dir"])


@claim_all(SOURCES)
def noreplace_refuses_what_is_there(make):
    write("a", b"a")
    make("b")
    refused(errno.EEXIST, renameat2, "a", "b", NOREPLACE)
    same(names(), ["a", "b"])
    renameat2("a", "c", NOREPLACE)
    same(names(), ["b", "c"])
    refused(errno.EEXIST, renameat2, "b", "b", NOREPLACE)


@claim
def exchange_needs_both():
    write("a")
    refused(errno.ENOENT, renameat2, "a", "no", EXCHANGE)
    refused(errno.ENOENT, renameat2, "no", "a", EXCHANGE)
    same(names(), ["a"])


@claim
def flags_that_exclude_each_other_are_einval():
    write("a")
    write("b")
    refused(errno.EINVAL, renameat2, "a", "b", NOREPLACE | EXCHANGE)
    refused(errno.EINVAL, renameat2, "a", "b", WHITEOUT | EXCHANGE)
    refused(errno.EINVAL, renameat2, "a", "b", 0x80)


@claim
def a_directory_does_not_move_below_itself():
    os.makedirs("a/b/c")
    refused(errno.EINVAL, os.rename, "a", "a/new")
    refused(errno.EINVAL, os.rename, "a", "a/b/c/new")
    refused(errno.EINVAL, renameat2, "a", "a/b/c", EXCHANGE)
    refused((errno.ENOTEMPTY, errno.EINVAL), os.rename, "a/b/c", "a")
    refused(errno.EINVAL, renameat2, "a/b/c", "a", EXCHANGE)


@claim
def dot_and_dot_dot_can_not_be_renamed():
    os.mkdir("dir")
    for name in ("dir/.", "dir/.."):
        refused((errno.EBUSY, errno.EINVAL), os.rename, name, "new")
        refused((errno.EBUSY, errno.EINVAL), os.rename, "dir", name)
    same(names(), ["dir"])


@claim
def rename_of_two_names_of_one_file_does_nothing():
    write("a", b"x")
    os.link("a", "b")
    same(moved(["."], os.rename, "a", "b"), [""])
    os.rename("a", "a")
    same(names(), ["a", "b"])
    same(os.stat("a").st_nlink, 2)


@claim
def a_replaced_file_lives_until_its_last_close():
    write("a", b"new")
    write("b", b"old")
    os.link("b", "c")
    fd = os.open("b", os.O_RDONLY)
    os.rename("a", "b")
    same((os.read(fd, 9), read("b"), os.fstat(fd).st_nlink), (b"old", b"new", 1))
    os.unlink("c")
    same(os.fstat(fd).st_nlink, 0)


@claim
def a_replaced_directory_lives_until_its_last_close():
    os.mkdir("a")
    os.mkdir("b")
    fd = os.open("b", os.O_RDONLY)
    os.rename("a", "b")
    same((os.listdir(fd), os.fstat(fd).st_nlink), ([], 0))
    refused(errno.ENOENT, os.mkdir, "x", dir_fd=fd)


@claim
def rename_changes_nothing_of_the_file_but_its_name():
    write("a", b"content", mode=0o640)
    os.chown("a", 7, 8)
    os.utime("a", ns=(10**18, 10**18 + 1))
    before = os.stat("a")
    os.mkdir("dir")
    os.rename("a", "dir/b")
    after = os.stat("dir/b")
    for field in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_mtime_ns"):
        same(getattr(after, field), getattr(before, field), field)
    same(read("dir/b"), b"content")


@claim
def a_directory_moves_with_all_below_it():
    os.makedirs("a/b/c")
    write("a/b/c/file", b"x")
    os.mkdir("other")
    fd = os.open("a/b", os.O_RDONLY)
    os.rename("a/b", "other/moved")
    same(read("other/moved/c/file"), b"x")
    same(os.stat("other/moved/..").st_ino, os.stat("other").st_ino)
    os.mkdir("new", dir_fd=fd)
    same(names("other/moved"), ["c", "new"])


@claim
def a_link_is_renamed_and_replaced_itself():
    write("file", b"x")
    os.symlink("file", "link")
    os.rename("link", "moved")
    same(os.readlink("moved"), "file")
    write("new", b"new")
    os.rename("new", "moved")
    same((read("moved"), read("file")), (b"new", b"x"))


@claim
def a_directory_of_another_needs_write_permission_to_move_elsewhere():
    """Its ".." changes, which is a write to it."""
    os.makedirs("from/dir")
    os.mkdir("to")
    os.chmod("from", 0o777)
    os.chmod("to", 0o777)
    owned("from/dir", OWNER, mode=0o555)
    refused(errno.EACCES, by, OTHER, os.rename, "from/dir", "to/dir")
    by(OTHER, os.rename, "from/dir", "from/same")
    os.chmod("from/same", 0o777)
    by(OTHER, os.rename, "from/same", "to/dir")
    same(names("to"), ["dir"])


@claim
def both_directories_have_to_be_writable():
    os.mkdir("mine")
    os.mkdir("others")
    owned("mine", OTHER)
    write("mine/a")
    write("others/b")
    for old, new in (("mine/a", "others/new"), ("others/b", "mine/new"), ("mine/a", "others/b")):
        refused(errno.EACCES, by, OTHER, os.rename, old, new)
    refused(errno.EACCES, by, OTHER, renameat2, "mine/a", "others/b", EXCHANGE)
    same((names("mine"), names("others")), (["a"], ["b"]))


@claim
def a_failed_rename_moves_no_time():
    os.mkdir("a")
    full_directory("b")
    before = [times_of(path)[1:] for path in (".", "a", "b")]
    refused((errno.ENOTEMPTY, errno.EEXIST), os.rename, "a", "b")
    same([times_of(path)[1:] for path in (".", "a", "b")], before)


@claim
def one_of_many_renames_to_one_name_wins_and_readers_always_find_it():
    write("target", b"%06d" % 0)
    pids = []
    for who in range(3):
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                for i in range(100):
                    write(f"own{who}", b"%06d" % i)
                    os.rename(f"own{who}", "target")
            except OSError:
                code = 1
            os._exit(code)
        pids.append(pid)
    for _ in range(200):
        same(len(read("target")), 6)
    same([os.waitpid(pid, 0)[1] for pid in pids], [0] * 3)
    same(names(), ["target"])
    same((os.stat("target").st_nlink, mode_of("target")), (1, 0o644))
