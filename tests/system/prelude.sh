# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# prelude.sh - what each script of the tests starts with:
#
#	. "$(dirname "$0")/prelude.sh"
#
# It sets here (the script's folder), uv_here (this one) and BUILD (the build
# folder), and has functions for the end of a script and for waiting. A script
# passes with status 0; uv_skip and uv_die end it as skipped and as failed. Times
# are seconds on an idle host; $UV_SLOW stretches all of them.
#
# There is no "set -e": scripts look at the status of what they test themselves.
# Tools that no test is add it (vm-run.sh, initramfs.sh).

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
uv_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${BUILD:=$uv_here/../../build}"
[ ! -d "$BUILD" ] || BUILD=$(cd "$BUILD" && pwd -P)
: "${UV_SLOW:=$([ -n "${UVHOST_VM-}" ] && echo 10 || echo 2)}"
# Between two looks of uv_wait, after the first ten. In the check machine, whose one
# processor is emulated, a look takes long itself, from the guest that is waited for.
uv__pause=$([ -n "${UVHOST_VM-}" ] && echo 0.5 || echo 0.1)
PATH=$PATH:/usr/sbin:/sbin

# ---- the end --------------------------------------------------------------

uv_tmp='' # uv_need_tmp makes it
uv__at_exit=()

# uv_need_tmp: makes $uv_tmp, a folder that is removed when the script ends.
uv_need_tmp()
{
	[ -n "$uv_tmp" ] || uv_tmp=$(mktemp -d)
}

# uv_at_exit COMMAND: a command line for the end of the script, whose status it
# finds in $?; the last one named runs first.
uv_at_exit()
{
	uv__at_exit=("$1" ${uv__at_exit[@]+"${uv__at_exit[@]}"})
}

# uv_at_exit_no_more: the script has done itself what uv_at_exit was told.
uv_at_exit_no_more()
{
	uv__at_exit=()
}

uv__exit()
{
	local status=$? command

	set +e
	for command in ${uv__at_exit[@]+"${uv__at_exit[@]}"}; do
		(exit $status)
		eval "$command"
	done
	[ -z "$uv_tmp" ] || rm -rf "$uv_tmp"
	exit $status
}
trap uv__exit EXIT

uv_say()
{
	echo "$*" >&2
}

uv_die()
{
	uv_say "FAIL: $*"
	exit 1
}

# It cannot run here: 77, as automake has it.
uv_skip()
{
	uv_say "SKIP: $*"
	exit 77
}

# uv_skip_part REASON: a part of the test cannot run here. The script goes on, and
# run.sh counts one skipped test.
uv_skip_part()
{
	uv_say "SKIP: $*"
}

# uv_need_root REASON
uv_need_root()
{
	[ "$(id -u)" = 0 ] || uv_skip "$1"
}

# uv_own_netns "$@": goes on in a network of its own, as root, or skips; with the
# script's arguments, since it is started again.
uv_own_netns()
{
	uv_need_root "taps and namespaces need root"
	[ -n "${UV_NETNS-}" ] || { in_netns "$0" "$@"; exit; }
}

# in_netns COMMAND...: in a network of its own, with lo up; needs no tap name
# that is free on the host.
in_netns()
{
	UV_NETNS=1 unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
}

# ---- waiting --------------------------------------------------------------

# uv_wait SECONDS COMMAND...: until COMMAND succeeds.
uv_wait()
{
	local until now looks=0 pause=0.1

	read -r now until </proc/uptime
	until=$((${now%.*} + $1 * UV_SLOW + 1))
	shift
	while ! "$@"; do
		read -r now _ </proc/uptime
		[ "${now%.*}" -lt "$until" ] || return 1
		sleep $pause
		[ $((looks += 1)) -lt 10 ] || pause=$uv__pause
	done
}

wait_for_path()
{
	uv_wait "${2:-10}" test -e "$1" ||
		{ uv_say "$1 has not appeared"; return 1; }
}

# uv_listens PATH: a socket that does not listen yet has refused callers although
# PATH is there. uvhostd's is not listed under PATH: it is renamed to it when it listens.
uv_listens()
{
	[ -S "$1" ] && awk -v path="$1" '$NF == path { listed = 1 }
		$NF == path && $4 == "00010000" { listens = 1 }
		END { exit listed && !listens }' /proc/net/unix
}

wait_for_listener()
{
	uv_wait "${2:-10}" uv_listens "$1" ||
		{ uv_say "nobody listens at $1"; return 1; }
}

wait_for_no_path()
{
	uv_wait "${2:-10}" test ! -e "$1" ||
		{ uv_say "$1 has not gone"; return 1; }
}

# ---- processes ------------------------------------------------------------

# uv_has_ended PID: of a child of this script
uv_has_ended()
{
	! kill -0 "$1" 2>/dev/null
}

uv__children()
{
	cat "/proc/$1"/task/*/children 2>/dev/null
}

# uv_descendants PID: the process and all that it and those have started.
uv_descendants()
{
	local pid

	echo "$1"
	for pid in $(uv__children "$1"); do
		uv_descendants "$pid"
	done
}

# uv_kill_all PID: the process and all that it has started, which nobody starts again.
uv_kill_all()
{
	local pid

	kill -STOP "$1" 2>/dev/null
	for pid in $(uv__children "$1"); do
		uv_kill_all "$pid"
	done
	kill -KILL "$1" 2>/dev/null
}

# uv_show_threads PID...: a line for each of their threads, shells left out: state, what
# it waits in, its system call with the first two arguments, the kernel's stack.
uv_show_threads()
{
	local pid task comm

	for pid; do
		{ read -r comm <"/proc/$pid/comm"; } 2>/dev/null || continue
		case $comm in *sh | sleep | timeout) continue ;; esac
		for task in "/proc/$pid"/task/*; do
			echo "$comm $pid/${task##*/}" \
				"$(sed -n 's/^State:[[:space:]]*//p' "$task/status")" \
				"$(cat "$task/wchan");" \
				"call $(cut -d ' ' -f 1-3 "$task/syscall");" \
				"$(cut -d ' ' -f 2 "$task/stack" |
					grep -v _syscall | head -n 5 | tr '\n' ' ')"
		done 2>/dev/null
	done
}

# uv_limit SECONDS COMMAND...: as timeout(1). If time is up, it says what the threads of
# all that this script has started wait in, and kills COMMAND's processes. They may not
# have ended then (state D).
uv_limit()
{
	local seconds=$1 pid clock ended='' status

	shift
	"$@" &
	pid=$!
	sleep "$seconds" &
	clock=$!
	wait -n -p ended $pid $clock
	status=$?
	if [ "$ended" = $pid ]; then
		kill $clock
		wait $clock 2>/dev/null
		return $status
	fi
	uv_say "not at its end after $seconds s: $*"
	# shellcheck disable=SC2046 # words
	uv_show_threads $(uv_descendants $$) >&2
	uv_kill_all $pid
	return 124
}

# uv_sanitized PID: whether a sanitizer is in the process.
uv_sanitized()
{
	grep -qE 'lib(a|t|ub)san' "/proc/$1/maps"
}

# uv_data_kib PID: what a process has mapped of its own, KiB. Resident memory is no
# measure of a leak: pages of a heap that is there are touched later.
uv_data_kib()
{
	sed -n 's/^VmData:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}

# ---- packages ---------------------------------------------------------------

# debian_mirror [LABEL]: the mirror from which apt takes Debian's packages here, or
# with Debian-Security those of its security updates; nothing if there is none.
debian_mirror()
{
	# shellcheck disable=SC2016 # apt's words
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' "Label: ${1:-Debian}" 'Component: main' |
		sed -n '1s,/*$,,p'
}
