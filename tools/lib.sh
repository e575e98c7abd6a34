# shellcheck shell=bash disable=SC2034
# What tools/start and tools/check share: messages, packages, the build.
# To be sourced, from anywhere; sets $top to the clone's root.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What a build needs, tests included, and what it takes to mount. libfuse3's
# fuse3 holds fusermount3, for users other than root.
packages_build=(gcc libc6-dev make cmake pkg-config fuse3 libfuse3-dev libxxhash-dev
	liburcu-dev liblz4-dev libzstd-dev libjansson-dev libcmocka-dev)
# What the checks need besides: the other compiler and its sanitizers' run-time
# libraries, Python with its sqlite3 module, mkfs for the small full disk, strace to
# make the daemon's system calls fail, groff and systemd-analyze to read what is installed;
# then the programs that tests/apps runs on a mount.
packages_check=("${packages_build[@]}" clang llvm libclang-rt-14-dev python3 shellcheck
	e2fsprogs mount util-linux strace groff-base systemd
	postgresql-15 python3-psycopg2 fio rsync git unzip acl)

say()
{
	printf '%s: %s\n' "$(basename "$0")" "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# Run a command as root: directly, or by sudo.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root, and there is no sudo: run as root: $*"
	fi
}

# Print those of the packages given that are not installed, one a line.
packages_missing()
{
	local package
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
			grep -q '^install ok installed$' || printf '%s\n' "$package"
	done
}

# Install those of the packages given that are missing. Touches neither the
# network nor root's rights if there are none.
packages_install()
{
	local missing
	command -v dpkg-query >/dev/null || die "packages are installed by apt-get, on Debian 12;" \
		"on another system install the likes of these by hand: $*"
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	# A fresh image has no package lists, an old one stale ones: both show as a
	# failure to install, so the lists are fetched only then.
	apt_install "${missing[@]}" >/dev/null 2>&1 && return 0
	as_root apt-get update -qq || die "apt-get update failed: see above; is there a network" \
		"and a line for bookworm in /etc/apt/sources.list?"
	apt_install "${missing[@]}" || die "apt-get could not install ${missing[*]}: see above"
}

apt_install()
{
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends "$@" </dev/null
}

# The processors to build with.
jobs_count()
{
	nproc 2>/dev/null || echo 2
}

# build_make DIR TARGET [CMAKE-OPTION...]: configure DIR and build TARGET in it.
# Quiet when all goes well; the end of DIR/build.log, where the error is, when not.
build_make()
{
	local dir=$1 target=$2
	shift 2
	mkdir -p "$dir" || return 1
	if cmake -S "$top" -B "$dir" "$@" >"$dir/build.log" 2>&1 &&
		cmake --build "$dir" --target "$target" -j "$(jobs_count)" >>"$dir/build.log" 2>&1; then
		return 0
	fi
	tail -n 40 "$dir/build.log" >&2
	printf 'The whole of it is in %s\n' "$dir/build.log" >&2
	return 1
}

# Does PATH answer? A mount whose daemon died does not: "Transport endpoint is
# not connected". The kernel remembers attributes, so a plain stat of it may well
# succeed; what df wants to know is asked of the daemon each time.
mount_is_dead()
{
	local said
	said=$(LC_ALL=C stat -f "$1" 2>&1 >/dev/null) && return 1
	case $said in
	*"Transport endpoint is not connected"* | *"Software caused connection abort"*) return 0 ;;
	*) return 1 ;;
	esac
}
