"""A PostgreSQL cluster of one's own: a data directory anywhere, a server on it, on a socket in a
folder of its own. It has nothing to do with the cluster that Debian's package makes.

The server refuses to run as root, so all of it is run as Debian's user postgres, and what lies
above its directories has to let that user pass.
"""
import os
import pathlib
import signal
import subprocess
import time

import programs
from programs import harness

BIN = "/usr/lib/postgresql/15/bin"
USER = "postgres"
PACKAGE = "postgresql-15"
SETTINGS = {
    "listen_addresses": "",
    "autovacuum_naptime": "2s",     # it is to run while the tests do
    "max_wal_size": "64MB",         # so are checkpoints, and files of the log are to be used again
    "min_wal_size": "32MB",
    "log_line_prefix": "%m [%p] ",
}

psycopg2 = programs.module("psycopg2", "python3-psycopg2")
programs.program(f"{BIN}/postgres", PACKAGE)


def as_user(*words, **how):
    """Run one of PostgreSQL's programs; it has to succeed. What it printed."""
    return harness.run(f"{BIN}/{words[0]}", *words[1:], user=USER, group=USER, extra_groups=[],
                       cwd="/", timeout=600, **how)


def folder_for_user(path):
    """Make a directory that is the user's."""
    path.mkdir(mode=0o700)
    harness.run("chown", f"{USER}:{USER}", path)
    return path


class Cluster:
    """The data directory @data, and a server that has its socket and its log in @run_folder."""

    def __init__(self, data, run_folder):
        self.data = pathlib.Path(data)
        self.run_folder = pathlib.Path(run_folder)
        self.server = None

    def init(self):
        """Make the data directory, with checksums of its pages."""
        folder_for_user(self.data)
        as_user("initdb", "-D", self.data, "--data-checksums", "-A", "trust", "-U", USER,
                "--locale=C", "-E", "UTF8")

    def start(self, **settings):
        """Start the server; returns when it has recovered and takes connections."""
        words = [f"{BIN}/postgres", "-D", str(self.data)]
        for name, value in {**SETTINGS, "unix_socket_directories": self.run_folder, **settings}.items():
            words += ["-c", f"{name}={value}"]
        with open(self.run_folder / "log", "ab") as log:
            self.server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                           user=USER, group=USER, extra_groups=[])
        deadline = time.monotonic() + 300
        while True:
            try:
                self.connect(database="postgres").close()
                return self
            except psycopg2.OperationalError as error:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server does not start: {error}{self.log_end()}") from error
            time.sleep(0.05)

    def connect(self, database="bench"):
        connection = psycopg2.connect(host=str(self.run_folder), user=USER, dbname=database)
        connection.autocommit = True
        return connection

    def query(self, sql, database="bench"):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def command(self, name, *words, **how):
        """Run a client program against the server."""
        return as_user(name, "-h", self.run_folder, "-U", USER, *words, **how)

    def log_end(self):
        return (self.run_folder / "log").read_text("utf-8", errors="replace")[-3000:]

    def children(self):
        """The pids of the server's processes but the first: like it they work in the data directory,
        and go on doing so for a moment when it is gone."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") == str(self.data) and int(pid) != self.server.pid:
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def kill(self):
        """SIGKILL to the server and all its children; returns when they are gone."""
        if self.server is None:
            return
        self.server.kill()
        for pid in self.children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.server.wait()
        harness.wait_for("killed servers are gone", lambda: not self.children())
        self.server = None

    def stop(self):
        """Shut down in order."""
        self.server.send_signal(signal.SIGINT)
        status = self.server.wait(timeout=300)
        self.server = None
        if status != 0:
            raise AssertionError(f"the server ended with status {status}{self.log_end()}")

    def assert_sound(self):
        """Tables and indexes agree by pg_amcheck; then shut down, every page has its checksum."""
        self.command("pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--parent-check")
        self.stop()
        as_user("pg_checksums", "--check", "-D", self.data)
