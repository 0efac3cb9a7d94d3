#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# stuck-sessions.sh [N [worker|uffd]] - sessions whose workers hang where no signal
# reaches them (stuck-sessions.c): others are served, SIGUSR1 shows them, before
# their owners die and after, and the daemon ends all the same when its channel
# closes or SIGTERM comes. With "worker" they are worker processes, which are not
# replaced; with "uffd" they wait for uvhostd, where a taker waits for their owner's
# pages: these sessions end with their owners.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

# The daemon is ours or the CUSE host's to reap.
daemon_ended()
{
	local state

	state=$(sed 's/^.*) //; s/ .*//' "/proc/$device_pid/stat" \
		2>/dev/null) || return 0
	[ "$state" = Z ]
}

all_told()
{
	[ "$(grep -c 'was closed and does not end' "$device_log")" = "$n" ]
}

# What is left behind is told, and looking for leaks would wait for all threads.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

n=${1:-4} kind=${2-}
device_args="--max-sessions $n --max-user-sessions $n --device uvhost-net"
if [ -n "$kind" ]; then
	device_args+=,$device_with_workers
else
	device_args+=,$device_without_workers
fi
device_start "$@"
uv_at_exit device_stop
ip link set lo up
[ "$device_host" != kernel ] || chmod 666 "$device_node"
# Does a thread that the kernel does not let go still hold more than stdio?
holds_nothing()
{
	local task

	for task in "/proc/$1/task"/*; do
		[ "$(find "$task/fd" -type l 2>/dev/null | wc -l)" -le 3 ] ||
			return 1
	done
}

# A vhost-user session of its own daemon: SIGTERM ends that too, as far as the
# kernel lets it; the rest goes when the file system does.
beside_sockets()
{
	local dir log pid

	uv_need_tmp
	dir=$uv_tmp log=$uv_tmp/log
	"$BUILD/uvhostd" --socket-path "$dir/s,port=loop" 2>"$log" &
	pid=$!
	uv_wait 10 grep -q 'ready$' "$log" || uv_die "uvhostd: $(cat "$log")"
	timeout -k 5 300 "$BUILD/tests/stuck-sessions" 1 "$dir/s" \
		>"$dir/out" </dev/null || { status=$?; cat "$dir/out"; exit $status; }
	uv_wait 10 grep -q 'the session does not end' "$log" ||
		uv_die "vhost-user: not told: $(cat "$log")"
	kill -USR1 "$pid"
	uv_wait 20 grep -q 'the session is stuck in its memory' "$log" ||
		uv_die "vhost-user: SIGUSR1 does not show it: $(cat "$log")"
	kill "$pid"
	uv_wait 10 grep -q 'left behind' "$log" ||
		uv_die "vhost-user: SIGTERM: $(cat "$log")"
	uv_wait 10 holds_nothing "$pid" ||
		uv_die "vhost-user: descriptors stay open"
	kill "$(sed -n 's/^file system: process //p' "$dir/out")"
	wait "$pid" || uv_die "vhost-user: status $?"
}

# told N TEXT
told()
{
	[ "$(grep -c "$2" "$device_log")" = "$1" ]
}

# The sessions hang, and their owners live.
while_owners_live()
{
	local line

	while read -r -t 300 line <&"$sessions_out" || return; do
		[ "$line" != hanging ] || break
		echo "$line"
	done
	kill -USR1 "$device_pid"
	uv_wait 20 told "$n" 'does not answer: it waits' ||
		uv_die "SIGUSR1 does not show that they hang"
	# and at once, from now on
	kill -USR1 "$device_pid"
	uv_wait 20 told $((2 * n)) 'does not answer: it waits' ||
		uv_die "SIGUSR1 does not show it again"
	if grep -q 'another one goes on' "$device_log"; then
		uv_die "one was replaced: $(tail -n 20 "$device_log")"
	fi
}

[ -n "$kind" ] || beside_sockets
export UVHOST_DEV=$device_node
mode=${kind#worker}
coproc sessions { timeout -k 5 300 "$BUILD/tests/stuck-sessions" "$n" $mode; }
sessions_pid=$! sessions_out=${sessions[0]}
exec {sessions_out}<&"${sessions[0]}"
while_owners_live
echo >&"${sessions[1]}"
read -r -t 300 line <&"$sessions_out" && echo "$line"
wait "$sessions_pid" || exit $?
if [ "$kind" = uffd ]; then
	! all_told || uv_die "a session does not end: $(tail -n 20 "$device_log")"
	exit
fi
uv_wait 10 all_told ||
	uv_die "not told: $(tail -n 20 "$device_log")"
[ "$kind" != worker ] ||
	uv_wait 10 told "$n" "is stuck in its guest's memory" ||
	uv_die "not told: $(tail -n 20 "$device_log")"
kill -USR1 "$device_pid"
uv_wait 20 grep -q 'closed, but stuck in its guest' "$device_log" ||
	uv_die "SIGUSR1 does not show them"
uv_at_exit_no_more
kill "$device_pid"
uv_wait 10 daemon_ended || uv_die "SIGTERM does not end the daemon"
# The CUSE host looks at the status itself, in the end.
if [ "$device_host" = kernel ]; then
	wait "$device_pid" || uv_die "SIGTERM: status $?"
fi
grep -q "$n sessions do not end, left behind" "$device_log" ||
	uv_die "nothing was left behind: $(tail -n 20 "$device_log")"
