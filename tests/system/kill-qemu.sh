#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kill-qemu.sh [N] - N guests (8), killed with SIGKILL one after another while
# traffic runs both ways, leave nothing behind in the daemon.
#
# Guests alternate between private memory (copied) and a shared memfd (mapped).
# Each is killed at a random moment, once the tap has carried a MiB each way
# since the guest's boot; $UVHOST_SEED repeats the moments.
#
# Compared are descriptors, threads, mappings and memory of the daemon without
# a session, before and after. "Before" is after eight more guests: the C library
# keeps a thread's stack and heap for the next thread, and gives what it once
# got by mmap from the heap the next times. Memory is VmData, what the process has
# mapped of its own, and may grow by $allowance_kib. Resident memory says nothing:
# pages of a heap that was there before are touched for the first time, and code
# that runs for the first time is mapped in. Sanitizers keep freed memory for long,
# so with them only descriptors, threads and guest memory count.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

kills=${1:-8}
allowance_kib=64
traffic_bytes=$((1 << 20))
guest_mem=128
: "${UVHOST_SEED:=$RANDOM}"
export UVHOST_SEED
sink=''

cleanup()
{
	guest_stop_all
	traffic_stop
	[ -z "$sink" ] || kill "$sink" 2>/dev/null
	device_stop
}

# What each descriptor is, without the numbers that differ each time.
daemon_fds()
{
	find "/proc/$device_pid/fd" -type l -printf '%l\n' |
		sed 's/\[[0-9]*\]$//' | sort
}

daemon_threads()
{
	find "/proc/$device_pid/task" -mindepth 1 -maxdepth 1 | wc -l
}

# In the daemon and in its worker processes.
guest_mappings()
{
	local pid

	for pid in $(device_processes); do
		cat "/proc/$pid/maps"
	done 2>/dev/null | grep -c 'memfd:memory-backend'
}

idle_again()
{
	[ "$(daemon_threads)" -le "$idle_threads" ] && [ "$(grep -c ': closed$' "$device_log")" = \
		"$(grep -c ': opened by ' "$device_log")" ]
}

# From (rx) or to (tx) the guest; /sys is not of our namespace.
tap_bytes()
{
	sed -n 's/^ *uv0://p' /proc/net/dev |
		awk -v rx="$1" '{ print rx == "rx" ? $1 : $9 }'
}

# True once both directions have moved on from the numbers given.
tap_moved()
{
	[ "$(tap_bytes rx)" -ge $(($1 + traffic_bytes)) ] &&
		[ "$(tap_bytes tx)" -ge $(($2 + traffic_bytes)) ]
}

# tap_moves BYTES: since there were so many, both ways
tap_moves()
{
	[ "$(tap_bytes rx) $(tap_bytes tx)" != "$1" ]
}

# kill_one private|memfd
kill_one()
{
	local kind=$1 args=() rx tx pid

	[ "$kind" = private ] ||
		args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
			-machine memory-backend=m)
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	guest_start g "$traffic_words" "${args[@]}" -netdev \
		tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30 \
		-device virtio-net-pci,netdev=n0 || uv_die "no guest"
	exec 30>&-
	guest_wait g '^uv: agent' 60 || uv_die "the guest does not boot"
	rx=$(tap_bytes rx) tx=$(tap_bytes tx)
	guest_cmd g "(while :; do wget -q -O /dev/null http://$traffic_ip/blob;\
 done) & (while :; do nc $traffic_ip 5001 </dev/zero; done) &" >/dev/null ||
		uv_die "the guest takes no command"
	uv_wait 30 tap_moved "$rx" "$tx" ||
		{ guest_report g; uv_die "no traffic before the kill"; }
	case $kind in
	private) [ "$(guest_mappings)" = 0 ] || uv_die "private memory mapped" ;;
	memfd) [ "$(guest_mappings)" -gt 0 ] || uv_die "memfd not mapped" ;;
	esac
	sleep "0.$(printf %03d $((RANDOM % 300)))"

	pid=$(guest_pid g)
	uv_wait 30 tap_moves "$(tap_bytes rx) $(tap_bytes tx)" ||
		{ guest_report g; uv_die "the traffic ended before the kill"; }
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	uv_wait 10 idle_again || uv_die "the session of a dead QEMU stays:" \
		"$(tail -n 5 "$device_log")"
	[ "$(guest_mappings)" = 0 ] || uv_die "guest memory stays mapped"
	kill -0 "$device_pid" 2>/dev/null || uv_die "the daemon is gone"
}

# kill_some N
kill_some()
{
	local i

	for ((i = 0; i < $1; i++)); do
		if [ $((i % 2)) = 0 ]; then
			kill_one memfd
		else
			kill_one private
		fi
	done
}

# compare NAME BEFORE AFTER ALLOWANCE
compare()
{
	# less is fine for what has an allowance: the kernel may reclaim pages
	[ "$3" -le $(($2 + $4)) ] && { [ "$4" != 0 ] || [ "$3" -eq "$2" ]; } &&
		return
	uv_say "$1: $2 before, $3 after (may grow by $4)"
	failed=1
}

device_args='--log-level debug'
device_start "$@"
uv_at_exit cleanup
RANDOM=$UVHOST_SEED
failed=0
# Two: the main loop's, and the one that starts worker processes.
idle_threads=$(daemon_threads)

traffic_host uv0 || uv_die "cannot make a tap"
traffic_make_blob 8
busybox nc -ll -p 5001 -e dd of=/dev/null 2>/dev/null &
sink=$!

kill_some 8
fds=$(daemon_fds) threads=$(daemon_threads)
maps=$(wc -l <"/proc/$device_pid/maps")
memory=$(uv_data_kib "$device_pid")

start=$SECONDS
kill_some "$kills"

fds_after=$(daemon_fds)
[ "$fds_after" = "$fds" ] ||
	{ failed=1; diff <(echo "$fds") <(echo "$fds_after") >&2; }
compare threads "$threads" "$(daemon_threads)" 0
if ! uv_sanitized "$device_pid"; then
	compare mappings "$maps" "$(wc -l <"/proc/$device_pid/maps")" 0
	compare "memory, KiB" "$memory" "$(uv_data_kib "$device_pid")" $allowance_kib
fi
grep -E 'error:|warning:' "$device_log" && failed=1
echo "$kills kills in $((SECONDS - start)) s (seed $UVHOST_SEED): descriptors" \
	"$(wc -l <<<"$fds") and $(wc -l <<<"$fds_after"), mappings $maps and" \
	"$(wc -l <"/proc/$device_pid/maps"), memory $memory and" \
	"$(uv_data_kib "$device_pid") KiB"
[ $failed = 0 ]
