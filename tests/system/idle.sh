#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# idle.sh - devices that are open and in use, but have nothing to carry, cost
# nothing: the threads of the daemon and of its worker processes are never
# scheduled.
#
# Two guests, one with private and one with shared memory, boot, ping us, and
# then keep quiet; a third descriptor is merely open. The sum of all threads'
# context switches and of their processor time must be the same twice, a second
# apart; what the guests still say of their own accord (ARP) may break a
# minute. No timer is running either.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

tries=60
guest_mem=128

cleanup()
{
	guest_stop_all
	device_stop
}

# idle_guest NAME TAP NET FD QEMU-ARG...
idle_guest()
{
	local name=$1 tap=$2 net=$3 fd=$4
	shift 4

	make_tap "$tap" "10.66.$net.1/24" || uv_die "cannot make a tap"
	guest_start "$name" \
		"uv.ip=10.66.$net.2/24 uv.peer=10.66.$net.1 uv.job=agent ipv6.disable=1" \
		-netdev "tap,id=n0,ifname=$tap,script=no,downscript=no,vhost=on,vhostfd=$fd" \
		-device virtio-net-pci,netdev=n0 "$@" || uv_die "no guest $name"
}

# Context switches, and nanoseconds on a processor, of each thread.
sample_process()
{
	local task

	for task in "/proc/$1/task"/*; do
		echo "$(cat "$task/comm") $(sed -n \
			's/.*ctxt_switches:[[:space:]]*//p' "$task/status" |
			tr '\n' ' ')$(cut -d ' ' -f 1 "$task/schedstat")"
	done
}

sample()
{
	local pid

	for pid in $(device_processes); do
		sample_process "$pid"
	done
}

device_start "$@"
uv_at_exit cleanup
exec 30<>"$device_node" 31<>"$device_node" 32<>"$device_node" ||
	uv_die "cannot open $device_node"
idle_guest a uv0 1 30
idle_guest b uv1 2 31 -machine memory-backend=m -object \
	"memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
exec 30>&- 31>&-
for name in a b; do
	guest_wait $name '^uv: agent' 60 || uv_die "guest $name does not boot"
	guest_cmd $name "wait_peer" 60 >/dev/null ||
		uv_die "guest $name cannot reach us"
done
[ "$(sample | grep -c '^uvhost-[0-9]')" = 3 ] ||
	uv_die "not a worker for each session: $(sample)"

for ((try = 1; try <= tries; try++)); do
	before=$(sample)
	sleep 1
	after=$(sample)
	[ "$before" != "$after" ] || break
done
[ $try -le $tries ] || uv_die "the daemon is busy with nothing (thread," \
	"voluntary and other switches, ns):" $'\n'"$before"$'\n'"$after"
for pid in $(device_processes); do
	if grep -h '^it_value:' "/proc/$pid/fdinfo/"* | grep -vF '(0, 0)'; then
		uv_die "$(cat "/proc/$pid/comm") has a timer that runs"
	fi
done
echo "idle since second $try; $(wc -l <<<"$after") threads (voluntary and" \
	"other switches, ns so far):"
echo "$after"

# and yet awake
guest_cmd a "wait_peer" 60 >/dev/null || uv_die "idle for good"
[ "$(sample)" != "$after" ]
