"""The programs and modules of Debian that a test here is about, and the harness of the mount tests.

What is not installed skips the test, with the name of its package and exit status 77;
tools/check installs all of them (packages_check in tools/lib.sh).
"""
import importlib
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))
import harness      # noqa: E402


def skip(why):
    print(f"SKIPPED: {why}, so nothing here was tested", file=sys.stderr)
    sys.exit(harness.SKIPPED)


def _missing(what, package):
    skip(f"there is no {what} (apt-get install {package})")


def program(name, package):
    """The path of the program @name, which may be a path itself."""
    return shutil.which(name) or _missing(name, package)


def module(name, package):
    """The Python module @name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return _missing(f"module {name}", package)
