"""fallocate in each of its modes, holes, copy_file_range, st_blocks, statfs."""
import errno
import os

from claims import (COLLAPSE, INSERT, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, claim, claim_all,
                    fallocate, holds, moved, read, refused, same, write)

PUNCH = PUNCH_HOLE | KEEP_SIZE
ZERO_KEEP = ZERO_RANGE | KEEP_SIZE
DATA = bytes(range(1, 251)) * 400       # 100,000 bytes, none of them 0
RANGES = {"within a page": (100, 50), "a page": (4096, 4096), "two blocks": (8192, 16384),
          "across pages": (5000, 9000), "from the start": (0, 70_000), "to the end": (90_000, 10_000),
          "across the end": (90_000, 50_000), "behind the end": (120_000, 10_000),
          "all": (0, 100_000)}


def opened(data=DATA, flags=os.O_RDWR):
    return os.open(write("file", data), flags)


def zeroed(offset, size, end=len(DATA)):
    """DATA with zeros in a range, cut or grown to @end."""
    model = bytearray(DATA.ljust(end, b"\0"))
    size = max(0, min(size, end - offset))
    model[offset:offset + size] = b"\0" * size
    return bytes(model)


# ---- fallocate ----

@claim_all(RANGES)
def fallocate_keeps_the_bytes_and_grows_the_file(offset, size):
    fd = opened()
    fallocate(fd, 0, offset, size)
    same(read("file"), DATA.ljust(offset + size, b"\0"))


@claim_all(RANGES)
def fallocate_with_keep_size_changes_no_byte_and_no_size(offset, size):
    fd = opened()
    fallocate(fd, KEEP_SIZE, offset, size)
    same(read("file"), DATA)


@claim_all(RANGES)
def a_punched_hole_is_zeros_and_the_size_stays(offset, size):
    fd = opened()
    fallocate(fd, PUNCH, offset, size)
    same(read("file"), zeroed(offset, size))


@claim_all(RANGES)
def a_zeroed_range_is_zeros_and_the_file_grows_to_hold_it(offset, size):
    fd = opened()
    fallocate(fd, ZERO_RANGE, offset, size)
    same(read("file"), zeroed(offset, size, max(len(DATA), offset + size)))


@claim_all(RANGES)
def a_zeroed_range_with_keep_size_is_zeros_and_the_size_stays(offset, size):
    fd = opened()
    fallocate(fd, ZERO_KEEP, offset, size)
    same(read("file"), zeroed(offset, size))


@claim_all({"punch": PUNCH, "zero": ZERO_RANGE, "zero, keep size": ZERO_KEEP})
def a_hole_takes_writes_again(mode):
    fd = opened()
    fallocate(fd, mode, 4000, 20_000)
    os.pwrite(fd, b"again", 10_000)
    model = bytearray(zeroed(4000, 20_000))
    model[10_000:10_005] = b"again"
    same(read("file"), bytes(model))
    os.ftruncate(fd, 10_003)
    os.ftruncate(fd, 50_000)
    same(read("file"), bytes(model[:10_003]).ljust(50_000, b"\0"))


@claim_all({"punch": PUNCH, "zero": ZERO_RANGE})
def a_hole_is_seen_through_a_mapping_and_by_o_direct(mode):
    import mmap
    fd = opened()
    area = mmap.mmap(fd, 0)
    same(area[5000], DATA[5000])
    area[6000:6005] = b"dirty"
    fallocate(fd, mode, 4096, 8192)
    same(area[4095:4100], DATA[4095:4096] + b"\0" * 4)
    same(area[6000:6005], b"\0" * 5)
    came = mmap.mmap(-1, 8192)
    same(os.preadv(os.open("file", os.O_RDONLY | os.O_DIRECT), [came], 4096), 8192)
    same(came[:], b"\0" * 8192)


@claim
def posix_fallocate_grows_the_file():
    fd = opened(b"x")
    os.posix_fallocate(fd, 0, 20_000)
    same(read("file"), b"x" + b"\0" * 19_999)


@claim_all({"collapse": COLLAPSE, "insert": INSERT})
def a_range_is_collapsed_and_inserted_or_eopnotsupp(mode):
    fd = opened(DATA[:65536])
    try:
        fallocate(fd, mode, 8192, 8192)
    except OSError as error:
        same(error.errno, errno.EOPNOTSUPP)
        same(read("file"), DATA[:65536])
        return
    same(read("file"), DATA[:8192] + (DATA[16384:65536] if mode == COLLAPSE else
                                      b"\0" * 8192 + DATA[8192:65536]))


@claim_all({"plain": 0, "keep size": KEEP_SIZE, "punch": PUNCH, "zero": ZERO_RANGE})
def ranges_that_are_none_are_einval(mode):
    fd = opened()
    refused(errno.EINVAL, fallocate, fd, mode, 0, 0)
    refused(errno.EINVAL, fallocate, fd, mode, -1, 10)
    refused(errno.EINVAL, fallocate, fd, mode, 0, -1)
    refused(errno.EFBIG, fallocate, fd, mode, 1 << 62, (1 << 62) + 1)
    same(read("file"), DATA)


@claim
def modes_that_are_none_are_einval_or_eopnotsupp():
    fd = opened()
    for mode in (PUNCH_HOLE, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0x8000):
        refused((errno.EOPNOTSUPP, errno.EINVAL), fallocate, fd, mode, 0, 10)
    same(read("file"), DATA)


@claim_all({"plain": 0, "punch": PUNCH, "zero": ZERO_RANGE})
def fallocate_of_what_is_no_writable_file_is_refused(mode):
    fd = opened(flags=os.O_RDONLY)
    refused(errno.EBADF, fallocate, fd, mode, 0, 10)
    os.mkdir("dir")
    refused((errno.EISDIR, errno.EBADF), fallocate, os.open("dir", os.O_RDONLY), mode, 0, 10)
    come, go = os.pipe()
    refused(errno.ESPIPE, fallocate, go, mode, 0, 10)
    os.close(come)


@claim_all({"grow": (0, 90_000, 50_000), "punch": (PUNCH, 4096, 4096),
            "zero": (ZERO_RANGE, 4096, 4096)})
def fallocate_moves_mtime_and_ctime(mode, offset, size):
    fd = opened()
    same(moved(["file"], fallocate, fd, mode, offset, size), ["mc"])


@claim_all({"plain": 0, "punch": PUNCH, "zero": ZERO_RANGE})
def fallocate_works_on_a_file_without_a_name(mode):
    fd = opened()
    os.unlink("file")
    fallocate(fd, mode, 4096, 8192)
    same(os.pread(fd, 200_000, 0), DATA if mode == 0 else zeroed(4096, 8192))


# ---- holes ----

def segments(fd):
    """The file's data, by SEEK_DATA and SEEK_HOLE: (start, end) each."""
    found, at, end = [], 0, os.fstat(fd).st_size
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            same(error.errno, errno.ENXIO)
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        holds(start < at <= end, f"data from {start} to {at} of {end}")
        found.append((start, at))
    return found


@claim
def a_full_file_is_one_piece_of_data_and_a_hole_at_its_end():
    fd = opened()
    same(os.lseek(fd, 10, os.SEEK_DATA), 10)
    same(os.lseek(fd, 10, os.SEEK_HOLE), len(DATA))
    same(segments(fd), [(0, len(DATA))])


@claim
def seeking_at_or_behind_the_end_is_enxio():
    fd = opened()
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        refused(errno.ENXIO, os.lseek, fd, len(DATA), whence)
        refused(errno.ENXIO, os.lseek, fd, len(DATA) + 1, whence)
        refused((errno.ENXIO, errno.EINVAL), os.lseek, fd, -1, whence)
    refused(errno.ENXIO, os.lseek, opened(b""), 0, os.SEEK_DATA)


@claim
def what_was_never_written_is_a_hole():
    fd = opened(b"")
    os.ftruncate(fd, 10 << 20)
    refused(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
    same(os.lseek(fd, 5, os.SEEK_HOLE), 5)
    os.pwrite(fd, b"x" * 65536, 1 << 20)
    os.pwrite(fd, b"x" * 65536, 5 << 20)
    same(segments(fd), [(1 << 20, (1 << 20) + 65536), (5 << 20, (5 << 20) + 65536)])
    same(os.lseek(fd, 2 << 20, os.SEEK_DATA), 5 << 20)
    same(os.lseek(fd, (1 << 20) + 10, os.SEEK_HOLE), (1 << 20) + 65536)


@claim
def what_was_punched_is_a_hole():
    fd = opened(b"x" * (1 << 20))
    fallocate(fd, PUNCH, 1 << 18, 1 << 18)
    same(segments(fd), [(0, 1 << 18), (1 << 19, 1 << 20)])


@claim
def what_was_cut_and_grown_again_is_a_hole():
    fd = opened(b"x" * (1 << 20))
    os.ftruncate(fd, 1 << 18)
    os.ftruncate(fd, 1 << 20)
    same(segments(fd), [(0, 1 << 18)])


@claim
def data_in_a_mapping_is_no_hole():
    import mmap
    fd = opened(b"")
    os.ftruncate(fd, 1 << 20)
    area = mmap.mmap(fd, 0)
    area[1 << 19] = 1
    at = os.lseek(fd, 0, os.SEEK_DATA)
    holds(at <= 1 << 19 and os.lseek(fd, at, os.SEEK_HOLE) > 1 << 19,
          "a byte that was stored lies in a hole")


@claim
def no_byte_lies_in_a_hole():
    """Whatever the granularity: between the pieces of data there are only zeros."""
    import random
    fd = opened(b"")
    model = bytearray(400_000)
    os.ftruncate(fd, len(model))
    for _ in range(30):
        offset = random.randrange(len(model) - 5000)
        piece = os.urandom(random.choice((1, 100, 4096)))
        os.pwrite(fd, piece, offset)
        model[offset:offset + len(piece)] = piece
        seen = bytearray(len(model))
        for start, end in segments(fd):
            seen[start:end] = os.pread(fd, end - start, start)
        same(bytes(seen), bytes(model))


# ---- copy_file_range ----

def two_files(data=DATA, into=b""):
    write("to", into)
    return opened(data, os.O_RDONLY), os.open("to", os.O_RDWR)


def copy_all(source, target, size, at, to):
    """Copy until all is there or nothing comes; the number of bytes."""
    done = 0
    while done < size:
        count = os.copy_file_range(source, target, size - done, at + done, to + done)
        if count == 0:
            break
        done += count
    return done


@claim_all({"all": (0, 100_000, 0), "blocks": (8192, 65536, 16384), "bytes": (33, 5000, 77),
            "across the end": (95_000, 20_000, 0), "nothing": (100_000, 10, 0),
            "behind the target's end": (10, 100, 200_000)})
def copy_file_range_copies(at, size, to):
    source, target = two_files(into=b"y" * 20_000)
    piece = DATA[at:at + size]
    same(copy_all(source, target, size, at, to), len(piece))
    model = bytearray(b"y" * 20_000)
    if piece:
        model.extend(b"\0" * (to + len(piece) - len(model)))
        model[to:to + len(piece)] = piece
    same(read("to"), bytes(model))
    same(read("file"), DATA)


@claim
def copy_file_range_moves_offsets_that_are_not_given():
    source, target = two_files()
    os.lseek(source, 10, os.SEEK_SET)
    same(os.copy_file_range(source, target, 100), 100)
    same((os.lseek(source, 0, os.SEEK_CUR), os.lseek(target, 0, os.SEEK_CUR)), (110, 100))
    os.copy_file_range(source, target, 5, 0, 0)
    same((os.lseek(source, 0, os.SEEK_CUR), os.lseek(target, 0, os.SEEK_CUR)), (110, 100))


@claim
def copy_file_range_within_one_file_is_refused_where_it_overlaps():
    fd = opened()
    refused(errno.EINVAL, os.copy_file_range, fd, fd, 10_000, 0, 5_000)
    same(copy_all(fd, fd, 20_000, 0, 70_000), 20_000)
    same(read("file"), DATA[:70_000] + DATA[:20_000] + DATA[90_000:])


@claim
def copy_file_range_sees_what_a_mapping_holds():
    import mmap
    source, target = two_files()
    area = mmap.mmap(os.open("file", os.O_RDWR), 0)
    area[100:105] = b"store"
    copy_all(source, target, 1000, 0, 0)
    same(read("to")[98:107], DATA[98:100] + b"store" + DATA[105:107])


@claim
def copy_file_range_is_refused_as_its_manual_says():
    source, target = two_files()
    refused(errno.EBADF, os.copy_file_range, target, source, 10)
    refused(errno.EBADF, os.copy_file_range, source,
            os.open("to", os.O_WRONLY | os.O_APPEND), 10)
    os.mkdir("dir")
    refused(errno.EISDIR, os.copy_file_range, os.open("dir", os.O_RDONLY), target, 10)
    os.mkfifo("fifo")
    refused(errno.EINVAL, os.copy_file_range, os.open("fifo", os.O_RDWR), target, 10)


@claim
def copy_file_range_moves_the_times_of_the_target_only():
    source, target = two_files()
    same(moved(["file", "to"], os.copy_file_range, source, target, 1000), ["", "mc"])


# ---- what is taken and what is free ----

@claim
def a_hole_takes_no_blocks():
    fd = opened(b"x")
    os.ftruncate(fd, 1 << 30)
    os.fsync(fd)
    holds(os.fstat(fd).st_blocks * 512 <= 1 << 20, f"{os.fstat(fd).st_blocks} blocks for a byte")


@claim
def data_takes_blocks_and_a_punched_hole_gives_them_back():
    fd = opened(os.urandom(1 << 20))
    os.fsync(fd)
    full = os.fstat(fd).st_blocks * 512
    holds(1 << 20 <= full <= (1 << 20) + 65536, f"{full} bytes of blocks for a mebibyte")
    fallocate(fd, PUNCH, 0, 1 << 19)
    os.fsync(fd)
    half = os.fstat(fd).st_blocks * 512
    holds(half <= (1 << 19) + 65536, f"{half} bytes of blocks for half a mebibyte")
    os.ftruncate(fd, 0)
    os.fsync(fd)
    holds(os.fstat(fd).st_blocks * 512 <= 65536, "an empty file has blocks")


@claim
def statfs_says_the_same_of_all_paths_and_is_consistent():
    fd = opened()
    os.mkdir("dir")
    for found in (os.statvfs("file"), os.statvfs("dir"), os.fstatvfs(fd)):
        same(found.f_namemax, 255)
        holds(0 < found.f_bavail <= found.f_bfree <= found.f_blocks, "blocks: free <= all")
        holds(found.f_ffree <= found.f_files, "inodes: free <= all")
        holds(found.f_frsize > 0 and found.f_bsize >= 512, "sizes of blocks")
