#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# peers.sh - our vhost-user frontend drives other people's backends: DPDK's
# net_vhost with split and packed rings, QEMU's vhost-user-blk export.

set -uo pipefail

UV_LIB=$0
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/vm-lib.sh
. "$here/vm-lib.sh"
build=$(cd "${BUILD:-$here/../../build}" && pwd)
peer_pid=''

command -v dpdk-testpmd >/dev/null || uv_skip "no dpdk-testpmd (Debian: dpdk-dev)"
command -v qemu-storage-daemon >/dev/null ||
	uv_skip "no qemu-storage-daemon (Debian: qemu-system-common)"
[ "$(id -u)" = 0 ] || uv_skip "huge pages need root"
uv__need_tmp

peer_stop()
{
	[ -n "$peer_pid" ] || return 0
	kill -INT "$peer_pid" 2>/dev/null
	wait "$peer_pid" 2>/dev/null
	peer_pid=''
}

cleanup()
{
	peer_stop
	huge_pages_back
	rm -rf "$uv_tmp"
}
trap cleanup EXIT
huge_pages_reserve 160

for ring in split packed; do
	rm -f "$uv_tmp/net"
	dpdk-testpmd --lcores=0@0,1@1 --file-prefix=uvpeer --no-pci --in-memory \
		--single-file-segments --no-telemetry -m 256 \
		"--vdev=net_vhost0,iface=$uv_tmp/net,queues=1" -- \
		--nb-cores=1 --total-num-mbufs=16384 --forward-mode=io \
		--auto-start --stats-period=1 >"$uv_tmp/testpmd" 2>&1 </dev/null &
	peer_pid=$!
	wait_for_path "$uv_tmp/net" 10 || uv_die "no testpmd: $(cat "$uv_tmp/testpmd")"
	echo "net_vhost, $ring:"
	"$build/tests/vu-peer" net "$uv_tmp/net" $ring ||
		uv_die "$ring: $(tail -n 20 "$uv_tmp/testpmd")"
	peer_stop
done

head -c 1048576 /dev/urandom >"$uv_tmp/disk"
qemu-storage-daemon \
	--blockdev "driver=file,filename=$uv_tmp/disk,node-name=disk" \
	--export "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=$uv_tmp/blk" \
	>"$uv_tmp/qsd" 2>&1 &
peer_pid=$!
wait_for_path "$uv_tmp/blk" 10 || uv_die "no storage daemon: $(cat "$uv_tmp/qsd")"
echo "vhost-user-blk:"
"$build/tests/vu-peer" blk "$uv_tmp/blk" "$uv_tmp/disk" ||
	uv_die "$(cat "$uv_tmp/qsd")"
