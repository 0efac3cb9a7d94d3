#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# matrix.sh harness|guests - one network of uvhostd with a port of every kind,
# and each talks to each: pings, and TCP both ways with every byte compared.
#
#   harness  a guest is a network namespace (bridge-guest.c): all kinds, with
#            and without offloads, jumbo frames, VLANs
#   guests   Linux guests in QEMU: on the character device, on a vhost-user
#            socket, and with an e1000

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/spaces.sh
. "$here/spaces.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

mode=${1-}
uv_own_netns "$@"
# What the daemon is to find: before it starts, in the first process.
export MATRIX_TMP=${MATRIX_TMP:-$(mktemp -d)}
uv_tmp=$MATRIX_TMP
sockets=$uv_tmp/sockets
mkdir -p "$sockets"

# The command line of uvhostd, spelled here and nowhere else.
net() { device_args="$device_args --net $1,mtu=9000"; }
port() { device_args="$device_args --port $1"; }
device() { device_args="$device_args --device $1"; }
socket() { device_args="$device_args --socket-path $sockets/$1"; }
dgram() { echo "qemu:dgram,local=unix:$sockets/$1.net,remote=unix:$sockets/$1.nic"; }
stream() { echo "qemu:stream,server=unix:$sockets/$1"; }

end()
{
	rm -rf "$MATRIX_TMP"
	[ -z "${MATRIX_NODE-}" ] || rm -f "$MATRIX_NODE"
}

cleanup()
{
	guest_stop_all
	spaces_stop
	device_stop
	end
}

# ---- harness --------------------------------------------------------------

kinds=(cuse cuse-plain user user-plain dgram stream tap macvtap packet pcap)

harness_daemon()
{
	net lan
	device uvhost-net,net=lan,offloads=all
	device plain,net=lan,offloads=none
	socket user,net=lan
	socket user-plain,net=lan
	port "lan,$(dgram dgram)"
	port "lan,$(stream stream)"
	port lan,tap:uvt0
	port lan,macvtap:uvm0
	port lan,packet:uvp0
	port lan,pcap:uvc0
	net vlans
	socket trunk10,net=vlans,trunk=10+20-30
	port "vlans,$(stream trunk20),trunk=10+20-30"
	socket access10,net=vlans,vlan=10
	port vlans,tap:uvt1,vlan=20
	device_devices=2
}

# The far ends wait here until there is a space for them.
harness_lines()
{
	local line

	for line in uvp uvc uvv; do
		make_veth ${line}0 ${line}1 || return 1
		ip link set ${line}0 mtu 9000 && ip link set ${line}1 mtu 9000
	done
	ip link add link uvv0 name uvm0 type macvtap mode passthru &&
		ip link set uvm0 mtu 9000 up && macvtap_node
}

# The node may be there (devtmpfs), or be another interface's: the index is that
# of our namespace, whose numbers only a sysfs of its own has.
macvtap_node()
{
	local node dev

	node=/dev/tap$(ip -o link show uvm0 | cut -d : -f 1)
	dev=$(unshare --mount sh -c 'mount -t sysfs none /sys &&
		cat /sys/class/net/uvm0/macvtap/tap*/dev') || return 1
	if [ ! -e "$node" ]; then
		export MATRIX_NODE=$node
		mknod -m 600 "$node" c "${dev%:*}" "${dev#*:}"
	fi
	[ $((0x$(stat -c %t "$node"))):$((0x$(stat -c %T "$node"))) = "$dev" ]
}

# What is in each space: a guest with that card, or the end of a line.
declare -A cards=(
	[cuse]='backend=uvb0 device:/dev/uvhost-net'
	[cuse-plain]='plain memfd backend=uvb0 device:/dev/plain'
	[user]="packed user:$sockets/user"
	[user-plain]="plain no-merge user:$sockets/user-plain"
	[dgram]="dgram:$sockets/dgram.nic:$sockets/dgram.net"
	[stream]="stream:$sockets/stream"
	[trunk10]="vlan=10 user:$sockets/trunk10"
	[trunk20]="vlan=20 stream:$sockets/trunk20"
	[access10]="user:$sockets/access10"
)
declare -A lines=([tap]=uvt0 [macvtap]=uvv1 [packet]=uvp1 [pcap]=uvc1
	[access20]=uvt1)

plug_in()
{
	# shellcheck disable=SC2086 # words
	if [ -n "${lines[$1]-}" ]; then
		space_take "$1" "${lines[$1]}"
	else
		space_guest "$1" ${cards[$1]}
	fi
}

harness_guests()
{
	local name n=1

	for name in "${!cards[@]}" "${!lines[@]}"; do
		space "$name" && plug_in "$name" || return 1
	done
	# A line without virtio_net_hdr carries what is finished.
	at pcap ethtool -K eth0 tx off >/dev/null ||
		uv_die "cannot switch off the offloads of a line"
	for name in "${!space_pids[@]}"; do
		space_addr "$name" "10.1.0.$((n++))/24" &&
			space_serve "$name" || return 1
	done
}

# pair FROM TO KIB PING-ARG...: a line of the table, or the end.
pair()
{
	local from=$1 to=$2 kib=$3 out rates
	shift 3

	out=$(space_ping "$from" "$to" -c 1 -W 5 "$@" 2>&1) ||
		uv_die "$from to $to, ping: $out"
	rates=$(space_blob "$from" "$to" "$kib" 2>&1) ||
		uv_die "$from to $to, TCP: $rates"
	printf '%11s' "${rates% *}"
}

each_to_each()
{
	local from to

	printf '%11s' '' "${kinds[@]}"
	echo
	for from in "${kinds[@]}"; do
		printf '%11s' "$from"
		for to in "${kinds[@]}"; do
			if [ "$from" = "$to" ]; then
				printf '%11s' -
			else
				pair "$from" "$to" "$@"
			fi
		done
		echo
	done
}

set_mtu()
{
	local name

	for name in "${kinds[@]}"; do
		at "$name" ip link set eth0 mtu "$1" || return 1
	done
}

vlans()
{
	local a b

	for a in trunk10:access10 trunk20:access20; do
		pair "${a#*:}" "${a%:*}" 256 >/dev/null
		pair "${a%:*}" "${a#*:}" 256 >/dev/null
	done
	for a in trunk10 access10; do
		for b in trunk20 access20; do
			space_ping $a $b -c 1 -W 1 >/dev/null 2>&1 &&
				uv_die "$a reaches $b"
		done
	done
	echo "VLANs: access and trunk, and nothing between 10 and 20"
}

# What a guest got, as it counted it: "gso N unfinished N" in $got.
count()
{
	space_guest_end "$1" || exit 1
	got=$(sed -n 's/^down: frames [0-9]* //p' "$uv_tmp/guest-$1")
}

offloads()
{
	local name got

	for name in cuse user; do
		count $name
		case $got in
		*'gso 0 '* | *'unfinished 0' | '')
			uv_die "$name: no frame came whole: $got"
			;;
		esac
	done
	for name in cuse-plain user-plain; do
		count $name
		[ "$got" = "gso 0 unfinished 0" ] ||
			uv_die "$name was left with work: $got"
	done
	echo "offloads: frames came whole to those who take them so, and only" \
		"to them"
}

# Guests that were there before, with another MAC address.
come_again()
{
	local name

	for name in cuse user stream; do
		[ -z "${space_guests[$name]-}" ] || space_guest_end $name ||
			exit 1
		plug_in $name && space_addr $name "${space_ips[$name]}/24" ||
			uv_die "$name does not come again"
		at tap ip neigh flush all
		pair tap $name 1024 >/dev/null
		pair $name tap 1024 >/dev/null
	done
	echo "guests can go, and come again"
}

harness()
{
	command -v ethtool >/dev/null || uv_skip "no ethtool (Debian: ethtool)"
	uv_at_exit end
	[ -n "${UV_DEVICE_LOG-}" ] || harness_lines ||
		uv_skip "no veth or macvtap to be had"
	harness_daemon
	device_start "$mode"
	uv_at_exit cleanup
	harness_guests || uv_die "not all ports are there"
	echo "Mbit/s, MTU 1500:"
	set_mtu 1500
	each_to_each 2048
	echo "Mbit/s, MTU 9000:"
	set_mtu 9000
	each_to_each 2048 -s 8000
	vlans
	offloads
	come_again
}

# ---- guests ---------------------------------------------------------------

machines=(cuse user e1000)
declare -A machine_ip=([cuse]=10.1.0.1 [user]=10.1.0.2 [e1000]=10.1.0.3)
guest_mem=160
mib=$([ -n "${UVHOST_VM-}" ] && echo 1 || echo 4)

machine()
{
	local name=$1
	shift

	guest_start "$name" "uv.ip=${machine_ip[$name]}/24 uv.job=agent" "$@" ||
		uv_die "no guest $name"
}

machines_start()
{
	local card=virtio-net-pci,netdev=n0,mac=52:54:00:00:00:02

	# QEMU 7.2, TCG: it crashes where a guest sets up MSI-X on vhost-user
	[ "$(uv__accel)" = kvm ] || card=$card,vectors=0
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	machine cuse -netdev tap,id=n0,ifname=uvb0,script=no,downscript=no,vhost=on,vhostfd=30 \
		-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01
	exec 30>&-
	machine user -machine memory-backend=m \
		-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on" \
		-chardev "socket,id=c0,path=$sockets/user" \
		-netdev vhost-user,id=n0,chardev=c0 -device "$card"
	machine e1000 -netdev "dgram,id=n0,local.type=unix,local.path=$sockets/e1000.nic,remote.type=unix,remote.path=$sockets/e1000.net" \
		-device e1000,netdev=n0,mac=52:54:00:00:00:03
}

# A web server with bytes of its own on each; prints their sum.
machine_serve()
{
	guest_wait "$1" '^uv: agent' 60 || uv_die "$1 does not boot"
	guest_cmd "$1" "mkdir -p /www; head -c $((mib << 20)) /dev/urandom \
>/www/blob; httpd -h /www; sha256sum </www/blob" 60 || uv_die "$1: no server"
}

machine_talk()
{
	local from=$1 to=$2 want=$3 out ip=${machine_ip[$2]}

	out=$(guest_cmd "$from" "uv_peer=$ip; wait_peer; ping -c 5 -i 0.2 $ip" 60)
	grep -q ' 0% packet loss' <<<"$out" || uv_die "$from to $to: $out"
	out=$(guest_cmd "$from" "wget -q -O /tmp/got http://$ip/blob;\
 sha256sum </tmp/got" 120)
	[ "$out" = "$want" ] || uv_die "$from from $to: $want became $out"
	echo "$from from $to: pings, $mib MiB"
}

guests()
{
	local a b
	declare -A sums

	net lan
	device uvhost-net,net=lan
	socket user,net=lan
	port "lan,$(dgram e1000)"
	uv_at_exit end
	device_start "$mode"
	uv_at_exit cleanup
	ip tuntap add dev uvb0 mode tap vnet_hdr || uv_die "cannot make a tap"
	machines_start
	for a in "${machines[@]}"; do
		sums[$a]=$(machine_serve "$a") || exit 1
	done
	for a in "${machines[@]}"; do
		for b in "${machines[@]}"; do
			[ "$a" = "$b" ] || machine_talk "$a" "$b" "${sums[$b]}"
		done
	done
}

case $mode in
harness) harness ;;
guests) guests ;;
*) uv_die "harness or guests?" ;;
esac
device_counters >/dev/null
if grep -E 'error:|warning:' "$device_log"; then
	uv_die "the daemon complains"
fi
