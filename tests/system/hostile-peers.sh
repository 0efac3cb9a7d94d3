#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hostile-peers.sh [SECONDS [worker]] - vhost-user clients that do everything
# wrong (hostile-peers.c) beside a good one on the same daemon. "worker": each
# connection has a worker process.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

seconds=${1:-10}
# Lines that an attacker can provoke in a second, and before that takes effect.
line_rate=40 line_burst=200
attacks=(half fds random rings deaf cut storm absent linger)
uv_need_tmp
device_log=${UV_LOG:-$uv_tmp/uvhostd.log}
: >"$device_log"

cleanup()
{
	device_stop
}
uv_at_exit cleanup

ready()
{
	grep -q 'ready$' "$device_log"
}

args=()
for name in good "${attacks[@]}"; do
	args+=(--socket-path "$uv_tmp/$name,port=loop${2:+,worker-process}")
	# what it attacks with
	[ "$name" != absent ] || [ ! -e /dev/userfaultfd ] ||
		args[-1]+=,postcopy=on
done
"$BUILD/uvhostd" "${args[@]}" 2>"$device_log" &
device_pid=$!
device_host=kernel # a process of ours, device_stop ends it
uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"

start=$SECONDS
timeout -k 5 300 "$BUILD/tests/hostile-peers" "$uv_tmp" "$device_pid" \
	"$seconds" || uv_die "status $?: $(tail -n 20 "$device_log")"
kill -0 "$device_pid" 2>/dev/null || uv_die "the daemon is gone"
lines=$(wc -l <"$device_log")
echo "$lines lines in the log"
[ "$lines" -le $((${#attacks[@]} * (line_burst + (SECONDS - start + 1) * line_rate))) ] ||
	uv_die "the daemon talks too much"
if grep -E '^good(\.[rt]x)?: (error|warning)|ERROR:' "$device_log" |
	grep -v 'a second connection is turned away'; then
	uv_die "the daemon blames the good guest, or itself"
fi
device_stop || uv_die "status $? at the end"
device_host=''
