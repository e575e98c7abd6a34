"""mmap, msync: what is mapped is the file."""
import errno
import mmap
import os
import signal

from claims import claim, in_child, moved, read, refused, same, write


def mapped(data, size=0, flags=mmap.MAP_SHARED, access=mmap.PROT_READ | mmap.PROT_WRITE):
    fd = os.open(write("file", data), os.O_RDWR)
    return fd, mmap.mmap(fd, size, flags, access)


@claim
def a_store_to_a_shared_mapping_is_read_at_once():
    fd, area = mapped(b"x" * 20_000)
    area[5000:5005] = b"store"
    same(os.pread(fd, 7, 4999), b"xstorex")
    same(read("file")[5000:5005], b"store")


@claim
def a_write_is_seen_in_a_mapping_at_once():
    fd, area = mapped(b"x" * 20_000)
    same(area[8190:8194], b"xxxx")
    os.pwrite(fd, b"write", 8190)
    same(area[8190:8195], b"write")


@claim
def two_mappings_are_one_file():
    fd, one = mapped(b"x" * 20_000)
    two = mmap.mmap(os.open("file", os.O_RDWR), 0)
    one[0:3] = b"one"
    two[3:6] = b"two"
    same((one[0:6], two[0:6], os.pread(fd, 6, 0)), (b"onetwo",) * 3)


@claim
def a_store_to_a_private_mapping_stays_private():
    fd, area = mapped(b"x" * 5000, flags=mmap.MAP_PRIVATE)
    area[0:5] = b"store"
    same(area[0:6], b"storex")
    same(os.pread(fd, 6, 0), b"xxxxxx")


@claim
def stores_outlive_the_mapping_and_the_descriptor():
    fd, area = mapped(b"x" * 20_000)
    os.close(fd)
    area[100:103] = b"end"
    area.close()
    same(read("file"), b"x" * 100 + b"end" + b"x" * 19_897)


@claim
def stores_survive_msync_and_leaving_the_page_cache():
    fd, area = mapped(b"x" * 100_000)
    for offset in range(0, 100_000, 5_000):
        area[offset:offset + 8] = b"%08d" % offset
    area.flush()
    os.fsync(fd)
    area.close()
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    data = read("file")
    same([data[o:o + 8] for o in range(0, 100_000, 5_000)],
         [b"%08d" % o for o in range(0, 100_000, 5_000)])
    same(len(data), 100_000)


@claim
def behind_the_end_of_a_page_there_are_zeros_that_reach_no_file():
    fd, area = mapped(b"x" * 8192)
    os.ftruncate(fd, 5000)
    same(area[5000:8192], b"\0" * 3192)
    area[5000:5004] = b"lost"
    area.flush()
    same(os.fstat(fd).st_size, 5000)
    os.ftruncate(fd, 8192)
    same(os.pread(fd, 10, 4998), b"xx" + b"\0" * 8)


@claim
def a_mapping_of_a_hole_reads_zeros_and_takes_stores():
    fd = os.open(write("file"), os.O_RDWR)
    os.ftruncate(fd, 1 << 20)
    area = mmap.mmap(fd, 1 << 20)
    same(area[500_000:500_010], b"\0" * 10)
    area[500_000:500_003] = b"set"
    area.flush()
    same(os.pread(fd, 5, 499_999), b"\0set\0")


@claim
def a_page_that_was_cut_off_is_sigbus():
    def act():
        fd, area = mapped(b"x" * 20_000)
        os.ftruncate(fd, 4096)
        same(area[0:1], b"x")
        pid = os.fork()
        if pid == 0:
            import resource
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            area[8192:8193]
            os._exit(0)
        same(-os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), signal.SIGBUS)
    in_child(act)


@claim
def what_grows_again_after_a_cut_is_mapped_as_zeros():
    fd, area = mapped(b"x" * 20_000)
    os.ftruncate(fd, 5000)
    os.ftruncate(fd, 20_000)
    same(area[4998:5002], b"xx\0\0")
    same(area[8192:20_000], b"\0" * 11_808)


@claim
def a_mapping_lives_on_when_the_file_is_unlinked():
    fd, area = mapped(b"x" * 5000)
    os.unlink("file")
    os.close(fd)
    area[0:4] = b"live"
    area.flush()
    same(area[0:5], b"livex")


@claim
def mappings_are_shared_with_a_child():
    _, area = mapped(b"x" * 5000)
    in_child(lambda: area.__setitem__(slice(0, 5), b"child"))
    same(area[0:6], b"childx")
    same(read("file")[0:5], b"child")


@claim
def a_shared_writable_mapping_needs_the_file_open_for_both():
    write("file", b"x" * 5000)
    fd = os.open("file", os.O_RDONLY)
    refused(errno.EACCES, mmap.mmap, fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)[0:1] = b"y"
    fd = os.open("file", os.O_WRONLY)
    refused(errno.EACCES, mmap.mmap, fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)


@claim
def a_directory_can_not_be_mapped():
    os.mkdir("dir")
    refused(errno.ENODEV, mmap.mmap, os.open("dir", os.O_RDONLY), 4096, mmap.MAP_SHARED,
            mmap.PROT_READ)


@claim
def msync_moves_the_time_of_change():
    _, area = mapped(b"x" * 5000)

    def store():
        area[0:5] = b"store"
        area.flush()
    same(moved(["file"], store), ["mc"])


@claim
def reading_a_mapping_moves_no_time_of_change():
    _, area = mapped(b"x" * 5000)
    same(moved(["file"], lambda: area[0:5000]), [""])
