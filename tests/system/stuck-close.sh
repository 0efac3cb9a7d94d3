#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# stuck-close.sh - closing the socket of a peer hangs, as it does with a file in
# its queue whose release the kernel waits for (that of a CUSE device, say): the
# daemon's other sockets serve one connection after the other.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

uv_need_root "socket-rights looks at capabilities"
uv_need_tmp
device_log=${UV_LOG:-$uv_tmp/uvhostd.log}

cleanup()
{
	rm -f "$uv_tmp/a.hang"
	device_stop
}
uv_at_exit cleanup

ready()
{
	grep -q 'ready$' "$device_log"
}

# has_gone NAME N: the Nth guest of this socket
has_gone()
{
	[ "$(grep -c "^$1: disconnected\$" "$device_log")" -ge "$2" ]
}

# A guest that comes before the last one has gone is turned away.
declare -A asked=()
ask()
{
	timeout -k 5 300 "$BUILD/tests/socket-rights" "$uv_tmp/$1" \
		"$device_pid" ||
		uv_die "$1, $2: $(tail -n 20 "$device_log")"
	asked[$1]=$((${asked[$1]-0} + 1))
	uv_wait 10 has_gone "$1" "${asked[$1]}" ||
		uv_die "$1, $2: stays: $(tail -n 20 "$device_log")"
}

touch "$uv_tmp/a.hang"
: >"$device_log"
STUCK_CLOSE=$uv_tmp/a LD_PRELOAD=$BUILD/tests/stuck-close.so \
	"$BUILD/uvhostd" --socket-path "$uv_tmp/a,port=null" \
	--socket-path "$uv_tmp/b,port=null" 2>"$device_log" &
device_pid=$!
device_host=kernel # a process of ours, device_stop ends it
uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"

ask a "the first connection"
uv_wait 10 test -e "$uv_tmp/a.stuck" || uv_die "nothing hangs"
for i in 1 2 3; do
	ask b "connection $i while another socket hangs"
done
rm "$uv_tmp/a.hang"
ask a "once it does not hang any more"
device_stop || uv_die "status $? at the end"
device_host=''
