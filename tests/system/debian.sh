#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# debian.sh RELEASE [COMMAND [ARG...]] - README's two commands in a fresh
# installation of a Debian release, and one total of both. See usage() below.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
repo=$(cd "$here/../.." && pwd -P)

usage()
{
	cat <<'END'
usage: debian.sh RELEASE [COMMAND [ARG...]]

RELEASE is bookworm, trixie, ... The script makes a minimal installation of it
in the build folder (gcc, make, git), clones the committed tree into it and runs
"make demo" and "make check" there, or COMMAND. The last line counts both. It
needs root and debootstrap. Packages come from the mirror that apt uses on this
machine, and are kept in $BUILD/debian/RELEASE.debs for the next run.

Everything runs in a new mount namespace and a new PID namespace: no mount and no
process is left, and no service is started. The kernel is this machine's, with
its /dev and /sys: huge pages and /dev/cuse are shared with the rest of it.
END
}

die()
{
	echo "debian.sh: $*" >&2
	exit 1
}

# ---- outside ----------------------------------------------------------------

# apart MODE ARG...: runs this script with --MODE in new namespaces. In the
# background, so that the traps run at once: unshare(1) ignores SIGTERM. When it
# is killed, all processes of its PID namespace end.
apart()
{
	local status

	unshare --mount --pid --fork --kill-child --mount-proc "$0" "--$1" \
		"${@:2}" <&0 &
	apart_pid=$!
	wait $apart_pid
	status=$?
	apart_pid=''
	return $status
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
	if [ -n "$apart_pid" ]; then
		kill -KILL "$apart_pid" 2>/dev/null
		wait "$apart_pid" 2>/dev/null
	fi
	[ -z "$work" ] || rm -rf --one-file-system "$work"
}

main()
{
	case ${1-} in
	'' | -*) usage; exit 2 ;;
	esac
	release=$1
	shift
	[ "$(id -u)" = 0 ] || die "needs root"
	command -v debootstrap >/dev/null ||
		die "no debootstrap (Debian: debootstrap)"
	[ -z "$(git -C "$repo" status --porcelain)" ] ||
		echo "debian.sh: changes that are not committed are left out" >&2
	build=${BUILD:-$repo/build}
	mkdir -p "$build/debian/$release.debs/partial" || exit 1
	build=$(cd "$build" && pwd -P)
	work=$(mktemp -d "$build/debian/$release.XXXXXX") || exit 1
	uv_at_exit clean_up
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP

	mkdir "$work/tree"
	git clone -q --no-hardlinks "$repo" "$work/uvhost" || exit 1
	apart install "$release" "$work/tree" "$build/debian/$release.debs" \
		>"$work/log" 2>&1 || {
		tail -n 20 "$work/log"
		die "cannot install $release"
	}
	mv "$work/uvhost" "$work/tree/uvhost"
	apart enter "$work/tree" "$build/debian/$release.debs" "$@"
	exit
}

# ---- in the namespaces ------------------------------------------------------

# install_release RELEASE ROOT CACHE
install_release()
{
	local release=$1 root=$2 cache=$3 main security

	main=$(debian_mirror Debian)
	security=$(debian_mirror Debian-Security)
	[ -n "$main" ] || die "apt has no source of Debian packages" \
		"(apt-get update?)"
	debootstrap --variant=minbase --include=gcc,make,git \
		--cache-dir="$cache" "$release" "$root" "$main" || exit 1
	{
		echo "deb $main $release main"
		case $release in
		sid | unstable) ;;
		*) [ -z "$security" ] ||
			echo "deb $security $release-security main" ;;
		esac
	} >"$root/etc/apt/sources.list"
	# the mirror may be a snapshot, whose lists expire
	echo 'Acquire::Check-Valid-Until "false";' \
		>"$root/etc/apt/apt.conf.d/90snapshot"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
}

# enter ROOT CACHE [COMMAND...]: with pivot_root(2). After chroot(2) the kernel
# refuses user namespaces, and unshare(1) cannot make the root's mounts private.
enter()
{
	local root=$1 cache=$2
	shift 2

	mount --bind "$root" "$root" && cd "$root" &&
		mount -t proc proc proc && mount --rbind /sys sys &&
		mount --rbind /dev dev && mount -t tmpfs tmpfs run &&
		mount --bind "$cache" var/cache/apt/archives &&
		pivot_root . . && umount -l . && cd /uvhost ||
		die "cannot enter $root"
	hash -r
	exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+"http_proxy=$http_proxy"} \
		tests/system/debian.sh --run "$@"
}

# run [COMMAND...]: in the new installation
run()
{
	local total status=0

	if [ $# -gt 0 ]; then
		"$@"
		exit
	fi
	total=$(mktemp)
	if make demo; then
		echo "1 0 0" >"$total"
	else
		echo "0 1 0" >"$total"
		status=1
	fi
	UVHOST_TOTAL=$total make check || status=1
	if [ -s "$total.failed" ]; then
		echo "== what failed (the end of what each said)"
		cat "$total.failed"
	fi
	if [ -s "$total.skipped" ]; then
		echo "== what was skipped"
		cat "$total.skipped"
	fi
	# "make check" that ended before its tests counts as a failed one
	awk -v status=$status '{ p += $1; f += $2; s += $3 }
		END { if (status && !f) f = 1
			print p + 0 " passed, " f + 0 " failed, " s + 0 " skipped" }' \
		"$total"
	exit $status
}

work='' apart_pid=''
# The proxy that apt uses is debootstrap's too.
if [ -z "${http_proxy-}" ]; then
	eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
	[ -z "${http_proxy-}" ] || export http_proxy
fi
# shellcheck disable=SC2317 # that is the point
# In one piece: bash reads a script as it goes, and the root changes.
{
	case ${1-} in
	--install) shift; install_release "$@" ;;
	--enter) shift; enter "$@" ;;
	--run) shift; run "$@" ;;
	*) main "$@" ;;
	esac
	exit
}
