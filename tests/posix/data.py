"""read, write and their kin, lseek, truncate: a file is its bytes."""
import errno
import os
import resource
import signal

from claims import claim, claim_all, in_child, moved, read, refused, same, write

EDGES = (0, 1, 511, 512, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 131_073)


def opened(data=b"", flags=os.O_RDWR):
    return os.open(write("file", data), flags)


@claim_all({f"at {offset}": offset for offset in EDGES})
def what_is_written_is_read_back(offset):
    model = bytearray(os.urandom(140_000))
    fd = opened(bytes(model))
    for size in (1, 100, 4096, 5000):
        piece = os.urandom(size)
        same(os.pwrite(fd, piece, offset), size)
        model[offset:offset + size] = piece
        same(os.pread(fd, size, offset), piece)
        same(read("file"), bytes(model))


@claim_all({"read": lambda fd: os.read(fd, 10), "pread": lambda fd: os.pread(fd, 10, 100),
            "readv": lambda fd: b"" if os.readv(fd, [bytearray(5)]) == 0 else b"x"})
def reading_at_or_behind_the_end_gives_nothing(call):
    fd = opened(b"0123456789")
    os.lseek(fd, 10, os.SEEK_SET)
    same(call(fd), b"")


@claim
def a_read_across_the_end_is_cut_there():
    fd = opened(b"0123456789")
    same(os.pread(fd, 100, 7), b"789")


@claim
def a_write_behind_the_end_leaves_zeros_between():
    fd = opened(b"0123456789")
    os.pwrite(fd, b"end", 70_000)
    same(read("file"), b"0123456789" + b"\0" * 69_990 + b"end")


@claim
def a_write_of_no_bytes_changes_nothing():
    fd = opened(b"0123456789")
    same(os.pwrite(fd, b"", 1000), 0)
    same(os.stat("file").st_size, 10)
    same(moved(["file"], os.write, fd, b""), [""])


@claim
def readv_and_writev_go_through_all_their_buffers():
    fd = opened()
    same(os.writev(fd, [b"one", b"", b"two" * 5000, b"three"]), 3 + 15_000 + 5)
    same(read("file"), b"one" + b"two" * 5000 + b"three")
    parts = [bytearray(3), bytearray(15_000), bytearray(100)]
    os.lseek(fd, 0, os.SEEK_SET)
    same(os.readv(fd, parts), 15_008)
    same((bytes(parts[0]), bytes(parts[2][:5])), (b"one", b"three"))
    same(os.pwritev(fd, [b"1", b"2"], 1), 2)
    same(os.pread(fd, 3, 0), b"o12")


@claim
def preadv2_with_rwf_append_and_nowait_work_or_are_eopnotsupp():
    fd = opened(b"start")
    try:
        os.pwritev(fd, [b"END"], 0, getattr(os, "RWF_APPEND", 0x10))
        same(read("file"), b"startEND")
    except OSError as error:
        same(error.errno, errno.EOPNOTSUPP)


@claim
def read_and_write_move_the_offset_and_pread_and_pwrite_do_not():
    fd = opened(b"0123456789")
    os.pread(fd, 5, 3)
    os.pwrite(fd, b"XX", 5)
    same(os.lseek(fd, 0, os.SEEK_CUR), 0)
    os.read(fd, 4)
    os.write(fd, b"Y")
    same(os.lseek(fd, 0, os.SEEK_CUR), 5)
    same(read("file"), b"0123YXX789")


@claim
def bad_descriptors_are_ebadf():
    write("file", b"x")
    for call in (lambda fd: os.read(fd, 1), lambda fd: os.write(fd, b"x"), os.fstat, os.fsync,
                 os.fdatasync, lambda fd: os.ftruncate(fd, 0), os.fstatvfs,
                 lambda fd: os.lseek(fd, 0, 0), lambda fd: os.fchmod(fd, 0), os.close):
        refused(errno.EBADF, call, 999)
    refused(errno.EBADF, os.pread, opened(b"x", os.O_WRONLY), 1, 0)
    refused(errno.EBADF, os.pwrite, opened(b"x", os.O_RDONLY), b"x", 0)


@claim
def a_directory_is_eisdir_to_read():
    os.mkdir("dir")
    fd = os.open("dir", os.O_RDONLY)
    refused(errno.EISDIR, os.read, fd, 1)
    refused(errno.EISDIR, os.pread, fd, 1, 0)
    refused(errno.EBADF, os.write, fd, b"x")


@claim
def negative_offsets_are_einval():
    fd = opened(b"x")
    refused(errno.EINVAL, os.pread, fd, 1, -1)
    refused(errno.EINVAL, os.pwrite, fd, b"x", -1)
    refused(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
    refused(errno.EINVAL, os.lseek, fd, -2, os.SEEK_END)
    refused(errno.EINVAL, os.lseek, fd, 0, 99)
    refused(errno.EINVAL, os.ftruncate, fd, -1)
    refused(errno.EINVAL, os.truncate, "file", -1)
    same(read("file"), b"x")


@claim
def lseek_goes_behind_the_end_and_changes_nothing():
    fd = opened(b"0123456789")
    same(os.lseek(fd, 1000, os.SEEK_SET), 1000)
    same(os.lseek(fd, 5, os.SEEK_CUR), 1005)
    same(os.lseek(fd, -1, os.SEEK_END), 9)
    same(os.stat("file").st_size, 10)
    same(os.read(fd, 5), b"9")


@claim_all({f"to {size}": size for size in EDGES})
def truncate_keeps_what_is_before_and_zeros_follow(size):
    data = os.urandom(100_000)
    fd = opened(data)
    os.ftruncate(fd, size)
    wanted = data[:size] + b"\0" * (size - len(data))
    same(os.fstat(fd).st_size, size)
    same(read("file"), wanted)
    os.truncate("file", 140_000)
    same(read("file"), data[:size] + b"\0" * (140_000 - len(data[:size])))


@claim
def bytes_behind_a_cut_do_not_come_back_by_a_write_beyond():
    fd = opened(b"\xff" * 50_000)
    os.ftruncate(fd, 4100)
    os.pwrite(fd, b"!", 49_999)
    same(read("file"), b"\xff" * 4100 + b"\0" * 45_899 + b"!")


@claim
def truncate_moves_no_offset():
    fd = opened(b"0123456789")
    os.lseek(fd, 8, os.SEEK_SET)
    os.ftruncate(fd, 4)
    same(os.lseek(fd, 0, os.SEEK_CUR), 8)
    os.write(fd, b"X")
    same(read("file"), b"0123\0\0\0\0X")


@claim
def truncate_of_a_directory_is_eisdir_and_of_a_read_only_descriptor_einval():
    os.mkdir("dir")
    refused(errno.EISDIR, os.truncate, "dir", 0)
    refused(errno.EINVAL, os.ftruncate, opened(b"x", os.O_RDONLY), 0)
    refused(errno.EINVAL, os.ftruncate, os.open("dir", os.O_RDONLY), 0)
    os.mkfifo("fifo")
    refused(errno.EINVAL, os.truncate, "fifo", 0)


@claim
def a_file_of_a_terabyte_is_only_a_size():
    fd = opened(b"start")
    os.ftruncate(fd, 1 << 40)
    os.pwrite(fd, b"end", (1 << 40) - 3)
    same(os.pread(fd, 10, (1 << 40) - 3), b"end")
    same(os.pread(fd, 10, 1 << 39), b"\0" * 10)
    same(os.pread(fd, 5, 0), b"start")
    os.ftruncate(fd, 3)
    same(read("file"), b"sta")


@claim
def the_largest_sizes_are_kept_or_efbig():
    """Each file system has its own largest; a byte behind 2^63 - 1 there is nowhere."""
    fd = opened(b"x")
    for bits in range(40, 64):
        try:
            os.ftruncate(fd, (1 << bits) - 1)
            same(os.fstat(fd).st_size, (1 << bits) - 1)
        except OSError as error:
            same(error.errno, errno.EFBIG)
    refused((errno.EFBIG, errno.EINVAL), os.pwrite, fd, b"x", (1 << 63) - 1)
    refused((errno.EFBIG, errno.EINVAL), os.pwrite, fd, b"xx", (1 << 63) - 2)
    os.ftruncate(fd, 1)
    same(read("file"), b"x")


@claim
def the_limit_of_a_file_s_size_is_efbig():
    def act():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        fd = opened(b"x" * 9_000)
        same(os.pwrite(fd, b"y" * 5_000, 9_000), 1_000)
        refused(errno.EFBIG, os.pwrite, fd, b"y", 10_000)
        refused(errno.EFBIG, os.ftruncate, fd, 10_001)
        refused(errno.EFBIG, os.posix_fallocate, fd, 0, 10_001)
        same(os.fstat(fd).st_size, 10_000)
    in_child(act)


@claim
def two_descriptors_see_each_other_s_writes_at_once():
    one, two = opened(), os.open("file", os.O_RDWR)
    for i in range(50):
        os.pwrite(one, b"%05d" % i, i * 3001)
        same(os.pread(two, 5, i * 3001), b"%05d" % i)
        same(os.fstat(two).st_size, i * 3001 + 5)
        os.ftruncate(two, i * 3001 + 2)
        same(os.pread(one, 9, i * 3001), b"%05d"[:0] + (b"%05d" % i)[:2])


@claim
def another_process_sees_a_write_once_it_returned():
    fd = opened()
    come, go = os.pipe()
    back_come, back_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        own = os.open("file", os.O_RDONLY)
        while os.read(come, 1):
            os.write(back_go, os.pread(own, 8, os.fstat(own).st_size - 8))
        os._exit(0)
    os.close(come)
    for i in range(50):
        os.write(fd, b"%08d" % i)
        os.write(go, b"!")
        same(os.read(back_come, 8), b"%08d" % i)
    os.close(go)
    os.waitpid(pid, 0)


@claim
def a_write_and_a_read_of_eight_mebibytes_are_whole():
    data = os.urandom(1 << 20) * 8
    fd = opened()
    same(os.write(fd, data), len(data))
    same(os.pread(fd, len(data) + 1, 0), data)


@claim
def sendfile_and_splice_copy_what_is_there():
    data = os.urandom(100_000)
    fd = opened(data)
    out = os.open("out", os.O_CREAT | os.O_RDWR, 0o644)
    sent = 0
    while sent < len(data):
        sent += os.sendfile(out, fd, sent, len(data) - sent)
    same(read("out"), data)
    come, go = os.pipe()
    same(os.splice(fd, go, 4000, offset_src=5), 4000)
    same(os.splice(come, out, 4000, offset_dst=100_000), 4000)
    same(read("out"), data + data[5:4005])


@claim
def advice_about_access_is_taken():
    fd = opened(b"x" * 100_000)
    for advice in (os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_RANDOM, os.POSIX_FADV_WILLNEED,
                   os.POSIX_FADV_DONTNEED, os.POSIX_FADV_NORMAL):
        os.posix_fadvise(fd, 0, 0, advice)
    same(os.pread(fd, 100_001, 0), b"x" * 100_000)
