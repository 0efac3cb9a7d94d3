#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# two-hosts.sh linux|ovs - guests of two hosts, each with a uvhostd of its own,
# in one Ethernet: what leads from host to host is what hosts have for that, and
# a tap of ours is a port of it.
#
#   linux  a Linux bridge with a VXLAN device
#   ovs    Open vSwitch with its datapath in user space, and a VXLAN tunnel
#
# A host is a network namespace, and so is a guest (bridge-guest.c).

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/spaces.sh
. "$here/spaces.sh"

mode=${1-}
vni=42
overlay_mtu=1450 # 50 bytes of VXLAN, UDP, IP and Ethernet
uv_own_netns "$@"
uv_need_tmp
declare -A daemons
servers=()

cleanup()
{
	local pid

	spaces_stop
	for pid in "${servers[@]}" "${daemons[@]}"; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
}
uv_at_exit cleanup

# host NAME OUTER-IP: its line to the other one is eth0
host()
{
	space "$1" && space_take "$1" "line-$1" && space_addr "$1" "$2/24" ||
		uv_die "no host $1"
}

# daemon HOST PORT-WORDS: one network, a tap on the host and a guest
daemon()
{
	: >"$uv_tmp/$1.log"
	nsenter -t "${space_pids[$1]}" -n "$BUILD/uvhostd" \
		--net lan --port "lan,tap:uv0$2" \
		--socket-path "$uv_tmp/$1.sock,net=lan" 2>>"$uv_tmp/$1.log" &
	daemons[$1]=$!
	uv_wait 10 grep -q 'ready$' "$uv_tmp/$1.log" ||
		uv_die "uvhostd of $1: $(cat "$uv_tmp/$1.log")"
}

# guest HOST NAME ADDR WORD...
guest()
{
	local host=$1 name=$2 addr=$3
	shift 3

	space "$name" &&
		space_guest "$name" "mtu=$overlay_mtu" "$@" \
			"user:$uv_tmp/$host.sock" &&
		space_addr "$name" "$addr" && space_serve "$name" ||
		uv_die "no guest $name"
}

# ---- from host to host ----------------------------------------------------

# linux_bridge HOST OTHER-IP
linux_bridge()
{
	at "$1" ip link add br0 type bridge &&
		at "$1" ip link add vx0 type vxlan id $vni remote "$2" \
			dstport 4789 dev eth0 &&
		at "$1" ip link set vx0 master br0 up &&
		at "$1" ip link set uv0 master br0 up &&
		at "$1" ip link set br0 up
}

ovs()
{
	local host=$1
	shift

	at "$host" ovs-vsctl --timeout=300 "--db=unix:$uv_tmp/$host.db.sock" \
		"$@"
}

# Both programs of Open vSwitch for one host: no service, nothing outside
# $uv_tmp.
ovs_start()
{
	local host=$1 dir=$uv_tmp/$1.ovs

	mkdir -p "$dir"
	ovsdb-tool create "$dir/db" /usr/share/openvswitch/vswitch.ovsschema ||
		return 1
	OVS_RUNDIR=$dir nsenter -t "${space_pids[$host]}" -n ovsdb-server \
		"$dir/db" "--remote=punix:$uv_tmp/$host.db.sock" \
		"--unixctl=$dir/db.ctl" >"$dir/db.log" 2>&1 &
	servers+=($!)
	wait_for_listener "$uv_tmp/$host.db.sock" 20 || return 1
	ovs "$host" --no-wait init || return 1
	OVS_RUNDIR=$dir nsenter -t "${space_pids[$host]}" -n ovs-vswitchd \
		"unix:$uv_tmp/$host.db.sock" "--unixctl=$dir/vswitchd.ctl" \
		>"$dir/vswitchd.log" 2>&1 &
	servers+=($!)
}

# ovs_bridge HOST IP OTHER-IP: in user space the tunnel ends at the address of a
# bridge that has the line
ovs_bridge()
{
	ovs "$1" add-br line -- set bridge line datapath_type=netdev -- \
		add-port line eth0 -- \
		add-br br0 -- set bridge br0 datapath_type=netdev -- \
		add-port br0 uv0 -- \
		add-port br0 vx0 -- set interface vx0 type=vxlan \
		"options:remote_ip=$3" options:key=$vni || return 1
	at "$1" ip addr flush dev eth0 &&
		at "$1" ip addr add "$2/24" dev line &&
		at "$1" ip link set line up && at "$1" ip link set uv0 up
}

make_veth line-h1 line-h2 || uv_die "no veth"
host h1 192.0.2.1
host h2 192.0.2.2
case $mode in
linux)
	ip link add vx-test type vxlan id 1 remote 192.0.2.1 dstport 4789 \
		2>/dev/null || uv_skip "no VXLAN in this kernel"
	daemon h1 ''
	daemon h2 ''
	linux_bridge h1 192.0.2.2 && linux_bridge h2 192.0.2.1 ||
		uv_die "no bridge"
	;;
ovs)
	command -v ovs-vswitchd >/dev/null ||
		uv_skip "no ovs-vswitchd (Debian: openvswitch-switch)"
	# It takes frames as they lie in the socket: finished ones.
	daemon h1 ,offloads=none
	daemon h2 ,offloads=none
	for name in h1 h2; do
		at $name ethtool -K eth0 tx off >/dev/null 2>&1
		ovs_start $name || uv_die "no Open vSwitch on $name:" \
			"$(cat "$uv_tmp/$name.ovs"/*.log)"
	done
	ovs_bridge h1 192.0.2.1 192.0.2.2 &&
		ovs_bridge h2 192.0.2.2 192.0.2.1 ||
		uv_die "no bridge: $(cat "$uv_tmp"/h?.ovs/vswitchd.log)"
	;;
*) uv_die "linux or ovs?" ;;
esac
guest h1 g1 10.1.0.1/24
guest h2 g2 10.1.0.2/24

reach()
{
	space_ping g1 g2 -c 1 -W 1 >/dev/null 2>&1
}

uv_wait 20 reach || uv_die "no ping from guest to guest"
out=$(space_ping g2 g1 -c 5 -i 0.1 -s 1400) && grep -q ' 0% packet loss' <<<"$out" ||
	uv_die "ping: $out"
there=$(space_blob g1 g2 8192) || uv_die "TCP from g1: $there"
back=$(space_blob g2 g1 8192) || uv_die "TCP from g2: $back"
for name in g1 g2; do
	space_guest_end $name || exit 1
done
if grep -hE 'error:|warning:' "$uv_tmp"/h?.log; then
	uv_die "a daemon complains"
fi
echo "two hosts, $mode: pings, 8 MiB each way at $there and $back Mbit/s"
