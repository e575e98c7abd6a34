"""mknod, mkfifo, sockets bound on a path."""
import errno
import os
import socket
import stat

from claims import OTHER, OWNER, by, claim, claim_all, holds, libc, mode_of, names, refused, same, write

KINDS = {"file": stat.S_IFREG, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "character device": stat.S_IFCHR,
         "block device": stat.S_IFBLK}


@claim_all(KINDS)
def mknod_makes_what_it_is_told(kind):
    os.umask(0o027)
    os.mknod("it", kind | 0o666, os.makedev(1, 3))
    found = os.lstat("it")
    same((stat.S_IFMT(found.st_mode), mode_of("it"), found.st_nlink), (kind, 0o640, 1))
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        same(found.st_rdev, os.makedev(1, 3))
    same(found.st_size, 0)


@claim
def device_numbers_are_kept_whole():
    for major, minor in ((0, 0), (1, 3), (259, 1_000_000), (4095, 0xfffff)):
        os.mknod("it", stat.S_IFBLK | 0o600, os.makedev(major, minor))
        same(os.stat("it").st_rdev, os.makedev(major, minor))
        os.unlink("it")


@claim_all(KINDS)
def mknod_over_a_name_that_is_there_is_eexist(kind):
    write("file")
    os.symlink("nowhere", "link")
    refused(errno.EEXIST, os.mknod, "file", kind | 0o666, 259)
    refused(errno.EEXIST, os.mknod, "link", kind | 0o666, 259)


@claim
def devices_are_roots_to_make_and_all_else_is_everybodys():
    os.chmod(".", 0o777)
    refused(errno.EPERM, by, OTHER, os.mknod, "it", stat.S_IFCHR | 0o666, 259)
    refused(errno.EPERM, by, OTHER, os.mknod, "it", stat.S_IFBLK | 0o666, 259)
    for kind in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        by(OTHER, os.mknod, "it", kind | 0o600)
        same(os.stat("it").st_uid, OTHER[0])
        os.unlink("it")


@claim
def mknod_of_a_directory_is_eperm_and_of_nonsense_einval():
    refused(errno.EPERM, libc, "mknod", "it", stat.S_IFDIR | 0o755, 0)
    refused(errno.EINVAL, libc, "mknod", "it", 0o150000 | 0o755, 0)
    same(names(), [])


@claim
def attributes_of_special_files_can_be_changed():
    os.mkfifo("fifo")
    os.chmod("fifo", 0o611)
    os.chown("fifo", 5, 6)
    os.utime("fifo", (7, 8))
    found = os.stat("fifo")
    same((mode_of("fifo"), found.st_uid, found.st_gid, found.st_mtime), (0o611, 5, 6, 8))
    holds(stat.S_ISFIFO(found.st_mode), "the type changed")


@claim
def a_fifo_joins_two_processes():
    os.mkfifo("fifo")
    pid = os.fork()
    if pid == 0:
        os.write(os.open("fifo", os.O_WRONLY), b"through the fifo")
        os._exit(0)
    same(os.read(os.open("fifo", os.O_RDONLY), 100), b"through the fifo")
    os.waitpid(pid, 0)
    same(os.stat("fifo").st_size, 0)


@claim
def a_fifo_without_a_reader_is_enxio_to_who_would_not_wait():
    os.mkfifo("fifo")
    refused(errno.ENXIO, os.open, "fifo", os.O_WRONLY | os.O_NONBLOCK)
    fd = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.write(os.open("fifo", os.O_WRONLY | os.O_NONBLOCK), b"x")
    same(os.read(fd, 9), b"x")
    refused(errno.ESPIPE, os.lseek, fd, 0, os.SEEK_SET)


def listening(path):
    end = socket.socket(socket.AF_UNIX)
    end.bind(path)
    end.listen(1)
    return end


@claim
def a_bound_socket_is_reached_by_its_path_and_through_a_rename_and_links():
    end = listening("socket")
    holds(stat.S_ISSOCK(os.stat("socket").st_mode), "it is no socket")
    os.rename("socket", "moved")
    os.link("moved", "twin")
    os.symlink("twin", "link")
    for path in ("moved", "twin", "link"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        served = end.accept()[0]
        served.sendall(b"hello")
        same(client.recv(10), b"hello")
        client.close()
        served.close()


@claim
def binding_over_a_name_that_is_there_is_eaddrinuse():
    write("file")
    os.symlink("nowhere", "link")
    for path in ("file", "link"):
        refused(errno.EADDRINUSE, listening, path)


@claim
def a_socket_that_nobody_serves_is_econnrefused():
    listening("socket").close()
    write("file")
    for path in ("socket", "file"):
        refused(errno.ECONNREFUSED, socket.socket(socket.AF_UNIX).connect, path)
    refused(errno.ENOENT, socket.socket(socket.AF_UNIX).connect, "no")
    os.unlink("socket")
    same(names(), ["file"])


@claim
def connecting_needs_the_right_to_write():
    os.umask(0o077)
    end = listening("socket")
    same(mode_of("socket"), 0o700)

    def connect():
        socket.socket(socket.AF_UNIX).connect("socket")
    refused(errno.EACCES, by, OWNER, connect)
    os.chmod("socket", 0o002)
    by(OWNER, connect)
    end.close()


@claim
def a_socket_and_a_device_without_a_driver_are_enxio_to_open():
    end = listening("socket")
    refused(errno.ENXIO, os.open, "socket", os.O_RDONLY)
    end.close()
    os.mknod("device", stat.S_IFCHR | 0o666, os.makedev(499, 77))
    refused((errno.ENXIO, errno.EACCES), os.open, "device", os.O_RDONLY)


@claim
def datagrams_find_their_path():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        end.bind("socket")
        sender.sendto(b"datagram", "socket")
        same(end.recv(100), b"datagram")
