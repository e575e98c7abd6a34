"""Set-user-id, set-group-id: who may set them, what clears them, what hands them on."""
import os

from claims import (KEEP_SIZE, MEMBER, OTHER, OWNER, PUNCH_HOLE, TEAM, by, claim, claim_all,
                    fallocate, mode_of, owned, same, write)


def open_file(path="file"):
    return os.open(path, os.O_RDWR)


def store():
    import mmap
    with mmap.mmap(open_file(), 0) as area:
        area[0:1] = b"y"
        area.flush()


WRITES = {
    "write": lambda: os.write(open_file(), b"y"),
    "pwritev": lambda: os.pwritev(open_file(), [b"y"], 0),
    "append": lambda: os.write(os.open("file", os.O_WRONLY | os.O_APPEND), b"y"),
    "truncate": lambda: os.truncate("file", 10),
    "ftruncate to grow": lambda: os.ftruncate(open_file(), 10_000),
    "O_TRUNC": lambda: os.close(os.open("file", os.O_WRONLY | os.O_TRUNC)),
    "copy_file_range": lambda: os.copy_file_range(os.open("source", os.O_RDONLY), open_file(), 10),
    "splice": lambda: splice_into(open_file()),
    "fallocate": lambda: fallocate(open_file(), 0, 0, 10_000),
    "punch": lambda: fallocate(open_file(), PUNCH_HOLE | KEEP_SIZE, 0, 10),
}


def splice_into(fd):
    come, go = os.pipe()
    os.write(go, b"y")
    os.splice(come, fd, 1, offset_dst=0)


@claim_all({f"{name}, {mode:04o}": (call, mode) for name, call in WRITES.items()
            for mode in (0o4777, 0o2777, 0o6777)})
def a_write_by_another_clears_them(call, mode):
    write("source", b"x" * 100)
    write("file", b"x" * 5000)
    owned("file", OWNER, TEAM, mode)
    by(OTHER, call)
    same(f"{mode_of('file'):04o}", "0777")


@claim_all(WRITES)
def a_write_by_the_owner_clears_them_too(call):
    write("source", b"x" * 100)
    write("file", b"x" * 5000)
    owned("file", OWNER, OWNER[1], 0o6755)
    by(OWNER, call)
    same(f"{mode_of('file'):04o}", "0755")


@claim
def a_write_by_root_keeps_them():
    write("file", b"x")
    owned("file", OWNER, TEAM, 0o6755)
    os.write(open_file(), b"y")
    same(f"{mode_of('file'):04o}", "6755")


@claim
def set_group_id_without_group_execution_stays_after_a_write():
    """It once meant mandatory locks. The owner is of the group, so that he may keep it."""
    write("file", b"x")
    owned("file", OWNER, TEAM, 0o2644)
    by(OWNER, os.write, os.open("file", os.O_RDWR), b"y")
    same(f"{mode_of('file'):04o}", "2644")


@claim
def a_read_and_a_write_of_nothing_keep_them():
    write("file", b"x")
    owned("file", OWNER, TEAM, 0o6777)
    by(OTHER, lambda: (os.read(open_file(), 1), os.write(open_file(), b"")))
    same(f"{mode_of('file'):04o}", "6777")


@claim_all({"owner": (OWNER, lambda: os.chown("file", -1, TEAM)),
            "owner, to what it is": (OWNER, lambda: os.chown("file", OWNER[0], OWNER[1])),
            "owner, naming nobody": (OWNER, lambda: os.chown("file", -1, -1))})
def a_change_of_owner_by_a_user_clears_them(user, call):
    write("file", b"x")
    owned("file", OWNER, OWNER[1], 0o6755)
    by(user, call)
    same(f"{mode_of('file'):04o}", "0755")


@claim
def a_change_of_owner_by_root_clears_them_of_a_program():
    write("file", b"x")
    os.chmod("file", 0o6755)
    os.chown("file", 5, 6)
    same(f"{mode_of('file'):04o}", "0755")


@claim
def a_change_of_owner_keeps_those_of_a_directory():
    os.mkdir("dir")
    os.chmod("dir", 0o6755)
    os.chown("dir", 5, 6)
    same(f"{mode_of('dir'):04o}", "6755")


@claim
def chmod_by_who_is_not_of_the_group_drops_set_group_id():
    write("file")
    os.chown("file", OWNER[0], 99)
    by(OWNER, os.chmod, "file", 0o2755)
    same(f"{mode_of('file'):04o}", "0755")
    os.chown("file", OWNER[0], TEAM)
    by(OWNER, os.chmod, "file", 0o2755)
    same(f"{mode_of('file'):04o}", "2755")


@claim
def a_set_group_id_directory_hands_on_its_group():
    os.mkdir("dir")
    owned("dir", OWNER, TEAM, 0o2777)
    by(OTHER, write, "dir/file")
    by(OTHER, os.mkdir, "dir/sub")
    by(OTHER, os.symlink, "x", "dir/link")
    by(OTHER, os.mkfifo, "dir/fifo")
    for name in ("file", "sub", "link", "fifo"):
        same((os.lstat(f"dir/{name}").st_uid, os.lstat(f"dir/{name}").st_gid), (OTHER[0], TEAM), name)
    same(mode_of("dir/sub") & 0o2000, 0o2000)
    same(mode_of("dir/file") & 0o2000, 0)


@claim
def a_program_made_for_a_group_by_a_stranger_is_not_set_group_id():
    os.mkdir("dir")
    owned("dir", OWNER, TEAM, 0o2777)

    def make(path):
        os.umask(0)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o2775))
    by(OTHER, make, "dir/others")
    by(MEMBER, make, "dir/members")
    same((f"{mode_of('dir/others'):04o}", f"{mode_of('dir/members'):04o}"), ("0775", "2775"))


@claim
def a_rename_keeps_the_group_and_the_bits():
    os.mkdir("dir")
    owned("dir", OWNER, TEAM, 0o2777)
    write("file")
    owned("file", OWNER, OWNER[1], 0o6755)
    os.rename("file", "dir/file")
    same((os.stat("dir/file").st_gid, f"{mode_of('dir/file'):04o}"), (OWNER[1], "6755"))


@claim
def a_store_to_a_mapping_changes_no_mode():
    write("file", b"x" * 100)
    owned("file", OWNER, TEAM, 0o777)
    by(OTHER, store)
    same(f"{mode_of('file'):04o}", "0777")
