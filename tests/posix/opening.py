"""open, openat, creat, close, and what their flags mean."""
import errno
import os
import stat

from claims import (EXCHANGE, OTHER, OWNER, append, by, claim, claim_all, holds, in_child, libc,
                    mode_of, names, owned, read, refused, renameat2, same, write)

ACCESS = {"O_RDONLY": os.O_RDONLY, "O_WRONLY": os.O_WRONLY, "O_RDWR": os.O_RDWR}


@claim_all(ACCESS)
def a_new_file_is_empty_and_open_as_asked(flag):
    fd = os.open("file", os.O_CREAT | flag, 0o644)
    found = os.fstat(fd)
    same((found.st_size, found.st_nlink, stat.S_ISREG(found.st_mode)), (0, 1, True))
    same((found.st_uid, found.st_gid), (0, 0))
    if flag == os.O_RDONLY:
        refused(errno.EBADF, os.write, fd, b"x")
        refused(errno.EINVAL, os.ftruncate, fd, 1)
    else:
        same(os.write(fd, b"x"), 1)
    if flag == os.O_WRONLY:
        refused(errno.EBADF, os.read, fd, 1)


@claim_all({f"umask {umask:03o}, mode {mode:04o}": (umask, mode)
            for umask in (0, 0o027, 0o777) for mode in (0o666, 0o7777, 0)})
def the_mode_of_a_new_file_is_what_umask_leaves(umask, mode):
    os.umask(umask)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, mode))
    same(mode_of("file"), mode & ~umask)


@claim
def the_mode_of_a_new_file_does_not_bind_its_own_descriptor():
    fd = os.open("file", os.O_CREAT | os.O_RDWR, 0)
    same(os.write(fd, b"x"), 1)
    same(os.pread(fd, 1, 0), b"x")


@claim
def a_new_file_belongs_to_who_made_it():
    os.chmod(".", 0o777)
    by(OWNER, write, "file")
    found = os.stat("file")
    same((found.st_uid, found.st_gid), OWNER[:2])


@claim
def o_creat_opens_what_is_there_and_leaves_its_mode():
    write("file", b"content", mode=0o600)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o777))
    same((read("file"), mode_of("file")), (b"content", 0o600))


@claim
def creat_makes_or_truncates():
    fd = libc("creat", "file", 0o640)
    os.write(fd, b"content")
    refused(errno.EBADF, os.read, fd, 1)
    libc("creat", "file", 0o777)
    same((read("file"), mode_of("file")), (b"", 0o640))


@claim_all({"file": lambda: write("it"), "directory": lambda: os.mkdir("it"),
            "link to a file": lambda: (write("x"), os.symlink("x", "it")),
            "dangling link": lambda: os.symlink("x", "it"),
            "fifo": lambda: os.mkfifo("it")})
def o_excl_refuses_what_is_there_as_eexist(make):
    make()
    before = names()
    refused(errno.EEXIST, os.open, "it", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    same(names(), before)


@claim
def o_creat_through_a_dangling_link_makes_its_target():
    os.mkdir("dir")
    os.symlink("dir/target", "link")
    write("link", b"x")
    same(read("dir/target"), b"x")
    holds(os.path.islink("link"), "the link was replaced")


@claim_all({name: flag for name, flag in ACCESS.items() if flag != os.O_RDONLY})
def a_directory_can_not_be_opened_for_writing(flag):
    os.mkdir("dir")
    refused(errno.EISDIR, os.open, "dir", flag)
    refused(errno.EISDIR, os.open, "dir", flag | os.O_TRUNC)
    refused(errno.EISDIR, os.open, "dir", os.O_CREAT | flag)
    refused(errno.EISDIR, os.open, "dir", os.O_CREAT | os.O_RDONLY)


@claim
def o_directory_refuses_all_else_as_enotdir():
    write("file")
    os.mkfifo("fifo")
    os.mkdir("dir")
    os.symlink("dir", "link")
    refused(errno.ENOTDIR, os.open, "file", os.O_DIRECTORY | os.O_RDONLY)
    refused(errno.ENOTDIR, os.open, "fifo", os.O_DIRECTORY | os.O_RDONLY)
    refused(errno.ENOTDIR, os.open, "link", os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW)
    os.open("link", os.O_DIRECTORY | os.O_RDONLY)


@claim
def o_nofollow_refuses_a_link_at_the_end_only():
    os.mkdir("dir")
    write("dir/file", b"x")
    os.symlink("dir", "link")
    os.symlink("dir/file", "link2")
    refused(errno.ELOOP, os.open, "link2", os.O_RDONLY | os.O_NOFOLLOW)
    refused(errno.ELOOP, os.open, "link2", os.O_WRONLY | os.O_NOFOLLOW | os.O_CREAT)
    same(os.read(os.open("link/file", os.O_RDONLY | os.O_NOFOLLOW), 9), b"x")


@claim
def o_trunc_empties_a_file_for_all_who_have_it_open():
    write("file", b"content")
    reader = os.open("file", os.O_RDONLY)
    os.close(os.open("file", os.O_WRONLY | os.O_TRUNC))
    same(os.fstat(reader).st_size, 0)
    same(os.read(reader, 10), b"")


@claim
def o_trunc_needs_the_right_to_write():
    write("file", b"content", mode=0o444)
    refused(errno.EACCES, by, OTHER, os.open, "file", os.O_RDONLY | os.O_TRUNC)
    same(read("file"), b"content")


@claim
def o_append_writes_at_the_end_wherever_the_offset_is():
    write("file", b"start")
    fd = os.open("file", os.O_RDWR | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"1")
    append("file", b"2")
    os.write(fd, b"3")
    same(os.lseek(fd, 0, os.SEEK_CUR), 8)
    os.truncate("file", 2)
    os.write(fd, b"4")
    same(read("file"), b"st4")
    same(os.pread(fd, 2, 0), b"st")


@claim
def o_append_makes_pwrite_append():
    """As pwrite(2) says under BUGS of Linux."""
    write("file", b"start")
    os.pwrite(os.open("file", os.O_RDWR | os.O_APPEND), b"X", 0)
    same(read("file"), b"startX")


@claim
def o_append_can_be_set_and_cleared_later():
    import fcntl
    write("file", b"start")
    fd = os.open("file", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.write(fd, b"1")
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"2")
    same(read("file"), b"2tart1")


@claim
def appends_of_several_processes_lose_nothing():
    write("log")
    pids = []
    for who in range(4):
        pid = os.fork()
        if pid == 0:
            fd = os.open("log", os.O_WRONLY | os.O_APPEND)
            for i in range(100):
                os.write(fd, b"%d %03d %s\n" % (who, i, b"x" * (who * 97)))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    lines = read("log").splitlines()
    same(sorted(lines), sorted(b"%d %03d %s" % (who, i, b"x" * (who * 97))
                               for who in range(4) for i in range(100)))


@claim
def o_path_gives_a_name_and_no_access():
    os.mkdir("dir")
    write("dir/file", b"x")
    fd = os.open("dir/file", os.O_PATH)
    refused(errno.EBADF, os.read, fd, 1)
    refused(errno.EBADF, os.write, fd, b"x")
    refused(errno.EBADF, os.ftruncate, fd, 0)
    refused(errno.EBADF, os.fchmod, fd, 0o600)
    refused(errno.EBADF, os.fchown, fd, 1, 1)
    refused(errno.EBADF, os.getxattr, fd, "user.x")
    refused(errno.EBADF, os.fsync, fd)
    same(os.fstat(fd).st_size, 1)
    folder = os.open("dir", os.O_PATH)
    os.open("file", os.O_RDONLY, dir_fd=folder)
    refused(errno.EBADF, os.listdir, folder)
    same(read(f"/proc/self/fd/{fd}"), b"x")


@claim
def o_path_and_o_nofollow_open_a_link_itself():
    os.symlink("nowhere", "link")
    fd = os.open("link", os.O_PATH | os.O_NOFOLLOW)
    holds(stat.S_ISLNK(os.fstat(fd).st_mode), "it is not the link")
    same(os.readlink("", dir_fd=fd), "nowhere")


@claim
def o_path_needs_no_right_to_the_file():
    write("file", mode=0)
    by(OTHER, os.open, "file", os.O_PATH)
    refused(errno.EACCES, by, OTHER, os.open, "file", os.O_RDONLY)


@claim
def o_noatime_is_the_owners():
    write("file", b"x", mode=0o666)
    owned("file", OWNER)
    by(OWNER, os.open, "file", os.O_RDONLY | os.O_NOATIME)
    refused(errno.EPERM, by, OTHER, os.open, "file", os.O_RDONLY | os.O_NOATIME)


@claim_all({"O_SYNC": os.O_SYNC, "O_DSYNC": os.O_DSYNC})
def synchronous_writes_are_read_back(flag):
    fd = os.open("file", os.O_CREAT | os.O_RDWR | flag, 0o644)
    same(os.write(fd, b"x" * 10000), 10000)
    same(os.pread(fd, 10000, 0), b"x" * 10000)


@claim
def o_cloexec_closes_at_exec():
    write("file")
    fd = os.open("file", os.O_RDONLY)   # Python opens with O_CLOEXEC
    os.set_inheritable(os.open("file", os.O_RDONLY), True)
    import subprocess
    done = subprocess.run(["/bin/sh", "-c", f"test ! -e /proc/self/fd/{fd}"], check=False,
                          close_fds=False)
    same(done.returncode, 0)


@claim
def an_unlinked_file_lives_until_its_last_close():
    write("file", b"content")
    fd = os.open("file", os.O_RDWR)
    os.unlink("file")
    write("file", b"another")
    same(os.fstat(fd).st_nlink, 0)
    os.pwrite(fd, b"C", 0)
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, 5)
    same(os.pread(fd, 20, 0), b"Conte")
    same(read(f"/proc/self/fd/{fd}"), b"Conte")
    same(read("file"), b"another")


@claim
def a_descriptor_stays_with_its_file_through_renames():
    write("a", b"a")
    write("b", b"b")
    fd = os.open("a", os.O_RDWR)
    renameat2("a", "b", EXCHANGE)
    os.write(fd, b"A")
    os.rename("a", "b")
    same(os.pread(fd, 1, 0), b"A")
    same(read("b"), b"b")


@claim
def a_descriptor_keeps_its_rights_when_the_mode_changes():
    write("file", b"x", mode=0o666)

    def act():
        fd = os.open("file", os.O_RDWR)
        os.chmod("file", 0)
        refused(errno.EACCES, os.open, "file", os.O_RDONLY)
        os.write(fd, b"y")
        return os.pread(fd, 1, 0)
    owned("file", OWNER)
    same(by(OWNER, act), b"y")


@claim
def a_duplicate_shares_the_offset_and_a_second_open_does_not():
    write("file", b"0123456789")
    fd = os.open("file", os.O_RDONLY)
    twin, second = os.dup(fd), os.open("file", os.O_RDONLY)
    same((os.read(fd, 3), os.read(twin, 3), os.read(second, 3)), (b"012", b"345", b"012"))
    in_child(lambda: os.read(fd, 2) and None)
    same(os.read(twin, 1), b"8")


@claim
def a_running_program_is_etxtbsy_to_who_would_write_it():
    import shutil
    import signal
    shutil.copy("/bin/sleep", "sleep")
    os.chmod("sleep", 0o755)
    pid = os.fork()
    if pid == 0:
        os.execv("sleep", ["sleep", "60"])
    try:
        while os.readlink(f"/proc/{pid}/exe") != os.path.abspath("sleep"):
            os.sched_yield()
        refused(errno.ETXTBSY, os.open, "sleep", os.O_WRONLY)
        refused(errno.ETXTBSY, os.truncate, "sleep", 0)
        os.unlink("sleep")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@claim
def a_program_open_for_writing_is_etxtbsy_to_who_would_run_it():
    write("program", b"#!/bin/true\n", mode=0o755)
    os.open("program", os.O_WRONLY)
    refused(errno.ETXTBSY, os.execv, "program", ["program"])


@claim
def a_file_without_any_execute_bit_is_eacces_to_execve():
    write("program", b"#!/bin/true\n", mode=0o666)
    refused(errno.EACCES, os.execv, "program", ["program"])
    refused(errno.EACCES, os.execv, ".", ["program"])


@claim
def a_file_that_is_no_program_is_enoexec():
    write("program", b"nothing that runs", mode=0o755)
    refused(errno.ENOEXEC, os.execv, "program", ["program"])


@claim
def a_program_runs_from_here():
    import shutil
    import subprocess
    shutil.copy("/bin/true", "true")
    os.chmod("true", 0o711)
    same(subprocess.run(["./true"], check=False).returncode, 0)
    same(by(OTHER, lambda: os.spawnv(os.P_WAIT, "true", ["true"])), 0)


@claim
def o_direct_reads_what_was_written_and_the_other_way_round():
    import mmap
    page = mmap.mmap(-1, 65536)
    page.write(os.urandom(65536))
    fd = os.open("file", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o644)
    same(os.write(fd, page), 65536)
    same(read("file"), page[:])
    plain = os.open("file", os.O_RDWR)
    os.pwrite(plain, b"by the page cache", 5000)
    came = mmap.mmap(-1, 65536)
    same(os.preadv(fd, [came], 0), 65536)
    same(came[:5000] + came[5017:], page[:5000] + page[5017:])
    same(came[5000:5017], b"by the page cache")
    os.pwritev(fd, [page], 0)
    same(os.pread(plain, 17, 5000), page[5000:5017])


@claim
def o_direct_at_the_end_of_a_file_reads_what_there_is():
    import mmap
    write("file", b"x" * 5000)
    came = mmap.mmap(-1, 8192)
    fd = os.open("file", os.O_RDONLY | os.O_DIRECT)
    same(os.preadv(fd, [came], 0), 5000)
    same(came[:5000], b"x" * 5000)
    same(os.preadv(fd, [came], 8192), 0)


@claim
def o_direct_that_is_not_aligned_is_done_right_or_einval():
    import mmap
    write("file", b"0123456789" * 1000)
    came = mmap.mmap(-1, 4096)
    fd = os.open("file", os.O_RDWR | os.O_DIRECT)
    try:
        same(os.preadv(fd, [memoryview(came)[:100]], 33), 100)
        same(came[:100], (b"0123456789" * 20)[33:133])
    except OSError as error:
        same(error.errno, errno.EINVAL)
