#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# dpdk.sh [SECONDS [ROUNDS [TRIES]]] - our vhost-user backend beside DPDK's
# (testpmd's net_vhost), both before the same frontend: testpmd's virtio_user.
# Prints; never judges.
#
#   from guest   the frontend sends, the backend drops (rxonly; port=null)
#   to guest     the backend sends, the frontend drops (txonly; port=null:LEN)
#   loop         the frontend sends and gets it all back (io; port=loop)
#
# What is counted is what the frontend says: packets a second that it got rid
# of or received. Backends take turns; a number is the median of the seconds of
# all rounds. Backend and frontend poll on a processor each; a round in which
# either had less than 90 % of it (a noisy neighbour) is taken again, up to TRIES
# (3) times, and then left out ("-" if that was all).

set -uo pipefail

UV_LIB=$(cd "$(dirname "$0")" && pwd)/../system/vm-lib.sh
# shellcheck source=tests/system/vm-lib.sh
. "$UV_LIB"

seconds=${1:-4} rounds=${2:-3} tries=${3:-3}
build=$(cd "${BUILD:-$(dirname "$0")/../../build}" && pwd)
eal=(--no-pci --in-memory --single-file-segments --no-telemetry -m 256)
pmd=(--nb-cores=1 --total-num-mbufs=32768 --rxd=256 --txd=256 --burst=32
	--auto-start)
backend_pid=''

command -v dpdk-testpmd >/dev/null || uv_skip "no dpdk-testpmd (Debian: dpdk-dev)"
[ "$(nproc)" -ge 2 ] || uv_skip "needs two processors"
uv__need_tmp
huge_pages_reserve 320

cleanup()
{
	backend_stop
	huge_pages_back
	rm -rf "$uv_tmp"
}
trap cleanup EXIT

backend_stop()
{
	[ -n "$backend_pid" ] || return 0
	kill -INT "$backend_pid" 2>/dev/null
	wait "$backend_pid" 2>/dev/null
	backend_pid=''
}

socket_listens()
{
	[ -S "$uv_tmp/s" ]
}

# backend_start uvhost|dpdk WAY SIZE
backend_start()
{
	local mode port

	rm -f "$uv_tmp/s"
	case $2 in
	from) mode=rxonly port=null ;;
	to) mode=txonly port=null:$3 ;;
	loop) mode=io port=loop ;;
	esac
	if [ "$1" = uvhost ]; then
		taskset -c 0 "$build/uvhostd" --log-level warning \
			--busy-poll-us 1000000 \
			--socket-path "$uv_tmp/s,port=$port" \
			2>"$uv_tmp/uvhostd.log" &
	else
		dpdk-testpmd --lcores=0@0,1@0 --file-prefix=uvbe "${eal[@]}" \
			"--vdev=net_vhost0,iface=$uv_tmp/s,queues=1" -- \
			"${pmd[@]}" "--forward-mode=$mode" "--txpkts=$3" \
			--stats-period=1 >"$uv_tmp/be.log" 2>&1 </dev/null &
	fi
	backend_pid=$!
	uv_wait 10 socket_listens || uv_die "backend $1 does not start"
}

# Processor time of a process, in hundredths of a second.
cpu_time()
{
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat" 2>/dev/null
}

# rates PACKED WAY SIZE: packets per second, a line a second; false if disturbed
rates()
{
	local mode field frontend fe be

	case $2 in
	from) mode=txonly field=Tx-pps ;;
	to) mode=rxonly field=Rx-pps ;;
	loop) mode=flowgen field=Rx-pps ;;
	esac
	dpdk-testpmd --lcores=0@1,1@1 --file-prefix=uvfe "${eal[@]}" \
		"--vdev=net_virtio_user0,path=$uv_tmp/s,queues=1,queue_size=256,packed_vq=$1,mrg_rxbuf=1,in_order=1" \
		-- "${pmd[@]}" "--forward-mode=$mode" "--txpkts=$3" \
		--stats-period=1 >"$uv_tmp/fe.log" 2>&1 </dev/null &
	frontend=$!
	sleep 2
	fe=$(cpu_time $frontend) be=$(cpu_time "$backend_pid")
	sleep "$seconds"
	fe=$(($(cpu_time $frontend) - fe)) be=$(($(cpu_time "$backend_pid") - be))
	kill -INT $frontend
	wait $frontend
	# the first seconds have the start in them
	sed -n "s/.*$field: *\([0-9]*\).*/\1/p" "$uv_tmp/fe.log" |
		tail -n +3 | grep -v '^0$' >"$uv_tmp/rates"
	[ "$fe" -ge $((seconds * 90)) ] && [ "$be" -ge $((seconds * 90)) ]
}

# measure BACKEND PACKED WAY SIZE: one round, up to $tries times
measure()
{
	local try fine

	for ((try = 0; try < tries; try++)); do
		backend_start "$1" "$3" "$4"
		rates "$2" "$3" "$4"
		fine=$?
		backend_stop
		[ $fine -ne 0 ] || break
	done
	[ $fine -ne 0 ] || cat "$uv_tmp/rates" >>"$uv_tmp/$1"
}

median()
{
	sort -n "$1" | awk '{ v[NR] = $1 } END {
		if (NR) printf "%.2f", v[int((NR + 1) / 2)] / 1e6; else print "-" }'
}

line()
{
	local packed=$1 way=$2 size=$3 round backend ring=split

	[ "$packed" = 0 ] || ring=packed
	: >"$uv_tmp/uvhost"
	: >"$uv_tmp/dpdk"
	for ((round = 0; round < rounds; round++)); do
		for backend in uvhost dpdk; do
			measure $backend "$packed" "$way" "$size"
		done
	done
	printf '%-6s  %-10s %4d B  uvhost %6s Mpps  DPDK %6s Mpps' "$ring" \
		"$(sed 's/$/ guest/; s/loop guest/loop/' <<<"$way")" "$size" \
		"$(median "$uv_tmp/uvhost")" "$(median "$uv_tmp/dpdk")"
	awk -v a="$(median "$uv_tmp/uvhost")" -v b="$(median "$uv_tmp/dpdk")" \
		'BEGIN { if (b > 0) printf "  ratio %.2f\n", a / b; else print "" }'
}

echo "vhost-user, one queue pair; frontend: testpmd of DPDK $(pkg-config \
	--modversion libdpdk 2>/dev/null); median of $rounds rounds"
for packed in 0 1; do
	for size in ${BENCH_SIZES:-64 1500}; do
		for way in from to loop; do
			line $packed $way $size
		done
	done
done
