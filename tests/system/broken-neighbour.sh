#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# broken-neighbour.sh harness|qemu [ROUNDS [STEPS]] - a guest that does
# everything wrong (broken-neighbour.c) beside others on the same daemon.
#
#   harness  beside two guests of the harness, every frame of which is counted
#   qemu     beside a Linux guest in QEMU, which pings us and loads files

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

mode=$1 rounds=${2:-$([ "$1" = qemu ] && echo 20 || echo 100)} steps=${3:-200}
guest_mem=128
mib=4
neighbour=''

cleanup()
{
	[ -z "$neighbour" ] || kill -KILL "$neighbour" 2>/dev/null
	guest_stop_all
	traffic_stop
	device_stop
}

footprint()
{
	echo "$(find "/proc/$device_pid/fd" -type l | wc -l) descriptors," \
		"$(find "/proc/$device_pid/task" -mindepth 1 -maxdepth 1 |
			wc -l) threads"
}

footprint_is()
{
	[ "$(footprint)" = "$1" ]
}

# The sessions of the good guests are the first ones of the daemon.
check_log()
{
	if grep -E "^(uvhost-net/($1)(\.[rt]x)?: (error|warning)|.*ERROR:)" \
		"$device_log"; then
		uv_die "the daemon blames a good guest, or itself"
	fi
}

beside_qemu()
{
	local before loads=0 pings

	traffic_host uv0 || uv_die "cannot make a tap"
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	guest_start a "$traffic_words" -netdev \
		tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30 \
		-device virtio-net-pci,netdev=n0 || uv_die "no guest"
	exec 30>&-
	guest_wait a '^uv: agent' 60 || uv_die "the guest does not boot"
	guest_cmd a wait_peer 60 >/dev/null || uv_die "the guest has no network"
	before=$(footprint)

	"$BUILD/tests/broken-neighbour" --alone "$rounds" "$steps" &
	neighbour=$!
	busybox ping -i 0.02 "$traffic_guest_ip" >"$uv_tmp/pings" 2>&1 &
	pings=$!
	while kill -0 $neighbour 2>/dev/null || [ $loads = 0 ]; do
		traffic__download a $mib || uv_die "beside B: a bad download"
		traffic__upload a $mib || uv_die "beside B: a bad upload"
		loads=$((loads + 1))
	done
	wait $neighbour || uv_die "B: status $?"
	neighbour=''
	kill -INT $pings
	wait $pings
	# in order, and each once; the last may have been on its way
	sed -n 's/.* seq=\([0-9]*\) .*/\1/p' "$uv_tmp/pings" |
		awk '$1 != NR - 1 { print "echo " $1 " instead of " NR - 1
			exit 1 }' || uv_die "beside B: pings"
	grep -q 'seq=20 ' "$uv_tmp/pings" ||
		uv_die "pings: $(tail -n 3 "$uv_tmp/pings")"
	uv_wait 10 footprint_is "$before" ||
		uv_die "before B: $before; after: $(footprint)"
	check_log 1
	echo "beside $rounds rounds of B: $loads times $mib MiB each way," \
		"$(grep -c seq= "$uv_tmp/pings") pings; $before"
}

device_start "$@"
uv_at_exit cleanup
export UVHOST_DEV=$device_node UVHOST_PID=$device_pid
case $mode in
harness)
	timeout -k 5 600 "$BUILD/tests/broken-neighbour" "$rounds" \
		"$steps" || uv_die "status $?"
	check_log '1|2'
	;;
qemu) beside_qemu ;;
*) uv_die "harness or qemu?" ;;
esac
kill -0 "$device_pid" 2>/dev/null || uv_die "the daemon is gone"
