#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# no-descriptors.sh - the daemon runs out of descriptors (RLIMIT_NOFILE): a
# connection that it cannot take waits, the log says so once, and no
# processor time is spent on trying. When there are descriptors again, the
# connection is served, and none have been lost.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

few=24 # descriptors of a session and a bit
uv_need_tmp
device_log=${UV_LOG:-$uv_tmp/uvhostd.log}
waiting_pid=''

cleanup()
{
	[ -z "$waiting_pid" ] || kill "$waiting_pid" 2>/dev/null
	device_stop
}
uv_at_exit cleanup

ready()
{
	grep -q 'ready$' "$device_log"
}

# The first number that a new descriptor would get.
lowest_free()
{
	local n=0

	while [ -e "/proc/$device_pid/fd/$n" ]; do
		n=$((n + 1))
	done
	echo $n
}

may_open()
{
	prlimit --pid "$device_pid" --nofile="$1": || uv_die "prlimit"
}

client()
{
	timeout -k 5 "$1" "$BUILD/tests/socket-rights" "$uv_tmp/$2" \
		"$device_pid" >>"$uv_tmp/client.log" 2>&1
}

refused()
{
	grep -q 'cannot accept a connection, .*: Too many open files' "$device_log"
}

processor_ticks()
{
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$device_pid/stat"
}

all_ended()
{
	[ "$(lowest_free)" -le "$lowest" ]
}

"$BUILD/uvhostd" --socket-path "$uv_tmp/a,port=loop" \
	--socket-path "$uv_tmp/b,port=loop" 2>"$device_log" &
device_pid=$!
device_host=kernel # a process of ours, device_stop ends it
uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"
lowest=$(lowest_free)
before=$(prlimit --pid "$device_pid" --nofile --noheadings --output SOFT)
client 300 a || uv_die "at the start: $(cat "$uv_tmp/client.log")"
uv_wait 10 all_ended || uv_die "descriptors are left of a session"

# Not even one.
may_open "$lowest"
client 300 b &
waiting_pid=$!
uv_wait 10 refused || uv_die "no line about it: $(cat "$device_log")"
ticks=$(processor_ticks)
sleep 2
ticks=$(($(processor_ticks) - ticks))
[ $ticks -lt 50 ] || uv_die "$ticks hundredths of a second spent on trying"
kill -0 "$waiting_pid" 2>/dev/null ||
	uv_die "the connection does not wait: $(cat "$uv_tmp/client.log")"
may_open "$before"
wait "$waiting_pid" || uv_die "it waited in vain: $(cat "$uv_tmp/client.log")"
waiting_pid=''

# Too few for a session: the client is turned away or served, no more.
for ((more = 1; more <= few; more++)); do
	uv_wait 10 all_ended || uv_die "with $((more - 1)): descriptors are left"
	may_open $((lowest + more))
	client 2 a
	may_open "$before"
done
uv_wait 10 all_ended || uv_die "descriptors are left"
client 300 a || uv_die "at the end: $(cat "$uv_tmp/client.log" "$device_log")"
[ "$(grep -c 'b: .*cannot accept' "$device_log")" = 1 ] ||
	uv_die "one state, and lines: $(grep 'cannot accept' "$device_log")"
kill -TERM "$device_pid"
wait "$device_pid" || uv_die "status $? at the end"
device_host=''
