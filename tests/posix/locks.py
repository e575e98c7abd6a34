"""flock, fcntl locks and those of open file descriptions; leases are left to the kernel."""
import errno
import fcntl
import os
import struct

from claims import claim, claim_all, in_child, outcome, refused, same, write

NB = fcntl.LOCK_NB


def record(fd, command, kind, start=0, size=0):
    """An fcntl lock command; the struct flock it gave back, as (type, start, length, pid)."""
    given = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, size, 0)
    kind, _, start, size, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, given))
    return kind, start, size, pid


def opened(flags=os.O_RDWR):
    return os.open("file", flags | os.O_CREAT, 0o644)


def by_another(command, kind, start, size):
    """What another process is told of the lock it asks for."""
    return in_child(lambda: outcome(record, opened(), command, kind, start, size))


# ---- flock ----

@claim
def flock_excludes_other_descriptions_and_not_duplicates():
    one, two = opened(), opened()
    fcntl.flock(one, fcntl.LOCK_EX)
    refused(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | NB)
    refused(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_SH | NB)
    fcntl.flock(os.dup(one), fcntl.LOCK_EX | NB)
    fcntl.flock(one, fcntl.LOCK_SH)
    fcntl.flock(two, fcntl.LOCK_SH | NB)
    refused(errno.EAGAIN, fcntl.flock, one, fcntl.LOCK_EX | NB)


@claim
def flock_ends_with_the_last_close():
    one, two = opened(), opened()
    fcntl.flock(one, fcntl.LOCK_EX)
    twin = os.dup(one)
    os.close(one)
    refused(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | NB)
    os.close(twin)
    fcntl.flock(two, fcntl.LOCK_EX | NB)


@claim
def flock_is_shared_with_a_child_and_refused_to_a_stranger():
    fd = opened()
    fcntl.flock(fd, fcntl.LOCK_EX)
    same(in_child(lambda: outcome(fcntl.flock, fd, fcntl.LOCK_EX | NB)), "done")
    same(in_child(lambda: outcome(fcntl.flock, opened(), fcntl.LOCK_EX | NB)), "EAGAIN")


@claim
def flock_works_on_directories_and_read_only_descriptors():
    os.mkdir("dir")
    one, two = (os.open("dir", os.O_RDONLY) for _ in range(2))
    fcntl.flock(one, fcntl.LOCK_EX)
    refused(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | NB)
    opened()
    fcntl.flock(os.open("file", os.O_RDONLY), fcntl.LOCK_EX)


# ---- fcntl, by process ----

@claim
def records_are_locked_by_range():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 10, 10)
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 0, 10), "done")
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 20, 0), "done")
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 19, 1), "EAGAIN")
    same(by_another(fcntl.F_SETLK, fcntl.F_RDLCK, 0, 0), "EAGAIN")


@claim
def records_can_be_unlocked_in_part():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 0, 30)
    record(fd, fcntl.F_SETLK, fcntl.F_UNLCK, 10, 10)
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 10, 10), "done")
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 9, 1), "EAGAIN")
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 20, 1), "EAGAIN")


@claim
def readers_share_a_record():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_RDLCK, 0, 10)
    same(by_another(fcntl.F_SETLK, fcntl.F_RDLCK, 0, 10), "done")
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 0, 10), "EAGAIN")


@claim
def getlk_names_who_holds_a_record():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 5, 7)
    holder = os.getpid()
    same(in_child(lambda: record(opened(), fcntl.F_GETLK, fcntl.F_WRLCK, 0, 0)),
         (fcntl.F_WRLCK, 5, 7, holder))
    same(record(fd, fcntl.F_GETLK, fcntl.F_WRLCK, 0, 0)[0], fcntl.F_UNLCK)


@claim
def records_of_a_process_end_with_any_close_of_the_file():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK)
    os.close(opened())
    same(by_another(fcntl.F_SETLK, fcntl.F_WRLCK, 0, 0), "done")


@claim
def a_lock_to_wait_for_comes_when_it_is_given_back():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK)
    come, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        own = opened()
        os.write(go, b"a")
        record(own, fcntl.F_SETLKW, fcntl.F_WRLCK)
        os.write(go, b"b")
        os._exit(0)
    same(os.read(come, 1), b"a")
    os.write(go, b"-")
    record(fd, fcntl.F_SETLK, fcntl.F_UNLCK)
    same(os.read(come, 1), b"-")
    same(os.read(come, 1), b"b")
    os.waitpid(pid, 0)


@claim
def waiting_in_a_ring_is_edeadlk():
    fd = opened()
    record(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 0, 1)
    come, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        own = opened()
        record(own, fcntl.F_SETLK, fcntl.F_WRLCK, 1, 1)
        os.write(go, b"a")
        outcome(record, own, fcntl.F_SETLKW, fcntl.F_WRLCK, 0, 1)
        os._exit(0)
    os.read(come, 1)
    for _ in range(3000):       # until the child waits
        if open(f"/proc/{pid}/wchan", encoding="ascii").read() not in ("", "0"):
            break
        os.sched_yield()
    import time
    time.sleep(0.05)
    found = outcome(record, fd, fcntl.F_SETLKW, fcntl.F_WRLCK, 1, 1)
    record(fd, fcntl.F_SETLK, fcntl.F_UNLCK, 0, 2)
    os.waitpid(pid, 0)
    same(found, "EDEADLK")


@claim_all({"write": (os.O_RDONLY, fcntl.F_WRLCK), "read": (os.O_WRONLY, fcntl.F_RDLCK)})
def a_lock_needs_the_descriptor_open_for_it(flags, kind):
    opened()
    refused(errno.EBADF, record, os.open("file", flags), fcntl.F_SETLK, kind)


# ---- by open file description ----

@claim
def locks_of_descriptions_exclude_each_other_within_a_process():
    one, two = opened(), opened()
    record(one, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 0, 10)
    refused(errno.EAGAIN, record, two, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 5, 1)
    record(two, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 10, 1)
    os.close(opened())
    refused(errno.EAGAIN, record, two, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, 5, 1)
    os.close(one)
    record(two, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 5, 1)


@claim
def locks_of_descriptions_and_of_processes_exclude_each_other():
    one, two = opened(), opened()
    record(one, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, 0, 10)
    refused(errno.EAGAIN, record, two, fcntl.F_SETLK, fcntl.F_WRLCK, 0, 10)
    same(record(two, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, 0, 0), (fcntl.F_WRLCK, 0, 10, -1))


@claim
def locks_follow_the_file_through_a_rename():
    write("file")
    one = opened()
    fcntl.flock(one, fcntl.LOCK_EX)
    os.rename("file", "moved")
    refused(errno.EAGAIN, fcntl.flock, os.open("moved", os.O_RDWR), fcntl.LOCK_EX | NB)
    fcntl.flock(opened(), fcntl.LOCK_EX | NB)
