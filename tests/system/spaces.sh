# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# spaces.sh - machines that are network namespaces. Source it after vm-lib.sh,
# in a network namespace of one's own (in_netns).
#
#   space NAME                   one more; nothing is left of it at the end
#   at NAME COMMAND...           runs a command there
#   space_take NAME IF           moves interface IF there, where it is eth0
#   space_guest NAME WORD...     its eth0 is the tap of a bridge-guest
#   space_addr NAME ADDR/LEN     of eth0, which is brought up
#   space_serve NAME             a tcp-blob that answers
#   space_ping FROM TO ARG...    TO's address, as told to space_addr
#   space_blob FROM TO KIB       both ways; prints the rates, Mbit/s
#   space_guest_end NAME         ends its bridge-guest; what it counted is in
#                                $uv_tmp/guest-NAME
#   spaces_stop                  at the end

declare -A space_pids space_ips space_guests
space_port=5000
spaces_more=()

space()
{
	# no terminal, no pipe of ours: a reader may wait for its end
	unshare --net sleep 100000 </dev/null >/dev/null 2>&1 &
	space_pids[$1]=$!
	uv_wait 20 space__apart "$1" || { uv_say "no namespace $1"; return 1; }
	at "$1" ip link set lo up
	# nothing of the kernel's own between the test's packets
	at "$1" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' \
		2>/dev/null
	return 0
}

space__apart()
{
	[ "$(readlink "/proc/${space_pids[$1]}/ns/net")" != \
		"$(readlink /proc/self/ns/net)" ]
}

at()
{
	local name=$1
	shift

	nsenter -t "${space_pids[$name]}" -n "$@"
}

space_take()
{
	ip link set "$2" netns "${space_pids[$1]}" &&
		at "$1" ip link set "$2" name eth0
}

space_guest()
{
	local name=$1 out=$uv_tmp/guest-$1
	shift

	: >"$out"
	nsenter -t "${space_pids[$name]}" -n \
		"$BUILD/tests/bridge-guest" "$@" eth0 >"$out" 2>&1 &
	space_guests[$name]=$!
	uv_wait 10 space__said "$name" || {
		uv_say "bridge-guest $*: $(cat "$out")"
		return 1
	}
}

space__said()
{
	grep -q ready "$uv_tmp/guest-$1" ||
		! kill -0 "${space_guests[$1]}" 2>/dev/null
}

space_guest_end()
{
	kill -TERM "${space_guests[$1]}" 2>/dev/null
	wait "${space_guests[$1]}" || {
		uv_say "bridge-guest $1: $(cat "$uv_tmp/guest-$1")"
		return 1
	}
	unset "space_guests[$1]"
}

space_addr()
{
	space_ips[$1]=${2%/*}
	at "$1" ip addr add "$2" dev eth0 && at "$1" ip link set eth0 up
}

space_serve()
{
	: >"$uv_tmp/serve-$1"
	nsenter -t "${space_pids[$1]}" -n "$BUILD/tests/tcp-blob" \
		serve $space_port >"$uv_tmp/serve-$1" 2>&1 &
	spaces_more+=($!)
	uv_wait 10 grep -q ready "$uv_tmp/serve-$1" ||
		{ uv_say "tcp-blob $1: $(cat "$uv_tmp/serve-$1")"; return 1; }
}

space_ping()
{
	local from=$1 to=${space_ips[$2]}
	shift 2

	at "$from" busybox ping "$@" "$to"
}

space_blob()
{
	at "$1" "$BUILD/tests/tcp-blob" ask "${space_ips[$2]}" \
		$space_port "$3"
}

spaces_stop()
{
	local pid

	for pid in "${space_guests[@]}" "${spaces_more[@]}" \
		"${space_pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	space_guests=() spaces_more=() space_pids=()
}
