#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# signals.sh - what signals do to the daemon, and what it tells the service
# manager, with a guest on the device.
#
#   READY=1   only after CUSE_INIT; once
#   SIGHUP    nothing: the guest's traffic goes on
#   SIGUSR1   counters of every session
#   SIGTERM   under traffic: STOPPING=1, the sessions end, status 0; the guest
#             loses its network card and QEMU gets errors, but does not hang

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

listen=$BUILD/tests/notify-listen
guest_mem=128

cleanup()
{
	guest_stop_all
	traffic_stop
	device_stop
}

# The daemon is ours or the CUSE host's to reap.
daemon_ended()
{
	local state

	state=$(sed 's/^.*) //; s/ .*//' "/proc/$device_pid/stat" \
		2>/dev/null) || return 0
	[ "$state" = Z ]
}

notified()
{
	grep -qx "$1" "$UV_NOTIFY_LOG"
}

# Outermost, the listener's parent; the rest runs below it.
if [ -z "${UV_NOTIFY_LOG-}" ]; then
	uv_need_root "a tap and a namespace need root"
	"$listen" --check-ready "$BUILD/uvhostd" >/dev/null ||
		uv_die "READY=1 does not come as it should"
	uv_need_tmp
	UV_NOTIFY_LOG=$uv_tmp/notify
	export UV_NOTIFY_LOG
	"$listen" "$UV_NOTIFY_LOG" "$0" "$@"
	status=$?
	exit $status
fi

device_start "$@"
uv_at_exit cleanup
uv_wait 20 notified READY=1 || uv_die "no READY=1"
traffic_host uv0 || uv_die "cannot make a tap"
traffic_make_blob 8
exec 30<>"$device_node" || uv_die "cannot open $device_node"
guest_start g "$traffic_words" -netdev \
	tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30 \
	-device virtio-net-pci,netdev=n0 || uv_die "no guest"
guest_wait g '^uv: agent' 60 || uv_die "the guest does not boot"
guest_cmd g wait_peer 60 >/dev/null || uv_die "the guest has no network"

kill -HUP "$device_pid"
uv_wait 20 grep -q 'SIGHUP' "$device_log" || uv_die "SIGHUP was not seen"
guest_cmd g wait_peer 60 >/dev/null || uv_die "SIGHUP stopped the traffic"

device_counters >/dev/null || uv_die "SIGUSR1 prints no counters"
frames=$(device_counter rx frames)
[ "${frames:-0}" -gt 0 ] ||
	uv_die "SIGUSR1 counts no frames: $(tail -n 6 "$device_log")"
guest_cmd g wait_peer 60 >/dev/null || uv_die "SIGUSR1 stopped the traffic"
device_counters >/dev/null
[ "$(device_counter rx frames)" -gt "$frames" ] ||
	uv_die "the counter stays at $frames"

guest_cmd g "(while :; do wget -q -O /dev/null http://$traffic_ip/blob;\
 done) &" >/dev/null
kill -TERM "$device_pid"
uv_wait 20 daemon_ended || uv_die "the daemon does not end:" \
	"$(tail -n 5 "$device_log")"
# The CUSE host looks at the status itself, in the end.
if [ "$device_host" = kernel ]; then
	wait "$device_pid" || uv_die "SIGTERM: status $?"
fi
uv_wait 20 notified STOPPING=1 || uv_die "no STOPPING=1"
[ "$(grep -cx READY=1 "$UV_NOTIFY_LOG")" = 1 ] ||
	uv_die "notified: $(cat "$UV_NOTIFY_LOG")"
grep -q 'closed$' "$device_log" || uv_die "the session was not ended"
if grep -E 'error:|warning:|left behind' "$device_log"; then
	uv_die "the daemon complains"
fi

# The device answers with errors, at once, open files and new ones alike.
guest_running g || uv_die "QEMU ended with the daemon"
guest_cmd g true >/dev/null || uv_die "the guest hangs"
(exec 31<"$device_node") 2>/dev/null &&
	uv_die "a dead device can be opened"
# QEMU 7.2 asserts that stopping a ring succeeds.
guest_qmp g quit
guest_gone g 10
status=$?
[ $status -ne 255 ] || uv_die "QEMU hangs on a dead device"
echo "QEMU ended with status $status and says:"
sed 's/^/  /' "$uv_tmp/g/qemu.out"
grep -qi vhost "$uv_tmp/g/qemu.out" || uv_die "QEMU has not noticed"
