#!/usr/bin/python3
"""Does a directory's file system do what the manual pages say?

    run.py DIR [--differences FILE] [--only WORD] [--list] [--verbose]

Runs every claim of this folder in a new directory below DIR, prints one line
for each that does not hold, is skipped or differs as noted, and a summary. The exit status
is 0 if all is as it should be, 1 if not, 2 for a wrong call, 77 if DIR can't be tried.

FILE notes the differences of one file system: "family/claim | why" a line. A
claim that is noted has to fail; one that holds all the same is as wrong as one
that fails without a note, and so is a note of a claim that there is not.
"""
import argparse
import collections
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time

import claims

FAMILIES = ("access", "acls", "data", "directories", "durability", "links", "locks", "mapping",
            "metadata", "opening", "paths", "readonly", "renames", "setid", "space", "special",
            "times", "unnamed", "xattrs")


def differences_of(path):
    """{claim: why}, by the file of differences."""
    noted = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, bar, why = (word.strip() for word in line.partition(" | "))
        if not bar or not why or name in noted:
            sys.exit(f"{path}:{number}: 'family/claim | why' is wanted, once for each claim")
        if name not in claims.CLAIMS:
            sys.exit(f"{path}:{number}: there is no claim {name}")
        noted[name] = why
    return noted


def try_claim(function, folder):
    """("pass" | "fail" | "skip", why), of one claim in a new directory and a process of its own."""
    place = tempfile.mkdtemp(dir=folder)
    os.chmod(place, 0o755)

    def act():
        os.chdir(place)
        os.umask(0o022)
        function()
    try:
        claims.in_child(act, alone=True)
        return "pass", ""
    except claims.Skip as error:
        return "skip", str(error)
    except claims.Broken as error:
        return "fail", str(error)
    except OSError as error:
        return "fail", f"a call that had to succeed met {claims.name_of(error.errno)}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def judge(name, verdict, why, noted):
    """(word to print, line or None) of a verdict, given the notes of differences."""
    if verdict == "pass" and name in noted:
        return "FAIL", f"holds, but is noted as a difference: {noted[name]}"
    if verdict == "fail" and name in noted:
        return "differs", why
    if verdict == "fail":
        return "FAIL", why
    return verdict, why or None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--differences", type=pathlib.Path)
    parser.add_argument("--only", default="", help="claims with this word in their names")
    parser.add_argument("--list", action="store_true", help="print the claims and run none")
    parser.add_argument("--verbose", action="store_true", help="a line for what holds, too")
    how = parser.parse_args()
    for family in FAMILIES:
        importlib.import_module(family)
    chosen = [name for name in claims.CLAIMS if how.only in name]
    if how.list:
        print("\n".join(chosen))
        return 0
    if os.geteuid() != 0:
        print("SKIPPED: to act as several users this has to be run by root", file=sys.stderr)
        return 77
    noted = differences_of(how.differences) if how.differences else {}
    folder = tempfile.mkdtemp(prefix="posix-", dir=how.dir.resolve())
    os.chmod(folder, 0o755)
    count = collections.Counter()
    started = time.monotonic()
    try:
        for name in chosen:
            word, line = judge(name, *try_claim(claims.CLAIMS[name], folder), noted)
            count[word] += 1
            if how.verbose or word != "pass":
                print(f"{word:8}{name}{': ' + line if line else ''}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(chosen)} claims in {time.monotonic() - started:.1f} s: {count['pass']} hold, "
          f"{count['differs']} differ as noted, {count['skip']} skipped, {count['FAIL']} FAILED")
    return 1 if count["FAIL"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
