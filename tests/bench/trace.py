#!/usr/bin/env python3
"""Make a trace: what SQLite writes to its files, byte by byte, for varve-bench history --trace.

A workload is run under strace, and every write and sync below a directory is taken
down in the format of trace_source.h. An output that ends in .xz is packed by xz.

    tests/bench/trace.py --journal wal --transactions 20000 --batch 100 sqlite.trace.xz
    tests/bench/trace.py --in ~/mnt/varve/head/rel sqlite.trace.xz

It runs in a temporary directory, or in one made below --in, as on a mount. Needs strace.
"""
import argparse
import lzma
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

FILES_MAX = 16
WRITE_MAX = 1 << 20

# A call, and one that strace had to tell in two pieces.
CALL = re.compile(r'^(\d+) +(\w+)\((.*)\) += (-?\d+)')
UNFINISHED = re.compile(r'^(\d+) +(.*) <unfinished \.\.\.>$')
RESUMED = re.compile(r'^(\d+) +<\.\.\. \w+ resumed>(.*)$')


def workload_run(directory, journal, transactions, batch, seed):
    """Orders and customers: inserts, updates of a balance, some deletions; a commit a batch."""
    import sqlite3
    dice = random.Random(seed)
    db = sqlite3.connect(os.path.join(directory, 'shop.db'), isolation_level=None)
    db.execute(f'PRAGMA journal_mode={journal}')
    db.execute('PRAGMA synchronous=FULL')
    db.execute('CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, balance INTEGER, note TEXT)')
    db.execute('CREATE TABLE item (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, state TEXT)')
    db.execute('CREATE INDEX item_customer ON item (customer)')
    customers = max(100, transactions // 10)
    db.execute('BEGIN')
    for number in range(customers):
        db.execute('INSERT INTO customer VALUES (?, ?, 0, ?)',
                   (number, f'customer {number:06}', 'delivery by the back door, mornings only'))
    db.execute('COMMIT')
    for number in range(transactions):
        if number % batch == 0:
            db.execute('BEGIN IMMEDIATE')
        customer = dice.randrange(customers)
        amount = dice.randrange(1, 100000)
        db.execute('INSERT INTO item (customer, amount, state) VALUES (?, ?, ?)', (customer, amount, 'ordered'))
        db.execute('UPDATE customer SET balance = balance + ? WHERE id = ?', (amount, customer))
        if number % 10 == 9:
            db.execute('DELETE FROM item WHERE id = ?', (dice.randrange(number),))
        if number % batch == batch - 1 or number == transactions - 1:
            db.execute('COMMIT')
    db.close()


class Tracer:
    """Writes the trace: strace -y names the file behind each descriptor."""

    def __init__(self, directory, out):
        self.directory = os.path.realpath(directory) + os.sep
        self.out = out
        self.numbers = {}
        self.writes = self.syncs = self.bytes = 0
        out.write(b'VARVETRC')

    def number(self, text):
        """The file of "3</path>", or None if it is not one of ours."""
        match = re.match(r'\d+<(.*?)>(?:,|$)', text)
        path = match and match.group(1).encode('latin-1').decode('unicode_escape')
        if not path or not path.removesuffix(' (deleted)').startswith(self.directory):
            return None
        path = path.removesuffix(' (deleted)')
        if path not in self.numbers:
            if len(self.numbers) == FILES_MAX:
                sys.exit(f'trace.py: more than {FILES_MAX} files are written')
            self.numbers[path] = len(self.numbers)
        return self.numbers[path]

    def call(self, name, arguments, result):
        file = self.number(arguments)
        if file is None or result < 0:
            return
        if name in ('fsync', 'fdatasync'):
            self.out.write(b'\x02')
            self.syncs += 1
        elif name == 'pwrite64':
            self.write(file, int(arguments.rsplit(', ', 1)[1]), arguments, result)
        elif name == 'write':
            sys.exit('trace.py: a file is written by write(2), whose place is not told')

    def write(self, file, offset, arguments, count):
        data = bytes.fromhex(re.search(r', "((?:\\x[0-9a-f]{2})*)"', arguments).group(1).replace('\\x', ''))
        if len(data) < count:
            sys.exit('trace.py: strace cut the bytes of a write')
        for at in range(0, count, WRITE_MAX):
            piece = data[at:min(at + WRITE_MAX, count)]
            self.out.write(struct.pack('<BBIQ', 1, file, len(piece), offset + at) + piece)
        self.writes += 1
        self.bytes += count


def calls(lines):
    """Whole calls, those that strace told in two pieces put together."""
    pending = {}
    for line in lines:
        line = line.rstrip('\n')
        if match := UNFINISHED.match(line):
            pending[match.group(1)] = match.group(2)
            continue
        if match := RESUMED.match(line):
            line = f'{match.group(1)} {pending.pop(match.group(1))}{match.group(2)}'
        if match := CALL.match(line):
            yield match.group(2), match.group(3), int(match.group(4))


def record(arguments, directory, out):
    log = os.path.join(directory, 'strace')
    files = os.path.join(directory, 'files')
    os.mkdir(files)
    command = ['strace', '-f', '-y', '-xx', '-s', str(WRITE_MAX * 2), '-e', 'signal=none',
               '-e', 'trace=pwrite64,write,fsync,fdatasync', '-o', log,
               sys.executable, os.path.realpath(__file__), '--run-in', files,
               '--journal', arguments.journal, '--transactions', str(arguments.transactions),
               '--batch', str(arguments.batch), '--seed', str(arguments.seed), '-']
    subprocess.run(command, check=True)
    tracer = Tracer(files, out)
    with open(log, encoding='latin-1') as lines:
        for name, call_arguments, result in calls(lines):
            tracer.call(name, call_arguments, result)
    print(f'{tracer.writes} writes of together {tracer.bytes} bytes to {len(tracer.numbers)} files, '
          f'{tracer.syncs} syncs', file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--journal', choices=['wal', 'delete'], default='wal')
    parser.add_argument('--transactions', type=int, default=20000)
    parser.add_argument('--batch', type=int, default=100, help='transactions a commit')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--in', dest='parent', help='a directory, e.g. of a mount, to make the database in')
    parser.add_argument('--run-in', help=argparse.SUPPRESS)
    parser.add_argument('output')
    arguments = parser.parse_args()
    if arguments.run_in:
        workload_run(arguments.run_in, arguments.journal, arguments.transactions, arguments.batch, arguments.seed)
        return
    directory = tempfile.mkdtemp(dir=arguments.parent)
    try:
        opener = lzma.open if arguments.output.endswith('.xz') else open
        options = {'preset': 9 | lzma.PRESET_EXTREME} if opener is lzma.open else {}
        with opener(arguments.output, 'wb', **options) as out:
            record(arguments, directory, out)
    finally:
        shutil.rmtree(directory)


if __name__ == '__main__':
    main()
