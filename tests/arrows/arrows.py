#!/usr/bin/python3
"""The arrows between the boxes point one way, and the compiler holds them.

Usage: arrows.py SOURCE_DIR BUILD_DIR

Each box is compiled with the flags of its own first source, taken from
compile_commands.json, on a file that includes one header of one box:

(1) a header of a box above, or of one hidden behind a façade, does not compile;
(2) the control: every header a box may reach compiles, alone and first;
(3) no core box, and no command, can see libfuse; few files of fs name it;
(4) no #include names a folder, which would walk around the include paths;
(5) nothing reaches tests;
(6) one file of core calls the kernel about files (core/base/io_disk.c).
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()

# Whose headers a box may include: its own and those below it. The façade hides what
# is below: store shows fs base (the words: lsn, report) and itself, nothing of the engine.
REACH = {
    "core/base": {"core/base"},
    "core/layers": {"core/layers", "core/base"},
    "core/catalog": {"core/catalog", "core/layers", "core/base"},
    "core/engine": {"core/engine", "core/catalog", "core/layers", "core/base"},
    "core/store": {"core/store", "core/engine", "core/catalog", "core/layers", "core/base"},
    "fs": {"fs", "core/store", "core/base"},
    "tools": {"fs", "core/store", "core/base"},
}
# What a box offers to those above it, where that is not all of its headers.
FACADE = {"core/store": {"store.h", "tree.h", "check.h"}}
FUSE_FILES_MAX = 3
# What only the disk calls. mmap and its kin serve memory as well: those are told by MAP_SHARED
# and by the descriptor.
DISK = "core/base/io_disk.c"
FILE_CALL = re.compile(
    r"(?<![\w>.])(open|openat2?|creat|close|close_range|dup[23]?|p?readv?2?|p?writev?2?|pread64|"
    r"pwrite64|lseek|readdir|opendir|fdopendir|getdents64|fopen|fdopen|freopen|l?f?stat|fstatat|"
    r"statx|f?statvfs|f?statfs|access|faccessat|f?truncate|fallocate|posix_fallocate|fsync|"
    r"fdatasync|syncfs|sync|sync_file_range|msync|rename|renameat2?|unlink|unlinkat|remove|link|"
    r"linkat|symlink|symlinkat|mkdir|mkdirat|rmdir|fcntl|flock|lockf|ioctl|sendfile|splice|"
    r"copy_file_range|readlink|readlinkat|realpath|chdir|mkstemp|tmpfile|syscall)\s*\(")
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
INCLUDE = re.compile(rb'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def box_flags():
    """The compiler and flags of each box that this build compiles."""
    flags = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["directory"], entry["file"]).resolve()
        try:
            box = str(source.parent.relative_to(SOURCE))
        except ValueError:
            continue
        if box not in REACH or box in flags:
            continue
        words = shlex.split(entry["command"])
        kept, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word in ("-o", "-MF", "-MT"):
                skip = True
            elif word not in ("-c", "-MD", "-Werror", entry["file"], str(source)):
                kept.append(word)
        flags[box] = kept
    return flags


def box_headers(box):
    return sorted(path.name for path in (SOURCE / box).glob("*.h"))


def box_files():
    """Every C file of the boxes."""
    for box in REACH:
        for path in sorted((SOURCE / box).glob("*.[ch]")):
            yield path


class Arrows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.flags = box_flags()
        cls.scratch = tempfile.TemporaryDirectory(prefix="varve-arrows-")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def compile(self, box, include):
        """Compile a file of @box that includes @include; (compiled, what the compiler said)."""
        probe = os.path.join(self.scratch.name, "probe.c")
        with open(probe, "w", encoding="ascii") as file:
            file.write(f"#include {include}\ntypedef int probe_is_not_empty;\n")
        done = subprocess.run(self.flags[box] + ["-fsyntax-only", probe], cwd=BUILD,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        return done.returncode == 0, done.stderr

    def assert_not_found(self, box, header, include):
        compiled, said = self.compile(box, include)
        self.assertFalse(compiled, f"{box} can include {include}")
        self.assertRegex(said, re.escape(header) + r".*(No such file|file not found)")

    def test_every_box_of_the_build_is_known(self):
        self.assertGreaterEqual(set(self.flags), {box for box in REACH if box.startswith("core/")})

    def test_header_names_are_unique(self):
        seen = {}
        for box in REACH:
            for header in box_headers(box):
                self.assertNotIn(header, seen, f"{box} and {seen.get(header)} both have {header}")
                seen[header] = box

    def test_an_include_against_the_arrows_does_not_compile(self):
        refused = 0
        for box in self.flags:
            for other in sorted(set(REACH) - REACH[box]):
                for header in box_headers(other):
                    with self.subTest(box=box, header=f"{other}/{header}"):
                        self.assert_not_found(box, header, f'"{header}"')
                        refused += 1
        print(f"{refused} includes against the arrows refused")
        self.assertGreater(refused, 0)

    def test_an_include_along_the_arrows_compiles(self):
        compiled_count = 0
        for box in self.flags:
            for other in sorted(REACH[box]):
                for header in box_headers(other):
                    with self.subTest(box=box, header=f"{other}/{header}"):
                        if other != box and self.is_private(other, header):
                            continue
                        compiled, said = self.compile(box, f'"{header}"')
                        self.assertTrue(compiled, f"{box} can't include {other}/{header}:\n{said}")
                        compiled_count += 1
        print(f"{compiled_count} includes along the arrows compiled")
        self.assertGreater(compiled_count, 0)

    @classmethod
    def is_private(cls, box, header):
        """Is the header for its own box only?"""
        return header not in FACADE.get(box, {header}) or cls.sees_fuse(SOURCE / box / header)

    @staticmethod
    def names_fuse(path):
        return any(b"fuse_lowlevel" in name or name.startswith(b"fuse.")
                   or b"fuse3/" in name for name in INCLUDE.findall(path.read_bytes()))

    @classmethod
    def sees_fuse(cls, path):
        """Names it, or includes a header of its own box that does."""
        return cls.names_fuse(path) or any(
            cls.names_fuse(path.parent / os.fsdecode(name)) for name in INCLUDE.findall(path.read_bytes())
            if (path.parent / os.fsdecode(name)).is_file())

    def test_only_fs_sees_libfuse(self):
        for box in self.flags:
            with self.subTest(box=box):
                if box == "fs":
                    compiled, said = self.compile(
                        box, "<stddef.h>\n#define FUSE_USE_VERSION 314\n#include <fuse_lowlevel.h>")
                    self.assertTrue(compiled, said)
                else:
                    self.assert_not_found(box, "fuse_lowlevel.h", "<fuse_lowlevel.h>")

    def test_few_files_name_libfuse(self):
        naming = [path for path in box_files() if self.names_fuse(path)]
        self.assertEqual([path for path in naming if path.parent.name != "fs"], [])
        self.assertLessEqual(len(naming), FUSE_FILES_MAX, naming)
        if "fs" in self.flags:
            self.assertGreater(len(naming), 0)

    def test_no_include_walks_around_the_paths(self):
        for path in box_files():
            for name in re.findall(rb'^\s*#\s*include\s*"([^"]+)"', path.read_bytes(), re.M):
                with self.subTest(file=str(path.relative_to(SOURCE))):
                    self.assertNotIn(b"/", name)

    @staticmethod
    def code_of(path):
        """The text without comments and strings, its lines kept."""
        return COMMENT_OR_STRING.sub(lambda found: "\n" * found.group().count("\n"),
                                     path.read_text("utf-8"))

    def test_only_the_disk_calls_the_kernel_about_files(self):
        calls = {str(path.relative_to(SOURCE)): found
                 for path in sorted((SOURCE / "core").rglob("*.[ch]"))
                 if (found := [call.group(1) for call in FILE_CALL.finditer(self.code_of(path))])}
        print(f"{DISK}: {sorted(set(calls.get(DISK, [])))}")
        self.assertGreaterEqual(set(calls[DISK]), {"openat", "pread", "pwritev", "fdatasync",
                                                   "fsync", "renameat", "unlinkat"})
        self.assertEqual({name: found for name, found in calls.items() if name != DISK}, {})
        mapping = [str(path.relative_to(SOURCE)) for path in (SOURCE / "core").rglob("*.[ch]")
                   if "MAP_SHARED" in self.code_of(path)]
        self.assertEqual(mapping, [DISK])

    def test_nothing_reaches_tests(self):
        names = {path.name for path in (SOURCE / "tests").rglob("*.h")}
        for box in self.flags:
            for word in self.flags[box]:
                self.assertNotIn(str(SOURCE / "tests"), word, f"{box} sees tests")
        for path in box_files():
            for name in INCLUDE.findall(path.read_bytes()):
                self.assertNotIn(name.decode(), names, f"{path} includes a header of tests")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
