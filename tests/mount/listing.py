#!/usr/bin/python3
"""readdir: offsets are stable, so every name that stays is listed once, whatever comes and
goes meanwhile; the past is listed as it was."""
import ctypes
import os

import harness
from harness import write_file


class Dirent(ctypes.Structure):
    _fields_ = [("d_ino", ctypes.c_uint64), ("d_off", ctypes.c_int64),
                ("d_reclen", ctypes.c_ushort), ("d_type", ctypes.c_ubyte),
                ("d_name", ctypes.c_char * 256)]


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.POINTER(Dirent)
LIBC.telldir.restype = ctypes.c_long


class DirStream:
    """opendir(3) and its relatives."""

    def __init__(self, path):
        self.stream = ctypes.c_void_p(LIBC.opendir(os.fsencode(path)))
        if not self.stream:
            raise OSError(ctypes.get_errno(), str(path))

    def read(self):
        """The next name, or None at the end."""
        entry = LIBC.readdir(self.stream)
        return os.fsdecode(entry.contents.d_name) if entry else None

    def read_all(self):
        return list(iter(self.read, None))

    def tell(self):
        return LIBC.telldir(self.stream)

    def seek(self, place):
        LIBC.seekdir(self.stream, ctypes.c_long(place))

    def rewind(self):
        LIBC.rewinddir(self.stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        LIBC.closedir(self.stream)


class Listing(harness.MountCase):
    count = harness.by_size(2000, 10_000)

    def fill(self, count):
        names = [f"file-{i:06}" for i in range(count)]
        for name in names:
            write_file(self.dir / name, b"")
        return names

    def test_an_empty_directory_lists_itself_and_its_parent(self):
        with DirStream(self.dir) as stream:
            self.assertEqual(sorted(stream.read_all()), [".", ".."])

    def test_a_big_directory_lists_every_name_once(self):
        names = self.fill(self.count)
        with DirStream(self.dir) as stream:
            listed = stream.read_all()
        self.assertEqual(sorted(listed), sorted([".", "..", *names]))
        self.m.remount()
        self.assertEqual(sorted(os.listdir(self.dir)), names)
        self.assertEqual(sorted(os.listdir(self.past(self.m.latest()))), names)

    def test_every_place_can_be_returned_to(self):
        self.fill(500)
        for folder in (self.dir, self.past(self.m.latest()), self.m.lsn, self.m.point):
            with self.subTest(folder=folder), DirStream(folder) as stream:
                places, listed = [], []
                while True:
                    place = stream.tell()
                    name = stream.read()
                    if name is None:
                        break
                    places.append(place)
                    listed.append(name)
                self.assertEqual(len(set(places)), len(places))
                for i in reversed(range(0, len(places), 7)):
                    stream.seek(places[i])
                    self.assertEqual(stream.read(), listed[i])
                stream.seek(places[len(places) // 2])
                self.assertEqual(stream.read_all(), listed[len(listed) // 2:])
                stream.rewind()
                self.assertEqual(stream.read_all(), listed)

    def test_places_hold_in_another_stream(self):
        self.fill(500)
        with DirStream(self.dir) as one, DirStream(self.dir) as two:
            for _ in range(250):
                one.read()
            two.seek(one.tell())
            self.assertEqual(two.read_all(), one.read_all())

    def test_names_that_stay_are_listed_once_while_others_come_and_go(self):
        random = harness.seeded_random()
        names = self.fill(3000)
        random.shuffle(names)
        stay, go = set(names[:1500]), names[1500:]
        listed = []
        with DirStream(self.dir) as stream:
            new = 0
            while True:
                name = stream.read()
                if name is None:
                    break
                listed.append(name)
                if len(listed) % 2 == 0:
                    write_file(self.dir / f"new-{new}", b"")
                    new += 1
                    if go:
                        os.unlink(self.dir / go.pop())
                if new > 20_000:
                    self.fail("the listing does not end while names are added")
        for name in stay:
            self.assertEqual(listed.count(name), 1, name)
        self.assertEqual(len(listed), len(set(listed)))

    def test_removing_all_while_listing_removes_all(self):
        self.fill(3000)
        with DirStream(self.dir) as stream:
            while (name := stream.read()) is not None:
                if name not in (".", ".."):
                    os.unlink(self.dir / name)
        self.assertEqual(os.listdir(self.dir), [])
        os.rmdir(self.dir)
        self.dir.mkdir()

    def test_the_past_is_listed_as_it_was_while_head_changes(self):
        names = self.fill(1000)
        n = self.m.latest()
        with DirStream(self.past(n)) as stream:
            listed = [stream.read() for _ in range(300)]
            for name in names[::2]:
                os.unlink(self.dir / name)
            for i in range(300):
                write_file(self.dir / f"late-{i}", b"")
            listed += stream.read_all()
        self.assertEqual(sorted(listed), sorted([".", "..", *names]))
        self.assertEqual(sorted(os.listdir(self.past(n))), names)

    def test_types_are_told(self):
        os.mkdir(self.dir / "d")
        write_file(self.dir / "f", b"")
        os.symlink("f", self.dir / "l")
        os.mkfifo(self.dir / "p")
        for folder in (self.dir, self.past(self.m.latest())):
            with os.scandir(folder) as entries:
                kinds = {e.name: (e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False),
                                  e.is_symlink()) for e in entries}
            self.assertEqual(kinds, {"d": (True, False, False), "f": (False, True, False),
                                     "l": (False, False, True), "p": (False, False, False)})


if __name__ == "__main__":
    harness.main()
