"""Clients of a database on a mount, and what each was told of its transactions.

A client is a process. It logs outside of the mount: the number of a transaction with the LSN read
before it began, then with the LSN read right after the commit was acknowledged. So a state at n has
to have what was done at or below n, and can't have what was not begun below n.
"""
import os
import signal
import time


class Log:
    """The client's side."""

    def __init__(self, m, path):
        self.m = m
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.number = 0

    def begin(self, kept=True):
        """A transaction is about to begin; @kept if it is to be committed. Its number."""
        os.write(self.fd, f"{'begun' if kept else 'dropped'} {self.number} {self.m.latest()}\n".encode())
        return self.number

    def done(self):
        """The transaction was acknowledged."""
        os.write(self.fd, f"done {self.number} {self.m.latest()}\n".encode())
        self.number += 1

    def failed(self, error):
        os.write(self.fd, f"failed {time.monotonic()} {type(error).__name__}: "
                          f"{' '.join(str(error).split())}\n".encode())


class Client:
    """The test's side of one client, a process that runs @life(log) until a call fails."""

    def __init__(self, m, name, life):
        self.name = name
        self.begun = {}         # number: LSN before it began
        self.done = {}          # number: LSN read after it was acknowledged
        self.log_path = m.folder / f"client-{name}"
        self.killed = False
        self.pid = os.fork()
        if self.pid == 0:
            try:
                log = Log(m, self.log_path)
                try:
                    life(log)
                except Exception as error:      # whatever it is: the test judges by its time
                    log.failed(error)
            finally:
                os._exit(0)

    def kill(self):
        """SIGKILL, in the midst of whatever it does."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def assert_alive(self):
        if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            raise AssertionError(f"client {self.name} ended: {self.log_path.read_text('utf-8')[-300:]}")

    def gather(self, server_killed_at):
        """Wait for the end and read the log. Only a kill may have ended it: its own, or the server's, by
        which a mapped file may also give SIGBUS."""
        _, status = os.waitpid(self.pid, 0)
        ended_well = self.killed or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS)
        for line in self.log_path.read_text("utf-8").splitlines():
            what, number, rest = line.split(" ", 2)
            if what == "failed":
                ended_well |= float(number) >= server_killed_at
            elif what == "done":
                self.done[int(number)] = int(rest)
            elif what == "begun":
                self.begun[int(number)] = int(rest)
        if not ended_well:
            raise AssertionError(f"client {self.name} failed before the kill: {line}")

    def faults(self, found, lsn=None):
        """What is wrong with the numbers @found of this client in a database, as of @lsn or now."""
        must = {n for n, at in self.done.items() if n in self.begun and (lsn is None or at <= lsn)}
        may = {n for n, at in self.begun.items() if lsn is None or at < lsn}
        return [f"client {self.name}: {what}: {sorted(numbers)[:10]}"
                for what, numbers in (("lost", must - found), ("not to be there", found - may)) if numbers]


def newest(clients):
    """The newest LSN at which one of @clients was told that it was done."""
    return max(lsn for client in clients for lsn in client.done.values())


def faults(clients, rows, lsn=None):
    """What is wrong with @rows, pairs of a client's name and a number, as of @lsn or now."""
    numbers = {}
    for name, number in rows:
        numbers.setdefault(name, set()).add(number)
    found = [fault for client in clients for fault in client.faults(numbers.pop(client.name, set()), lsn)]
    return found + [f"of nobody known: {name}" for name in numbers]
