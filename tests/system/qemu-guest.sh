#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# qemu-guest.sh ATTACH MEMORY [PROPERTIES] - an unmodified QEMU and a Linux
# guest on the device: pings both ways, a file each way, sha256 equal.
#
#   ATTACH  vhostfd    one queue pair
#           vhostfds   two queue pairs, each on its own descriptor
#           network    the same two, on a network whose other port is the tap
#           vhost=on   QEMU opens /dev/vhost-net itself (after --takeover)
#   MEMORY  private    plain -m
#           memfd      memory-backend-memfd, share=on
#           hugetlb    the same with huge pages
#   PROPERTIES  of virtio-net-pci, comma-separated; with packed=on the rings have
#           to be packed

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

attach=$1 memory=$2 properties=${3-}
mib=$([ -n "${UVHOST_VM-}" ] && echo 2 || echo 16)
tap_words='' words=$traffic_words pairs=1
guest_mem=192

cleanup()
{
	guest_stop_all
	traffic_stop
	device_stop
	huge_pages_back
}

case $memory in
private) args=() ;;
memfd) args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
	-machine memory-backend=m) ;;
hugetlb)
	args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on,hugetlb=on,hugetlbsize=2M"
		-machine memory-backend=m)
	;;
esac
if [ "$attach" = vhost=on ]; then
	# The name is the kernel driver's: only where nothing else is lost.
	[ -n "${UVHOST_VM-}" ] || [ ! -e /dev/cuse ] ||
		uv_skip "would take the name vhost-net from this machine"
	device_args='--dev vhost-net'
	device_node=/dev/vhost-net
	[ -z "${UVHOST_VM-}" ] || device_args="$device_args --takeover"
fi
if [ "$attach" = network ]; then
	device_args="--net lan --port lan,tap:uv0
		--device uvhost-net,net=lan,offloads=csum+tso4+tso6+ecn"
fi
format="split"
case ,$properties, in
*,packed=on,*)
	format="packed"
	device_args="--device uvhost-net,features=+packed"
	;;
esac
device_start "$@"
uv_at_exit cleanup
[ "$memory" != hugetlb ] || huge_pages_reserve $((guest_mem / 2 + 4))

netdev=tap,id=n0,script=no,downscript=no,vhost=on
device=virtio-net-pci,netdev=n0${properties:+,$properties}
case $attach in
vhostfd)
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	netdev=$netdev,ifname=uv0,vhostfd=30
	;;
vhostfds | network)
	# QEMU wants both taps and devices by descriptor; "queues" follows.
	guest_smp=2 tap_words=multi_queue pairs=2
	exec 30<>"$device_node" 31<>"$device_node" ||
		uv_die "cannot open $device_node"
	;;
vhost=on) netdev=$netdev,ifname=uv0,vhostforce=on ;;
esac
qemu_tap=uv0
if [ "$attach" = network ]; then
	# It only says when the rings run. The other end is the daemon's.
	qemu_tap=uv1
	make_tap uv1 - multi_queue || uv_die "cannot make a tap"
	tap_words=''
fi
traffic_host uv0 "$tap_words" || uv_die "cannot make a tap"
if [ "$attach" = vhostfds ] || [ "$attach" = network ]; then
	netdev=tap,id=n0,fds=40:41,vhostfds=30:31,vhost=on
	device=$device,mq=on,vectors=6
	words="$words uv.queues=2"
	guest_qemu="$BUILD/tests/with-taps $qemu_tap 40 41 -- qemu-system-x86_64"
fi
guest_start g "$words" -netdev "$netdev" -device "$device" "${args[@]}" ||
	uv_die "no guest"
traffic_run g "$mib" || uv_die "no traffic"
device_counters $((2 * pairs)) >/dev/null

want=copied
[ "$memory" = private ] || want=mapped
grep -q "\.tx: .* memory $want" "$device_log" ||
	uv_die "guest memory was not $want: $(grep -E 'memory' "$device_log")"
for ring in rx tx; do
	grep -q "\.$ring: .* ring $format " "$device_log" ||
		uv_die "no $format $ring ring: $(grep ' ring ' "$device_log")"
done
if grep -qE 'error:|warning:|errors [1-9]' "$device_log"; then
	uv_die "the daemon complains: $(cat "$device_log")"
fi
if [ "$attach" = network ]; then
	uv_wait 10 grep -q '^lan: ports 2 ' "$device_log" ||
		uv_die "two queue pairs are not one port: $(grep '^lan' "$device_log")"
fi
echo "$attach $memory $format: $traffic_rtt_up and $traffic_rtt_down ms," \
	"$traffic_down and $traffic_up Mbit/s, $want"
