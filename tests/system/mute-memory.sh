#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# mute-memory.sh - guests whose memory table names a file on a FUSE file system that
# answers neither reads nor the close of a descriptor (stuck-sessions.c). They can
# start, their worker processes come, and a daemon that is killed ends: the next one
# has their sessions, and serves another one beside them.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

device_keeper=1
device_args="--device uvhost-net,$device_with_workers"
device_start "$@"
uv_at_exit device_stop
ip link set lo up
[ "$device_host" != kernel ] || chmod 666 "$device_node"
n=4

next_daemon()
{
	[ -n "$(device_daemon)" ] && [ "$(device_daemon)" != "$daemon" ] &&
		grep -q "the channel was kept, with $n open files" "$device_log"
}

export UVHOST_DEV=$device_node
coproc sessions { timeout -k 5 300 "$BUILD/tests/stuck-sessions" "$n" mute; }
sessions_pid=$! sessions_out=${sessions[0]}
exec {sessions_out}<&"${sessions[0]}"
while read -r -t 300 line <&"$sessions_out"; do
	[ "$line" != hanging ] || break
	echo "$line"
done
[ "$line" = hanging ] || { wait "$sessions_pid"; exit $?; }
daemon=$(device_daemon)
kill -KILL "$daemon"
uv_wait 60 next_daemon || uv_die "the daemon does not end, or no other one comes:
$(tail -n 20 "$device_log")"
echo >&"${sessions[1]}"
read -r -t 300 line <&"$sessions_out" && echo "$line"
wait "$sessions_pid" || exit $?
grep -q 'file system that is not local' "$device_log" ||
	uv_die "nobody is told that the memory is copied"
