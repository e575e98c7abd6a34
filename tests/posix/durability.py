"""fsync, fdatasync, syncfs, sync_file_range: what can be asked for, and of what. That it
holds is proved where the power is cut, not here."""
import errno
import os

from claims import claim, claim_all, libc, read, refused, same, write

SYNCS = {"fsync": os.fsync, "fdatasync": os.fdatasync, "syncfs": lambda fd: libc("syncfs", fd)}


@claim_all(SYNCS)
def files_and_directories_can_be_synced(call):
    os.mkdir("dir")
    write("dir/file", b"x" * 100_000)
    for path, flags in (("dir/file", os.O_RDWR), ("dir/file", os.O_RDONLY),
                        ("dir/file", os.O_WRONLY), ("dir", os.O_RDONLY)):
        call(os.open(path, flags))
    same(read("dir/file"), b"x" * 100_000)


@claim_all(SYNCS)
def a_file_and_a_directory_without_a_name_can_be_synced(call):
    fd = os.open("file", os.O_CREAT | os.O_RDWR, 0o644)
    os.mkdir("dir")
    folder = os.open("dir", os.O_RDONLY)
    os.unlink("file")
    os.rmdir("dir")
    os.write(fd, b"x")
    call(fd)
    call(folder)


@claim_all({"fsync": os.fsync, "fdatasync": os.fdatasync})
def a_pipe_is_einval_and_no_descriptor_is_ebadf(call):
    come, go = os.pipe()
    refused(errno.EINVAL, call, come)
    refused(errno.EINVAL, call, go)
    refused(errno.EBADF, call, 999)


@claim
def sync_file_range_is_taken():
    fd = os.open(write("file", b"x" * 100_000), os.O_RDWR)
    libc("sync_file_range", fd, 0, 50_000, 7)
    same(read("file"), b"x" * 100_000)


@claim
def sync_returns():
    write("file", b"x")
    os.sync()
    same(read("file"), b"x")
