"""Claims about a file system, and what they are written with.

A claim is a function named by what it says. It is run with a fresh, empty
directory as its working directory (root's, mode 0755, umask 022), so that all
names are relative, and it holds unless it raises. Files of claims are named by
families of calls; claim_all() of a table makes one claim of each of its rows.

What is true:
(1) A claim leaves no descriptor, mapping or child behind that the next could
    meet: each runs in a process of its own.
(2) It makes nothing outside of its directory but mounts, which end with it.
"""
import ctypes
import errno
import os
import pickle
import select
import signal
import time
import traceback

CLAIMS = {}     # "family/claim": function without arguments

# The users that claims act as: (uid, gid, further groups). Root is who runs them.
TEAM = 3100
OWNER = (3001, 3001, [TEAM])
MEMBER = (3002, 3002, [TEAM])
OTHER = (3003, 3003, [])

SETTLE_S = 0.012    # longer than a tick of the kernel's coarse clock, 10 ms at 100 Hz


class Skip(Exception):
    """What is claimed can't be tried here, for the reason given."""


class Broken(Exception):
    """What is claimed does not hold."""


def claim(function):
    """Make the claim of the function's name."""
    _add(function.__module__, function.__name__, function)
    return function


def claim_all(table):
    """Make one claim of each row: @table is {label: arguments}, or {label: one argument}."""
    def make(function):
        for label, row in table.items():
            words = row if isinstance(row, tuple) else (row,)
            _add(function.__module__, f"{function.__name__}: {label}",
                 lambda words=words: function(*words))
        return function
    return make


def _add(family, name, function):
    name = f"{family}/{name.replace('_s_', chr(39) + 's_').replace('_', ' ')}"
    assert name not in CLAIMS, name
    CLAIMS[name] = function


# ---- saying what has to be ----

def name_of(code):
    """The errno's name: that of the manual pages where it has two."""
    twice = {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK"}
    return twice.get(code) or errno.errorcode.get(code, str(code))


def outcome(call, *args, **named):
    """What became of a call: "done", or the name of its errno. A descriptor it gave is closed."""
    try:
        result = call(*args, **named)
    except OSError as error:
        return name_of(error.errno)
    if getattr(call, "__name__", "") == "open" and isinstance(result, int):
        os.close(result)
    return "done"


def refused(codes, call, *args, **named):
    """The call fails with this errno, or one of these."""
    wanted = [name_of(code) for code in (codes if isinstance(codes, tuple) else (codes,))]
    found = outcome(call, *args, **named)
    if found not in wanted:
        raise Broken(f"{' or '.join(wanted)} was due, not {found}")


def same(found, wanted, what=""):
    if found != wanted:
        raise Broken(f"{what}{': ' if what else ''}{_short(found)}, not {_short(wanted)}")


def holds(condition, what):
    if not condition:
        raise Broken(what)


def _short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:120]}... ({len(text)} characters)"


# ---- acting as somebody ----

def by(user, call, *args, **named):
    """Run the call as @user in a child. Its result, or the OSError it met."""
    def act():
        uid, gid, groups = user
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        return call(*args, **named)
    return in_child(act)


def in_child(call, timeout_s=60, alone=False):
    """Run the call in a child process. Its result, or the exception it met.

    With @alone the child leads a process group of its own, and what is left of it is killed.
    """
    come, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if alone:
                os.setpgid(0, 0)
            os.close(come)
            word = pickle.dumps(_answer_of(call))
            with os.fdopen(go, "wb") as pipe:
                pipe.write(word)
        finally:
            os._exit(0)
    os.close(go)
    if alone:
        os.setpgid(pid, pid)
    said = _wait_and_read(come, pid, timeout_s, alone)
    os.close(come)
    os.waitpid(pid, 0)
    if not said:
        raise Broken(f"no answer from the process within {timeout_s} s, or it died")
    kind, value = pickle.loads(said)
    if kind == "errno":
        raise OSError(value, os.strerror(value))
    if kind in ("Skip", "Broken"):
        raise {"Skip": Skip, "Broken": Broken}[kind](value)
    return value


def _answer_of(call):
    try:
        return ("done", call())
    except OSError as error:
        return ("errno", error.errno)
    except (Skip, Broken) as error:
        return (type(error).__name__, str(error))
    except Exception:   # the parent has to be told, whatever it is
        return ("Broken", traceback.format_exc())


def _wait_and_read(pipe, pid, timeout_s, alone):
    """All that the child wrote until it ended; one that takes longer is killed."""
    def kill():
        try:
            os.killpg(pid, signal.SIGKILL) if alone else os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    said = b""
    ended = os.pidfd_open(pid)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            ready, _, _ = select.select([pipe, ended], [], [], max(0, deadline - time.monotonic()))
            if pipe in ready:
                piece = os.read(pipe, 65536)
                said += piece
                if not piece and ended not in ready:
                    select.select([ended], [], [], max(0, deadline - time.monotonic()))
            if pipe not in ready or not piece:
                break
    finally:
        os.close(ended)
        if alone or not said:
            kill()
    return said


# ---- files ----

def write(path, data=b"", mode=0o644, flags=os.O_TRUNC):
    """Make or replace a file; umask does not count."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | flags, mode)
    try:
        holds(os.write(fd, data) == len(data) if data else True, "a write was cut short")
        if flags & os.O_TRUNC:
            os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return path


def append(path, data):
    return write(path, data, flags=os.O_APPEND)


def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def names(path="."):
    return sorted(os.listdir(path))


def mode_of(path):
    return os.lstat(path).st_mode & 0o7777


def owned(path, user=OWNER, group=None, mode=None):
    """Give @path to a user; its mode is set last, for a change of owner takes set-id bits."""
    os.chown(path, user[0], user[1] if group is None else group, follow_symlinks=False)
    if mode is not None:
        os.chmod(path, mode)
    return path


def times_of(path):
    found = os.lstat(path)
    return (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)


def moved(paths, call, *args):
    """Which of mtime and ctime the call moved forward, of each path: "mc", "c", "m" or ""."""
    before = [times_of(path) for path in paths]
    time.sleep(SETTLE_S)
    call(*args)
    result = []
    for path, old in zip(paths, before):
        new = times_of(path)
        holds(new[1] >= old[1] and new[2] >= old[2], f"a time of {path} went back")
        result.append(("m" if new[1] > old[1] else "") + ("c" if new[2] > old[2] else ""))
    return result


# ---- calls that Python has no name for ----

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_EMPTY_PATH = -100, 0x100, 0x200, 0x1000
AT_REMOVEDIR, AT_SYMLINK_FOLLOW = 0x200, 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def libc(name, *args):
    """A call of the C library; OSError when it gives -1. A whole number is passed with 64 bits."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else
             os.fsencode(arg) if isinstance(arg, str) else arg for arg in args]
    ctypes.set_errno(0)
    result = getattr(LIBC, name)(*words)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def renameat2(old, new, flags):
    libc("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)


def fallocate(fd, mode, offset, size):
    libc("fallocate", fd, mode, offset, size)


def utimens(path, atime, mtime, flags=0, dir_fd=AT_FDCWD):
    """utimensat with (seconds, nanoseconds) each; None for both sets now."""
    times = None if atime is None else (ctypes.c_long * 4)(*atime, *mtime)
    libc("utimensat", dir_fd, path, times, flags)


def linkat(old, new, flags, old_fd=AT_FDCWD, new_fd=AT_FDCWD):
    libc("linkat", old_fd, old, new_fd, new, flags)


def chmod_link(path, mode):
    """fchmodat that asks for the link itself."""
    libc("fchmodat", AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW)


class Statx(ctypes.Structure):
    """struct statx, up to the times."""
    _fields_ = [("mask", ctypes.c_uint32), ("blksize", ctypes.c_uint32),
                ("attributes", ctypes.c_uint64), ("nlink", ctypes.c_uint32),
                ("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32), ("mode", ctypes.c_uint16),
                ("pad", ctypes.c_uint16), ("ino", ctypes.c_uint64), ("size", ctypes.c_uint64),
                ("blocks", ctypes.c_uint64), ("attributes_mask", ctypes.c_uint64),
                ("rest", ctypes.c_uint8 * 208)]


def statx(path, flags=0, mask=0x7ff, fd=AT_FDCWD):
    found = Statx()
    libc("statx", fd, path, flags, mask, ctypes.byref(found))
    return found


def mount(source, target, kind, flags=0, data=None):
    libc("mount", source, target, kind, flags, data)


def umount(target):
    libc("umount2", target, 2)
