#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# testpmd.sh [worker] - DPDK's virtio_user on our vhost-user socket, with every kind of
# ring that it has: it sends streams of frames and gets them back. "worker": from
# a worker process.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

command -v dpdk-testpmd >/dev/null || uv_skip "no dpdk-testpmd (Debian: dpdk-dev)"
uv_need_root "huge pages need root"
uv_need_tmp
device_log=$uv_tmp/uvhostd.log
device_host=kernel

pmd_pid=''

cleanup()
{
	[ -z "$pmd_pid" ] || kill -INT "$pmd_pid" 2>/dev/null
	wait "$pmd_pid" 2>/dev/null
	device_stop
	huge_pages_back
}
uv_at_exit cleanup
huge_pages_reserve 160

ready()
{
	grep -q 'ready$' "$device_log"
}

"$BUILD/uvhostd" --socket-path "$uv_tmp/s,port=loop${1:+,worker-process}" 2>"$device_log" &
device_pid=$!
uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"

# The total of testpmd's last statistics.
total()
{
	sed -n '/Accumulated forward statistics/,$p' "$uv_tmp/testpmd" |
		sed -n "s/.*$1-packets: *\([0-9]*\).*/\1/p" | head -n 1
}

# True once frames come back, by the statistics of each second, or when testpmd
# has ended.
frames_return()
{
	awk '/RX-packets:/ && $2 > 1000 { n = 1 } END { exit !n }' \
		"$uv_tmp/testpmd" || ! kill -0 "$pmd_pid" 2>/dev/null
}

# one "ROW" VDEV-OPTIONS EAL-OPTION...
one()
{
	local name=$1 options=$2 sent got
	shift 2

	# the last one's frames are not this one's
	: >"$uv_tmp/testpmd"
	stdbuf -oL dpdk-testpmd --lcores=0@0,1@1 --file-prefix=uvtest \
		--no-pci --in-memory --single-file-segments --no-telemetry \
		-m 256 "$@" \
		"--vdev=net_virtio_user0,path=$uv_tmp/s,queues=1,queue_size=256,$options" \
		-- --nb-cores=1 --total-num-mbufs=16384 --rxd=256 --txd=256 \
		--forward-mode=flowgen --txpkts="$size" --auto-start \
		--stats-period=1 >"$uv_tmp/testpmd" 2>&1 </dev/null &
	pmd_pid=$!
	uv_wait 20 frames_return
	# once: a second signal would end it before the total (24.11)
	kill -INT "$pmd_pid" 2>/dev/null
	wait "$pmd_pid"
	pmd_pid=''
	sent=$(total TX) got=$(total RX)
	[ "${got:-0}" -gt 1000 ] ||
		uv_die "$name: $(tail -n 30 "$uv_tmp/testpmd" "$device_log")"
	# Nothing is dropped on the way. What was under way at the end: two
	# rings and the loop's 256 KiB.
	[ $((sent - got)) -le 5000 ] ||
		uv_die "$name: sent $sent, received $got"
	echo "$name, $size bytes: $got frames"
}

size=64
for packed in 0 1; do
	for mergeable in 0 1; do
		for order in 0 1; do
			one "packed $packed mergeable $mergeable in-order $order" \
				"packed_vq=$packed,mrg_rxbuf=$mergeable,in_order=$order"
		done
	done
done
one "split vectorized" packed_vq=0,mrg_rxbuf=0,in_order=0,vectorized=1
one "packed vectorized" packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1 \
	--force-max-simd-bitwidth=512
size=1500
one "split" packed_vq=0,mrg_rxbuf=1,in_order=0
one "packed" packed_vq=1,mrg_rxbuf=1,in_order=1
if grep -qE 'error:|warning:|errors [1-9]' "$device_log"; then
	uv_die "the daemon complains: $(grep -E 'error|warning' "$device_log")"
fi
