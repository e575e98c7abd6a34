"""mkdir, rmdir, and the reading of directories: opendir, readdir, telldir, seekdir, rewinddir."""
import ctypes
import errno
import os
import stat

from claims import (LIBC, OTHER, OWNER, by, claim, claim_all, holds, libc, mode_of, names, owned,
                    refused, same, write)


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("size", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


for _name, _result in (("opendir", ctypes.c_void_p), ("fdopendir", ctypes.c_void_p),
                       ("readdir", ctypes.POINTER(Dirent)), ("telldir", ctypes.c_long)):
    getattr(LIBC, _name).restype = _result


class Stream:
    """A DIR *."""

    def __init__(self, path):
        self.dir = LIBC.opendir(os.fsencode(path))
        holds(self.dir, f"opendir: {os.strerror(ctypes.get_errno())}")
        self.dir = ctypes.c_void_p(self.dir)

    def next(self):
        """The next entry as (name, inode number, type), or None."""
        ctypes.set_errno(0)
        entry = LIBC.readdir(self.dir)
        if not entry:
            same(ctypes.get_errno(), 0, "readdir's errno")
            return None
        return (entry.contents.name.decode(), entry.contents.ino, entry.contents.type)

    def rest(self):
        found = []
        while entry := self.next():
            found.append(entry[0])
        return found

    def tell(self):
        return LIBC.telldir(self.dir)

    def seek(self, position):
        LIBC.seekdir(self.dir, ctypes.c_long(position))

    def rewind(self):
        LIBC.rewinddir(self.dir)


def fill(folder, count):
    os.mkdir(folder)
    for i in range(count):
        os.mknod(f"{folder}/name {i:05d}", 0o100644)
    return sorted(f"name {i:05d}" for i in range(count))


# ---- mkdir ----

@claim_all({f"umask {umask:03o}, mode {mode:04o}": (umask, mode)
            for umask in (0, 0o027, 0o777) for mode in (0o777, 0o1777, 0o500, 0)})
def the_mode_of_a_new_directory_is_what_umask_leaves(umask, mode):
    os.umask(umask)
    os.mkdir("dir", mode)
    same(mode_of("dir"), mode & ~umask)


@claim
def a_new_directory_is_empty_and_belongs_to_who_made_it():
    os.chmod(".", 0o777)
    by(OWNER, os.mkdir, "dir")
    found = os.stat("dir")
    same((stat.S_ISDIR(found.st_mode), found.st_uid, found.st_gid), (True, *OWNER[:2]))
    same(names("dir"), [])


@claim_all({"file": write, "directory": os.mkdir, "fifo": os.mkfifo,
            "dangling link": lambda path: os.symlink("nowhere", path)})
def mkdir_over_what_is_there_is_eexist(make):
    make("it")
    refused(errno.EEXIST, os.mkdir, "it")
    refused(errno.EEXIST, os.mkdir, ".")
    refused(errno.EEXIST, os.mkdir, "..")


@claim
def directories_count_their_subdirectories_as_links():
    """Two, and one for each subdirectory."""
    os.mkdir("dir")
    same(os.stat("dir").st_nlink, 2)
    os.mkdir("dir/sub")
    same(os.stat("dir").st_nlink, 3)
    os.rmdir("dir/sub")
    same(os.stat("dir").st_nlink, 2)


@claim
def directories_nest_a_hundred_deep():
    for i in range(100):
        os.mkdir("sub")
        os.chdir("sub")
    write("file", b"x")
    same(os.getcwd().count("/sub"), 100)
    same(os.stat("../sub/file").st_size, 1)


# ---- rmdir ----

@claim
def rmdir_takes_an_empty_directory_only():
    os.makedirs("dir/sub")
    refused(errno.ENOTEMPTY, os.rmdir, "dir")
    os.rmdir("dir/sub")
    write("dir/file")
    refused(errno.ENOTEMPTY, os.rmdir, "dir")
    os.unlink("dir/file")
    os.rmdir("dir")
    same(names(), [])


@claim
def rmdir_of_no_directory_is_enotdir():
    write("file")
    os.mkfifo("fifo")
    os.mkdir("dir")
    os.symlink("dir", "link")
    for name in ("file", "fifo", "link", "file/"):
        refused(errno.ENOTDIR, os.rmdir, name)


@claim
def rmdir_of_dot_is_einval_and_of_dot_dot_enotempty():
    os.makedirs("dir/sub")
    refused(errno.EINVAL, os.rmdir, "dir/sub/.")
    refused(errno.ENOTEMPTY, os.rmdir, "dir/sub/..")


@claim
def rmdir_of_a_mount_point_is_ebusy():
    import claims
    os.mkdir("point")
    claims.mount("none", "point", "tmpfs")
    try:
        refused(errno.EBUSY, os.rmdir, "point")
        refused(errno.EBUSY, os.rename, "point", "other")
        os.mkdir("dir")
        refused(errno.EBUSY, os.rename, "dir", "point")
    finally:
        claims.umount("point")


@claim
def a_removed_directory_is_empty_and_has_no_links():
    os.mkdir("dir")
    fd = os.open("dir", os.O_RDONLY)
    os.rmdir("dir")
    same(os.fstat(fd).st_nlink, 0)
    same(os.listdir(fd), [])
    refused(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    refused(errno.ENOENT, os.mkdir, "x", dir_fd=fd)


@claim
def a_removed_working_directory_has_no_path_and_no_parent_to_list():
    os.mkdir("dir")
    os.chdir("dir")
    os.rmdir("../dir")
    refused(errno.ENOENT, os.getcwd)
    same(os.listdir("."), [])


# ---- reading ----

@claim
def a_listing_has_every_name_once_and_dot_and_dot_dot():
    for count in (0, 1, 100, 3000):
        wanted = fill(f"d{count}", count)
        same(sorted(Stream(f"d{count}").rest()), sorted(wanted + [".", ".."]))


@claim
def entries_have_the_numbers_and_types_of_what_they_name():
    os.mkdir("dir")
    os.mkdir("dir/sub")
    write("dir/file")
    os.symlink("x", "dir/link")
    os.mkfifo("dir/fifo")
    os.mknod("dir/null", 0o20666, os.makedev(1, 3))
    stream = Stream("dir")
    seen = 0
    while entry := stream.next():
        name, number, kind = entry
        found = os.lstat(f"dir/{name}")
        same(kind, stat.S_IFMT(found.st_mode) >> 12, name)
        if name != "..":
            same(number, found.st_ino, name)
        seen += 1
    same(seen, 7)


@claim
def seekdir_returns_to_where_telldir_was():
    fill("dir", 1000)
    stream = Stream("dir")
    places = []
    while True:
        place = stream.tell()
        entry = stream.next()
        if entry is None:
            break
        places.append((place, entry[0]))
    same(len(places), 1002)
    for place, name in places[::-37] + places[::41]:
        stream.seek(place)
        same(stream.next()[0], name)
    stream.seek(places[500][0])
    same(stream.rest(), [name for _, name in places[500:]])


@claim
def a_position_stays_good_when_names_before_and_behind_go():
    fill("dir", 500)
    stream = Stream("dir")
    first = [stream.next()[0] for _ in range(200)]
    place = stream.tell()
    rest = stream.rest()
    for name in [name for name in first if name[0] != "."] + [name for name in rest[10:20] if name[0] != "."]:
        os.unlink(f"dir/{name}")
    stream.seek(place)
    same([name for name in stream.rest() if name in rest],
         rest[:10] + [name for name in rest[10:20] if name[0] == "."] + rest[20:])


@claim
def rewinddir_shows_what_came_meanwhile():
    fill("dir", 10)
    stream = Stream("dir")
    stream.rest()
    write("dir/later")
    os.unlink("dir/name 00003")
    stream.rewind()
    found = stream.rest()
    holds("later" in found and "name 00003" not in found, f"{found}")


@claim
def what_stays_is_listed_once_while_others_come_and_go():
    wanted = fill("dir", 1000)
    stream = Stream("dir")
    found = []
    for i in range(2000):
        entry = stream.next()
        if entry is None:
            break
        found.append(entry[0])
        os.mknod(f"dir/new {i}", 0o100644)
        if i % 3 == 0:
            os.unlink(f"dir/new {i}")
    found += stream.rest()
    same(sorted(name for name in found if name.startswith("name")), wanted)
    same(len(found), len(set(found)))


@claim
def a_walk_that_removes_each_name_empties_the_directory():
    fill("dir", 1500)
    stream = Stream("dir")
    while entry := stream.next():
        if entry[0] not in (".", ".."):
            os.unlink(f"dir/{entry[0]}")
    os.rmdir("dir")


@claim
def a_listing_through_one_descriptor_twice_is_the_same():
    wanted = fill("dir", 300)
    fd = os.open("dir", os.O_RDONLY)
    same(sorted(os.listdir(fd)), wanted)
    os.lseek(fd, 0, os.SEEK_SET)
    same(sorted(os.listdir(fd)), wanted)


@claim
def long_names_are_listed_whole():
    wanted = sorted(f"{i:03d}".ljust(255, "n") for i in range(200))
    os.mkdir("dir")
    for name in wanted:
        os.mknod(f"dir/{name}", 0o100644)
    same(names("dir"), wanted)


@claim
def listing_needs_the_right_to_read_and_reaching_needs_the_right_to_search():
    os.mkdir("dir")
    write("dir/file", b"x")
    owned("dir", OWNER, mode=0o444)
    same(by(OWNER, os.listdir, "dir"), ["file"])
    refused(errno.EACCES, by, OWNER, os.stat, "dir/file")
    refused(errno.EACCES, by, OWNER, os.chdir, "dir")
    os.chmod("dir", 0o111)
    refused(errno.EACCES, by, OTHER, os.listdir, "dir")
    same(by(OTHER, os.stat, "dir/file").st_size, 1)


@claim
def only_a_directory_can_be_listed():
    write("file")
    refused(errno.ENOTDIR, os.listdir, "file")
    refused(errno.ENOTDIR, os.listdir, os.open("file", os.O_RDONLY))
    refused(errno.EBADF, os.listdir, 999)
    buffer = ctypes.create_string_buffer(4096)
    refused(errno.ENOTDIR, libc, "syscall", 217, os.open("file", os.O_RDONLY), buffer, 4096)


@claim
def a_buffer_too_small_for_an_entry_is_einval():
    os.mkdir("dir")
    write("dir/" + "n" * 255)
    fd = os.open("dir", os.O_RDONLY)
    buffer = ctypes.create_string_buffer(10)
    refused(errno.EINVAL, libc, "syscall", 217, fd, buffer, 10)     # getdents64
