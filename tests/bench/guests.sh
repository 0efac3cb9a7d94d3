#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# guests.sh [SECONDS [WORD]] - guest to guest through the network of a daemon
# (guestbench.c), and beside it testpmd that forwards between two net_vhost
# ports, if it is there. UVHOSTD=FILE: another daemon.

set -uo pipefail

UV_LIB=$(cd "$(dirname "$0")" && pwd)/../system/vm-lib.sh
# shellcheck source=tests/system/vm-lib.sh
. "$UV_LIB"

build=$(cd "${BUILD:-$(dirname "$0")/../../build}" && pwd)
dpdk_pid=''
uv__need_tmp

cleanup()
{
	if [ -n "$dpdk_pid" ]; then
		kill -CONT "$dpdk_pid"
		kill -INT "$dpdk_pid"
		wait "$dpdk_pid"
	fi 2>/dev/null
	huge_pages_back
	rm -rf "$uv_tmp"
}
trap cleanup EXIT

dpdk_forwards()
{
	grep -q 'packet forwarding - ports=2' "$uv_tmp/dpdk.log"
}

dpdk_start()
{
	command -v dpdk-testpmd >/dev/null || return 1
	[ "$(nproc)" -ge 2 ] || return 1
	# Without huge pages there are our numbers alone.
	uv__huge_before=$(cat "$uv__huge_pages")
	(huge_pages_reserve 320) >/dev/null 2>&1 || return 1
	: >"$uv_tmp/dpdk.log"
	stdbuf -oL dpdk-testpmd '--lcores=0@(0-1),1@(0-1)' --file-prefix=uvgb \
		--no-pci --in-memory --single-file-segments --no-telemetry -m 256 \
		"--vdev=net_vhost0,iface=$uv_tmp/da,queues=1" \
		"--vdev=net_vhost1,iface=$uv_tmp/db,queues=1" -- \
		--nb-cores=1 --total-num-mbufs=32768 --burst=32 --auto-start \
		--forward-mode=io --disable-link-check --stats-period=100000 \
		>"$uv_tmp/dpdk.log" 2>&1 </dev/null &
	dpdk_pid=$!
	uv_wait 10 dpdk_forwards || uv_die "testpmd: $(tail -n 5 "$uv_tmp/dpdk.log")"
	export DPDK_PID=$dpdk_pid
	kill -STOP "$dpdk_pid"
}

dpdk_start
echo "guest to guest through a network, two sessions of the daemon; median of" \
	"3 rounds; DPDK $(pkg-config --modversion libdpdk 2>/dev/null || echo none)"
# The daemon has sockets too, so it does not end with its channel.
UVHOST_PID_FILE=$uv_tmp/pid UVHOST_DEV=/dev/uvhost-net "$build/tests/cusehost" \
	--daemon-pidfile "$uv_tmp/pid" "${UVHOSTD:-$build/uvhostd}" \
	--log-level error --net lan --device uvhost-net,net=lan,offloads=all \
	--socket-path "$uv_tmp/a,net=lan" --socket-path "$uv_tmp/b,net=lan" \
	--socket-path "$uv_tmp/c,net=lan" -- \
	sh -c '"$0" "$@"; status=$?; kill "$(cat "$UVHOST_PID_FILE")"; exit $status' \
	"$build/tests/guestbench" "$uv_tmp" "${@:-0.2}"
