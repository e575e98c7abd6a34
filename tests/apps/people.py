#!/usr/bin/python3
"""What people do with files: rsync, tar, cp, git, unzip, make, find, du and df, on the mount and on a plain
directory. Both have to come out the same: kinds, modes, owners, times, sizes, links, bytes, extended
attributes and ACLs.

Each test notes LSNs with what the tree was then, goes on to change or remove it, and holds the past
against the note: read in place, and copied out by the programs themselves.
"""
import hashlib
import os
import pathlib
import stat
import zipfile

from programs import harness
import programs

FILES = harness.by_size(150, 300, 5000)
TAR = ("--xattrs", "--acls")
COMMITS = harness.by_size(4, 6, 60)
STORE_PAGE_BYTES = 8192     # mkfs's default, and what room is counted in
BUILT = harness.by_size(["base"], ["base", "layers"], ["*"])
GIT_PAST = harness.by_size(3, 6, 60)
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
                    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
                       for what, value in (("NAME", "A"), ("EMAIL", "a@localhost"))}}


def run(*words, **how):
    return harness.run(*words, timeout=600, env=ENVIRONMENT, **how)


def tree(folder, times=True):
    """All that programs copy of what lies below @folder, by path; a directory's size is its file system's."""
    found, links = {}, {}
    for parent, directories, files in os.walk(folder):
        directories.sort()
        for name in sorted( [".", *directories, *files] if parent == str(folder) else directories + files):
            path = pathlib.Path(parent, name)
            it = path.lstat()
            kind = stat.S_IFMT(it.st_mode)
            held = None
            if kind == stat.S_IFREG:
                held = (it.st_size, hashlib.sha256(path.read_bytes()).hexdigest(),
                        links.setdefault(it.st_ino, os.path.relpath(path, folder)), it.st_nlink)
            elif kind == stat.S_IFLNK:
                held = os.readlink(path)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                held = it.st_rdev
            attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                          for name in os.listxattr(path, follow_symlinks=False)}
            found[os.path.relpath(path, folder)] = (kind, stat.S_IMODE(it.st_mode), it.st_uid, it.st_gid, attributes,
                                                    it.st_mtime_ns if times else None, held)
    return found


def tree_make(folder, random):
    """A tree with some of everything."""
    folder.mkdir()
    places = [folder]
    for i in range(FILES):
        if random.random() < 0.1:
            name = random.choice((f"dir{i}", f"with space {i}", f"größe{i}", "d" * 200 + str(i)))
            place = random.choice(places) / name
            place.mkdir(mode=random.choice((0o755, 0o700, 0o2775, 0o1777)))
            places.append(place)
        path = random.choice(places) / random.choice((f"file{i}", f".hidden{i}", f"new\nline{i}", f"{i}" + "f" * 240))
        kind = random.random()
        if kind < 0.05:
            path.symlink_to(random.choice(("nowhere", "../file1", "/etc/passwd", "x/" * 500)))
        elif kind < 0.07:
            os.mkfifo(path)
        elif kind < 0.08:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        else:
            path.write_bytes(random.randbytes(random.choice((0, 1, 100, 4096, 5000, 70_000))))
            if kind < 0.10:
                with open(path, "r+b") as file:
                    file.seek(3_000_000)
                    file.write(b"behind a hole")
            if kind > 0.95:
                os.link(path, random.choice(places) / f"link{i}")
        os.chown(path, random.choice((0, 1000)), random.choice((0, 1000)), follow_symlinks=False)
        if path.is_file() and not path.is_symlink():
            path.chmod(random.choice((0o644, 0o600, 0o755, 0o444, 0o4755)))
    attributes_set(folder, random)
    times_set(folder, random)


def attributes_set(folder, random):
    """Some files and directories get extended attributes, of any bytes, and ACLs."""
    paths = sorted(path for path in folder.rglob("*")
                   if stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR))
    for path in random.sample(paths, len(paths) // 5):
        os.setxattr(path, f"user.{random.randrange(100)}", random.randbytes(random.choice((0, 10, 500))))
    for path in random.sample(paths, len(paths) // 10):
        run("setfacl", "-m", f"u:{random.randrange(1, 100)}:r,m::rwx", path)


def times_set(folder, random):
    """Every path gets a time of its own, to the nanosecond; rsync takes what lies in one second for equal."""
    for path in [*folder.rglob("*"), folder]:
        moment = random.randrange(1, 2_000_000_000 * 10**9)
        os.utime(path, ns=(moment, moment), follow_symlinks=False)


def tree_change(folder, random):
    """Change files, some without changing their size; remove and rename some; other times for all."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    for path in random.sample(files, len(files) // 4):
        what = random.randrange(4)
        if what == 0:
            path.unlink()
        elif what == 1:
            path.rename(path.with_name("renamed" + path.name[-20:]))
        elif what == 2:
            path.write_bytes(random.randbytes(path.stat().st_size))
        else:
            with open(path, "ab") as file:
                file.write(random.randbytes(1000))
    times_set(folder, random)


class People(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.random = harness.seeded_random()
        self.plain = self.m.folder / self.name
        self.plain.mkdir()
        self.source = self.plain / "source"
        self.noted = []         # (LSN, path, its tree then)

    def note(self, path):
        """The LSN now, with what is there to be found at it."""
        self.noted.append((self.m.latest(), path.relative_to(self.m.head), tree(path)))
        return self.noted[-1][0]

    def assert_trees(self, found, wanted, what=""):
        """Two trees are the same; if not, some of what differs."""
        differing = [(path, found.get(path), wanted.get(path)) for path in sorted(found.keys() | wanted.keys())
                     if found.get(path) != wanted.get(path)]
        self.assertEqual(differing[:5], [], what)

    def assert_noted(self):
        for lsn, path, wanted in self.noted:
            self.assert_trees(tree(self.m.at(lsn) / path), wanted, f"{path} at {lsn}")

    def on_both(self, do):
        """Run do(folder) on a plain directory and on the mount; both come out the same."""
        do(self.plain)
        do(self.dir)

    def assert_same(self, name, times=True):
        self.assert_trees(tree(self.dir / name, times), tree(self.plain / name, times), name)

    def test_rsync(self):
        tree_make(self.source, self.random)
        self.on_both(lambda to: run("rsync", "-aHAX", f"{self.source}/", f"{to}/copy/"))
        self.assert_same("copy")
        self.assert_trees(tree(self.dir / "copy"), tree(self.source))
        first = self.note(self.dir / "copy")
        for options in (["--delete"], ["--delete", "--inplace", "--no-whole-file"]):
            tree_change(self.source, self.random)
            self.on_both(lambda to: run("rsync", "-aHAX", *options, f"{self.source}/", f"{to}/copy/"))
            self.assert_same("copy")
            self.note(self.dir / "copy")
        self.assertEqual(run("rsync", "-aHAXin", "--delete", "--checksum", f"{self.source}/", f"{self.dir}/copy/"), "")
        run("rsync", "-aHAX", "--delete", f"{self.m.at(first) / self.name}/copy/", f"{self.dir}/copy/")
        self.assert_trees(tree(self.dir / "copy"), self.noted[0][2])
        self.assert_noted()

    def test_tar(self):
        tree_make(self.source, self.random)
        archive = self.dir / "source.tar"
        run("tar", *TAR, "-C", self.source, "-cpSf", archive, ".")
        run("tar", "-C", self.source, "-df", archive)
        self.on_both(lambda to: (to / "copy").mkdir())
        self.on_both(lambda to: run("tar", *TAR, "-C", to / "copy", "-xpf", archive))
        self.assert_same("copy")
        lsn = self.note(self.dir / "copy")
        run("rm", "-rf", self.dir / "copy")
        self.assertEqual(os.listdir(self.dir), ["source.tar"])
        (self.plain / "back").mkdir()
        run("tar", *TAR, "-C", self.past(lsn) / "copy", "-cpf", self.plain / "past.tar", ".")
        run("tar", *TAR, "-C", self.plain / "back", "-xpf", self.plain / "past.tar")
        self.assert_trees(tree(self.plain / "back"), self.noted[0][2])
        self.assert_noted()

    def test_cp(self):
        tree_make(self.source, self.random)
        self.on_both(lambda to: run("cp", "-a", self.source, to / "in"))
        self.on_both(lambda to: run("cp", "-a", to / "in", to / "again"))
        self.on_both(lambda to: run("cp", "-a", "--sparse=always", to / "in", to / "sparse"))
        for name in ("in", "again", "sparse"):
            self.assert_same(name)
        lsn = self.note(self.dir / "again")
        tree_change(self.dir / "again", self.random)
        self.assertNotEqual(tree(self.dir / "again"), self.noted[0][2])
        run("cp", "-a", self.past(lsn) / "again", self.plain / "out")
        run("cp", "-a", self.past(lsn) / "again", self.dir / "back")
        for copy in (self.plain / "out", self.dir / "back"):
            self.assert_trees(tree(copy), self.noted[0][2])
        self.assert_noted()

    def test_unzip(self):
        tree_make(self.source, self.random)
        for folder in (self.plain, self.dir):
            with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
                for path in sorted(self.source.rglob("*")):
                    if path.is_file() and not path.is_symlink() and "\n" not in str(path):
                        archive.write(path, path.relative_to(self.source))
        self.assertIn("No errors", run("unzip", "-tq", self.dir / "all.zip"))
        self.on_both(lambda to: run("unzip", "-q", to / "all.zip", "-d", to / "out"))
        wanted, found = (tree(folder / "out") for folder in (self.plain, self.dir))
        self.assertGreater(len(found), FILES // 2)
        for it in (wanted, found):      # a zip has no times of directories
            it.update((path, fields[:5]) for path, fields in it.items() if fields[0] == stat.S_IFDIR)
        self.assert_trees(found, wanted)
        self.note(self.dir / "out")
        run("rm", "-r", self.dir / "out")
        self.assert_noted()

    def test_git(self):
        """A repository is whole at every LSN: with each the objects come before what names them."""
        origin = self.plain / "origin"
        run("git", "init", "-q", "-b", "main", origin)
        run("cp", "-r", harness.TOP / "core", harness.TOP / "fs", origin)
        run("git", "-C", origin, "add", "-A")
        run("git", "-C", origin, "commit", "-qm", "all")
        self.on_both(lambda to: run("git", "clone", "-q", f"file://{origin}", to / "clone"))
        self.assert_same("clone/core", times=False)
        clone = self.dir / "clone"
        since = self.note(clone)
        for i in range(COMMITS):
            for path in self.random.sample(sorted((clone / "core").rglob("*.c")), 3):
                with open(path, "a", encoding="utf-8") as file:
                    file.write(f"/* {i} */\n")
            run("git", "-C", clone, "commit", "-qam", f"commit {i}")
            if i % 4 == 2:
                run("git", "-C", clone, "checkout", "-q", "-b", f"branch{i}", "HEAD~2")
            if i % 4 == 0:
                run("git", "-C", clone, "gc", "-q", "--prune=now")
        run("git", "-C", clone, "checkout", "-q", "main")
        last = self.note(clone)
        self.assertEqual(run("git", "-C", clone, "status", "--porcelain"), "")
        run("git", "-C", clone, "fsck", "--full", "--strict")
        run("git", "clone", "-q", "--mirror", f"file://{clone}", self.plain / "mirror")
        refs = run("git", "-C", self.plain / "mirror", "for-each-ref", "--format=%(objectname)", "refs/heads")
        self.assertEqual(refs, run("git", "-C", clone, "for-each-ref", "--format=%(objectname)", "refs/heads"))
        run("rm", "-rf", clone)
        for lsn in sorted(self.random.sample(range(since, last + 1), GIT_PAST)):
            repository = self.past(lsn) / "clone"
            run("git", "-C", repository, "fsck", "--full", "--strict")
            commit = run("git", "-C", repository, "rev-parse", "HEAD").strip()
            self.assertGreaterEqual(int(run("git", "-C", repository, "rev-list", "--count", commit)), 1)
        self.assert_noted()

    def build(self, folder):
        """A part of varve's own core, or all of it, by make."""
        folder = folder / "project"
        folder.mkdir()
        run("cp", "-r", harness.TOP / "core", folder / "core")
        (folder / "Makefile").write_text(
            f"sources := $(wildcard {' '.join(f'core/{box}/*.c' for box in BUILT)})\n"
            "objects := $(sources:core/%.c=objects/%.o)\n"
            "CFLAGS := -std=gnu17 -O0 -D_GNU_SOURCE -MMD $(addprefix -I,$(wildcard core/*))\n"
            "all.a: $(objects)\n\tar rcsD $@ $^\n"
            "objects/%.o: core/%.c\n\t@mkdir -p $(@D)\n\t$(CC) $(CFLAGS) -c -o $@ $<\n"
            "-include $(objects:.o=.d)\n", "utf-8")
        return run("make", "-j2", "-C", folder)

    def test_build(self):
        self.on_both(self.build)
        self.assert_same("project", times=False)
        self.assertGreater(len(list((self.dir / "project" / "objects").rglob("*.o"))), 5)
        first = self.note(self.dir / "project")
        compiled = {}
        for folder in (self.plain, self.dir):
            project = folder / "project"
            run("make", "-q", "-C", project)        # fails if anything is not up to date
            os.utime(project / "core" / "base" / "io.h")
            said = run("make", "-j2", "-C", project)
            compiled[folder] = sorted(line.split()[-1] for line in said.splitlines() if " -c " in line)
            run("make", "-q", "-C", project)
        self.assertEqual(compiled[self.plain], compiled[self.dir])
        self.assertGreater(len(compiled[self.dir]), 1)
        run("rm", "-r", self.dir / "project" / "objects")
        run("cp", "-a", self.past(first) / "project", self.plain / "back")
        run("make", "-q", "-C", self.plain / "back")
        self.assert_noted()

    def test_find_du_df(self):
        tree_make(self.source, self.random)
        run("cp", "-a", self.source, self.dir / "copy")
        lsn = self.note(self.dir / "copy")

        def found(folder, *what):
            return sorted(run("find", ".", *what, cwd=folder).split("\0"))

        def used(folder):
            """Bytes by path, of files: what a directory takes by itself is its file system's."""
            sizes = dict(reversed(line.split("\t")) for line in run("du", "-0alb", ".", cwd=folder).split("\0") if line)
            return {path: size for path, size in sizes.items() if os.path.isfile(folder / path)}

        past = self.past(lsn) / "copy"
        for what in (("-not", "-type", "d", "-printf", r"%P %y %m %U %G %s %T@ %l %n\0"),
                     ("-type", "d", "-printf", r"%P %m %U %G %T@\0"),
                     ("-newermt", "2000-01-01", "-print0"), ("-size", "+4k", "-type", "f", "-print0"),
                     ("-perm", "-4000", "-print0"), ("-links", "2", "-type", "f", "-print0"),
                     ("-xtype", "l", "-print0"), ("-empty", "-type", "f", "-print0")):
            with self.subTest(what):
                wanted = found(self.source, *what)
                self.assertGreater(len(wanted), 1)
                self.assertEqual(found(self.dir / "copy", *what), wanted)
                self.assertEqual(found(past, *what), wanted)
        self.assert_trees(used(self.dir / "copy"), used(self.source))
        self.assert_trees(used(past), used(self.source))
        disk_bytes, _ = self.space(self.m.store)
        for path in (self.dir, past):
            size_bytes, target = self.space(path)
            self.assertEqual(target, str(self.m.point))
            self.assertIn(disk_bytes - size_bytes, range(STORE_PAGE_BYTES))
        run("rm", "-r", self.dir / "copy")
        self.assert_noted()

    def space(self, path):
        """The bytes that df says the file system of @path has, and where it is mounted."""
        words = run("df", "-B1", "--output=size,used,avail,target", path).splitlines()[1].split()
        size, used, avail = map(int, words[:3])
        self.assertLessEqual(used + avail, size)
        return size, words[3]


if __name__ == "__main__":
    for name in ("rsync", "git", "unzip", "make", "gcc"):
        programs.program(name, name)
    programs.program("setfacl", "acl")
    harness.main()
