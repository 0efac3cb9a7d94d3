#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# peers.sh dpdk|qemu - our vhost-user frontend drives other people's backends:
#
#   dpdk  net_vhost of testpmd, with split and packed rings
#   qemu  vhost-user-blk export of qemu-storage-daemon

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
peer_pid=''
uv_need_tmp

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
}
uv_at_exit cleanup

# dpdk RING: every frame counts, so testpmd must not drop those that arrived
# before it started to forward (24.11 does without --no-flush-rx).
dpdk()
{
	rm -f "$uv_tmp/net"
	dpdk-testpmd --lcores=0@0,1@1 --file-prefix=uvpeer --no-pci --in-memory \
		--single-file-segments --no-telemetry -m 256 \
		"--vdev=net_vhost0,iface=$uv_tmp/net,queues=1" -- \
		--nb-cores=1 --total-num-mbufs=16384 --forward-mode=io \
		--no-flush-rx --auto-start --stats-period=1 >"$uv_tmp/testpmd" 2>&1 </dev/null &
	peer_pid=$!
	wait_for_listener "$uv_tmp/net" 10 || uv_die "no testpmd: $(cat "$uv_tmp/testpmd")"
	echo "net_vhost, $1:"
	"$BUILD/tests/vu-peer" net "$uv_tmp/net" "$1" ||
		uv_die "$1: $(tail -n 20 "$uv_tmp/testpmd")"
	peer_stop
}

qemu()
{
	head -c 1048576 /dev/urandom >"$uv_tmp/disk"
	qemu-storage-daemon \
		--blockdev "driver=file,filename=$uv_tmp/disk,node-name=disk" \
		--export "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=$uv_tmp/blk" \
		>"$uv_tmp/qsd" 2>&1 &
	peer_pid=$!
	wait_for_listener "$uv_tmp/blk" 10 ||
		uv_die "no storage daemon: $(cat "$uv_tmp/qsd")"
	echo "vhost-user-blk:"
	"$BUILD/tests/vu-peer" blk "$uv_tmp/blk" "$uv_tmp/disk" ||
		uv_die "$(cat "$uv_tmp/qsd")"
}

case ${1-} in
dpdk)
	command -v dpdk-testpmd >/dev/null ||
		uv_skip "no dpdk-testpmd (Debian: dpdk-dev)"
	uv_need_root "huge pages need root"
	huge_pages_reserve 160
	dpdk split
	dpdk packed
	;;
qemu)
	command -v qemu-storage-daemon >/dev/null ||
		uv_skip "no qemu-storage-daemon (Debian 12: qemu-system-common," \
			"later: qemu-utils)"
	qemu
	;;
*) uv_die "dpdk or qemu?" ;;
esac
