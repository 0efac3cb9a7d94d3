#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# socket-rights.sh - a daemon that serves sockets and no device keeps no
# capability, in no thread, and hands out a userfaultfd (which reaches all its
# memory) only where postcopy=on was said.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

uv_need_root "only root has capabilities to give up"
uv_need_tmp
device_log=${UV_LOG:-$uv_tmp/uvhostd.log}

cleanup()
{
	device_stop
}
uv_at_exit cleanup

ready()
{
	grep -q 'ready$' "$device_log"
}

# serve ARG...: a daemon with these arguments
serve()
{
	: >"$device_log"
	"$BUILD/uvhostd" "$@" 2>"$device_log" &
	device_pid=$!
	device_host=kernel # a process of ours, device_stop ends it
	uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"
}

ask()
{
	timeout -k 5 300 "$BUILD/tests/socket-rights" "$@" ||
		uv_die "$1: $(tail -n 20 "$device_log")"
}

# The capture and the generator have threads before the rights go.
args=(--net lan "--port=lan,gen,rate=100"
	--socket-path "$uv_tmp/a,net=lan,capture=$uv_tmp/a.pcapng"
	--socket-path "$uv_tmp/b,port=loop")
serve "${args[@]}"
ask "$uv_tmp/a" "$device_pid"
ask "$uv_tmp/b" "$device_pid"
device_stop || uv_die "status $? at the end"
device_host=''
timeout -k 5 300 "$BUILD/tests/socket-rights" --fd \
	"$BUILD/uvhostd" || uv_die "--fd: status $?"

[ -e /dev/userfaultfd ] || [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 1 ] ||
	uv_skip "no postcopy here: no /dev/userfaultfd"
serve --socket-path "$uv_tmp/a,port=loop" \
	--socket-path "$uv_tmp/b,port=loop,postcopy=on"
ask "$uv_tmp/a" "$device_pid"
ask "$uv_tmp/b" "$device_pid" postcopy
device_stop || uv_die "status $? at the end"
device_host=''
