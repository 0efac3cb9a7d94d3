#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# record.sh CASE... - takes the files of tests/wire/captured/ again: what
# unmodified programs say to one another over vhost-user. By hand, as root;
# BUILD names the build folder, OUT where the files go (captured/).
#
#   qemu-blk      QEMU's vhost-user-blk and qemu-storage-daemon (libvhost-user)
#   qemu-net      QEMU's vhost-user net, two queue pairs, and uvhostd: start,
#                 migration away, reset
#   qemu-in       the same QEMU, at the other end of that migration
#   qemu-dpdk     QEMU and DPDK's net_vhost
#   qemu-iommu    QEMU with a vIOMMU, a Linux guest, and uvhostd
#   dpdk-uvhostd  DPDK's virtio_user and uvhostd
#   dpdk-dpdk     DPDK's virtio_user and net_vhost
#   fe-dpdk       libuvhost (vu-peer) and net_vhost
#   fe-qsd        libuvhost (vu-peer) and qemu-storage-daemon
#
# rust-vmm, rust-vmm-32 and fe-rust-vmm were taken by hand, with programs that
# are not here.
#
# Each file says at its top what it is and how it was taken; a line of it is
# one message (vu-record.c).

# shellcheck disable=SC2054 # the commas are QEMU's
# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/../system/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
out=$(cd "${OUT:-$here/captured}" && pwd)
pids=() recorder=''
uv_need_tmp

stop()
{
	[ -z "${pids[*]-}" ] || kill -INT "${pids[@]}" 2>/dev/null
	wait
	pids=() recorder=''
	rm -f "$uv_tmp"/s "$uv_tmp"/real
}

cleanup()
{
	stop
	huge_pages_back
}
uv_at_exit cleanup

# record [-o BITS]: the recorder between $uv_tmp/s and $uv_tmp/real
record()
{
	wait_for_path "$uv_tmp/real" 20 || uv_die "no backend: $(cat "$uv_tmp"/*.log)"
	"$BUILD/tests/vu-record" "$@" "$uv_tmp/s" "$uv_tmp/real" >"$uv_tmp/rec" &
	recorder=$!
	recorder_words="vu-record $*"
	wait_for_path "$uv_tmp/s" 10 || uv_die "no recorder"
}

qemu_version()
{
	dpkg-query -W -f '${Package} ${Version}' "$1"
}

dpdk_version()
{
	dpkg-query -W -f 'dpdk-testpmd of ${Package} ${Version}' dpdk-dev
}

# save NAME "FRONTEND" "ITS COMMAND" "BACKEND" "ITS COMMAND"
save()
{
	wait "$recorder"
	{
		echo "# frontend: $2"
		echo "#   $3"
		echo "# backend: $4"
		echo "#   $5"
		echo "# taken with: ${recorder_words% } (tests/wire/record.sh $1)"
		echo "# a line: F frontend, B backend; b, f on the channel of SET_BACKEND_REQ_FD;"
		echo "# descriptors; header and payload as sent"
		sed "s,$uv_tmp,/tmp,g" "$uv_tmp/rec"
	} >"$out/$1.txt"
	echo "$1: $(wc -l <"$uv_tmp/rec") messages"
	stop
}

plain()
{
	echo "${*//$uv_tmp//tmp}"
}

qemu_words=(-M "pc,graphics=off" -accel tcg -m 64 -nodefaults -no-user-config
	-display none -monitor stdio
	-object memory-backend-memfd,id=m,size=64M,share=on
	-machine memory-backend=m)
net_words=(-chardev "socket,id=c0,path=$uv_tmp/s"
	-netdev vhost-user,id=n0,chardev=c0,queues=2
	-device virtio-net-pci,netdev=n0,mq=on,vectors=0,host_mtu=1400)

# qemu COMMANDS QEMU-ARG...: the monitor's commands, "sleep N" among them
qemu()
{
	local commands=$1
	shift
	command_line=$(plain qemu-system-x86_64 "$@")
	tr ';' '\n' <<<"$commands" | while read -r line; do
		case $line in
		sleep*) $line ;;
		*) echo "$line" ;;
		esac
	done | timeout 300 qemu-system-x86_64 "$@" >"$uv_tmp/qemu.log" 2>&1
}

storage_daemon()
{
	truncate -s 8M "$uv_tmp/disk"
	backend_line=(qemu-storage-daemon --chardev stdio,id=q --monitor chardev=q
		--blockdev "driver=file,filename=$uv_tmp/disk,node-name=disk"
		--export "type=vhost-user-blk,id=e,node-name=disk,writable=on,addr.type=unix,addr.path=$uv_tmp/real")
	{
		echo '{"execute":"qmp_capabilities"}'
		sleep 6
		echo '{"execute":"block_resize","arguments":{"node-name":"disk","size":16777216}}'
		sleep 300
	} | "${backend_line[@]}" >"$uv_tmp/qsd.log" 2>&1 &
	pids+=($!)
}

uvhostd()
{
	backend_line=(uvhostd --socket-path "$uv_tmp/real,port=null,queues=2")
	"$BUILD/${backend_line[0]}" "${backend_line[@]:1}" 2>"$uv_tmp/uvhostd.log" &
	pids+=($!)
}

testpmd_words=(--no-pci --in-memory --single-file-segments --no-telemetry -m 128)

net_vhost()
{
	backend_line=(dpdk-testpmd --file-prefix=uvback "${testpmd_words[@]}"
		"--vdev=net_vhost0,iface=$uv_tmp/real,queues=2" --
		--total-num-mbufs=8192 --rxq=2 --txq=2 --forward-mode=io
		"$@" --auto-start --stats-period=5)
	"${backend_line[@]}" >"$uv_tmp/testpmd.log" 2>&1 </dev/null &
	pids+=($!)
}

virtio_user()
{
	command_words=(dpdk-testpmd --file-prefix=uvfront "${testpmd_words[@]}"
		"--vdev=net_virtio_user0,path=$uv_tmp/s,queues=2,queue_size=256" --
		--total-num-mbufs=8192 --rxq=2 --txq=2 --forward-mode=rxonly
		--auto-start --stats-period=1)
	command_line=$(plain "${command_words[@]}")
	timeout -s INT "$1" "${command_words[@]}" \
		>"$uv_tmp/front.log" 2>&1 </dev/null
}

qemu_is="$(qemu_version qemu-system-x86)"
for case in "$@"; do
	case $case in
	qemu-blk)
		storage_daemon
		record -o 0x1000
		qemu "sleep 9;system_reset;sleep 5;quit" "${qemu_words[@]}" \
			-chardev "socket,id=c0,path=$uv_tmp/s" \
			-device vhost-user-blk-pci,chardev=c0,bootindex=0,vectors=0,num-queues=1
		save "$case" "$qemu_is" "$command_line" \
			"$(qemu_version qemu-system-common)" \
			"$(plain "${backend_line[@]}")"
		;;
	qemu-net)
		uvhostd
		record
		qemu "sleep 12;migrate \"exec:cat >$out/../migration.tmp\";sleep 4;cont;sleep 1;system_reset;sleep 8;quit" \
			"${qemu_words[@]}" "${net_words[@]}"
		save "$case" "$qemu_is" "$command_line" uvhostd \
			"$(plain "${backend_line[@]}")"
		;;
	qemu-in)
		[ -s "$out/../migration.tmp" ] || uv_die "qemu-net first"
		uvhostd
		record
		qemu "sleep 6;quit" "${qemu_words[@]}" "${net_words[@]}" \
			-incoming "exec:cat $out/../migration.tmp"
		rm -f "$out/../migration.tmp"
		save "$case" "$qemu_is" "${command_line//$out\/..\///tmp/}" uvhostd \
			"$(plain "${backend_line[@]}")"
		;;
	qemu-dpdk)
		huge_pages_reserve 80
		net_vhost
		record
		qemu "sleep 12;migrate \"exec:cat >/dev/null\";sleep 4;quit" \
			"${qemu_words[@]}" "${net_words[@]}"
		save "$case" "$qemu_is" "$command_line" "$(dpdk_version)" \
			"$(plain "${backend_line[@]}")"
		;;
	dpdk-uvhostd)
		huge_pages_reserve 80
		uvhostd
		record
		virtio_user 4
		save "$case" "$(dpdk_version)" "$command_line" uvhostd \
			"$(plain "${backend_line[@]}")"
		;;
	dpdk-dpdk)
		huge_pages_reserve 160
		net_vhost
		record
		virtio_user 4
		save "$case" "$(dpdk_version)" "$command_line" \
			"$(dpdk_version)" "$(plain "${backend_line[@]}")"
		;;
	qemu-iommu)
		# shellcheck disable=SC2119 # no kernel named
		guest_prepare || uv_die "no kernel to boot"
		uvhostd
		record
		qemu "sleep 60;quit" -M q35 -accel tcg,thread=multi -cpu max \
			-m 192 -nodefaults -no-user-config -display none \
			-monitor stdio -object \
			memory-backend-memfd,id=m,size=192M,share=on \
			-machine memory-backend=m \
			-device intel-iommu,intremap=off,device-iotlb=on \
			-kernel "$guest_kernel" -initrd "$guest_initrd" \
			-append "quiet intel_iommu=on mitigations=off uv.ip=10.1.0.2/24" \
			-chardev "socket,id=c0,path=$uv_tmp/s" \
			-netdev vhost-user,id=n0,chardev=c0 \
			-device virtio-net-pci,netdev=n0,vectors=0,iommu_platform=on,ats=on,disable-legacy=on
		save "$case" "$qemu_is" \
			"$(sed 's,[^ ]*/\(kernel\|guest\)-,\1-,g' <<<"$command_line")" \
			uvhostd "$(plain "${backend_line[@]}")"
		;;
	fe-dpdk)
		huge_pages_reserve 80
		net_vhost --no-flush-rx
		record -o 0x1000
		"$BUILD/tests/vu-peer" net "$uv_tmp/s" split ||
			uv_die "$(tail "$uv_tmp/testpmd.log")"
		save "$case" "libuvhost" "vu-peer net /tmp/s split" \
			"$(dpdk_version)" "$(plain "${backend_line[@]}")"
		;;
	fe-qsd)
		storage_daemon
		record -o 0x1000
		"$BUILD/tests/vu-peer" blk "$uv_tmp/s" "$uv_tmp/disk" ||
			uv_die "$(cat "$uv_tmp/qsd.log")"
		save "$case" "libuvhost" "vu-peer blk /tmp/s /tmp/disk" \
			"$(qemu_version qemu-system-common)" \
			"$(plain "${backend_line[@]}")"
		;;
	*) uv_die "what is $case?" ;;
	esac
done
