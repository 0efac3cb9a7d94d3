#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# net.sh options|config [worker] - networks: guests of a device and of vhost-user
# sockets and taps on one daemon (net.c), which is told by its command line or by
# a file; captures that tcpdump reads; counters.
#    worker: guests have worker processes; that of the device dies a few times,
#       and spoils its ring of frames

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

if [ -z "${UV_NET_DIR-}" ]; then
	uv_need_tmp
	UV_NET_DIR=$uv_tmp "$0" "$@"
	exit
fi
d=$UV_NET_DIR
worker=${2-}

as_options()
{
	echo --net lan --device uvhost-net,net=lan,capture="$d/lan.pcapng${worker:+,worker-process}" \
		--socket-path "$d/b,net=lan,name=bee,capture=$d/lan.pcapng${worker:+,worker-process}" \
		--port lan,tap:uvlan,capture="$d/lan.pcapng" \
		--net vlans --port "vlans,vhost-user:$d/v10,vlan=10" \
		--port "vlans,vhost-user:$d/v20,vlan=20" \
		--socket-path "$d/trunk,net=vlans,trunk=10+20-22${worker:+,worker-process}" \
		--socket-path "$d/loop,port=loop,capture=$d/loop.pcapng" \
		--net wire,age=60 --socket-path "$d/w,net=wire${worker:+,worker-process}" \
		--port wire,tap:uvwire,capture="$d/wire.pcapng",capture-snaplen=64
}

as_config()
{
	cat >"$d/conf" <<-EOF
		[net lan]
		[device uvhost-net]
		net = lan
		capture = $d/lan.pcapng
		${worker:+worker-process = on}
		[socket-path $d/b]
		net = lan
		name = bee
		capture = $d/lan.pcapng
		${worker:+worker-process = on}
		[port lan tap:uvlan]
		capture = $d/lan.pcapng

		[net vlans]
		[port vlans vhost-user:$d/v10]
		vlan = 10
		[port vlans vhost-user:$d/v20]
		vlan = 20
		[socket-path $d/trunk]
		net = vlans
		trunk = 10+20-22

		[socket-path $d/loop]
		port = loop
		capture = $d/loop.pcapng

		[net wire]
		age = 60
		[socket-path $d/w]
		net = wire
		[port wire tap:uvwire]
		capture = $d/wire.pcapng
		capture-snaplen = 64
	EOF
	echo --config "$d/conf"
}

case ${1:-options} in
options) device_args=$(as_options) ;;
config) device_args=$(as_config) ;;
*) uv_die "usage: net.sh options|config [worker]" ;;
esac
device_start "$@"
# It has sockets too, so it does not end with its channel.
uv_at_exit 'kill "$device_pid"; device_stop'

taps_are_there()
{
	ip link show uvlan && ip link show uvwire
}

uv_wait 20 taps_are_there >/dev/null 2>&1 || uv_die "no taps: $(cat "$device_log")"
for i in uvlan uvwire; do
	echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6
	ip link set $i up
done
# --- rights: of threads too that were there before they were given up ----------

# A sanitizer's own thread is left alone.
grep -q libtsan "/proc/$device_pid/maps" || {
	rights=$(sort -u <(grep -h -E 'CapPrm|NoNewPrivs' "/proc/$device_pid/task/"*/status))
	[ "$(wc -l <<<"$rights")" = 2 ] || uv_die "threads differ: $rights"
	grep -q 'NoNewPrivs:.1' <<<"$rights" || uv_die "$rights"
	[ "$(ls "/proc/$device_pid/task" | wc -l)" -ge 4 ] || uv_die "where are the threads?"
}

# --- frames -----------------------------------------------------------------

[ -z "$worker" ] || export UVHOST_VICTIM=worker
UVHOST_DEV=$device_node UVHOST_PID=$device_pid timeout -k 5 300 "$BUILD/tests/net" "$d" ||
	uv_die "status $?: $(tail -n 20 "$device_log")"

# --- counters ---------------------------------------------------------------

for port in bee tap:uvlan v10 v20 trunk w tap:uvwire uvhost-net.0; do
	grep -q "\b$port: " "$device_log" ||
		uv_die "no counters of $port: $(cat "$device_log")"
done

[ -z "$worker" ] || grep -q 'uvhost-net/.*: worker process [0-9]* memory' "$device_log" ||
	uv_die "no worker process: $(cat "$device_log")"

# said N TEXT
said()
{
	[ "$(grep -c "$2" "$device_log")" = "$1" ]
}

[ -z "$worker" ] || {
	uv_wait 20 said 1 'the guest stays stopped' && said 3 'wrote what cannot be to the network' ||
		uv_die "a spoiled ring: $(tail -n 20 "$device_log")"
}

# --- captures ---------------------------------------------------------------

# Frames in FILE from ADDRESS; the writer is some milliseconds behind.
captured()
{
	[ "$(tcpdump -r "$1" -n -e 2>/dev/null | grep -c " $2 > ")" -ge "$3" ]
}

uv_wait 20 captured "$d/lan.pcapng" 02:00:00:00:00:01 4 ||
	uv_die "lan.pcapng: $(tcpdump -r "$d/lan.pcapng" -n -e 2>&1)"
uv_wait 20 captured "$d/loop.pcapng" 02:00:00:00:00:28 20 ||
	uv_die "loop.pcapng: $(tcpdump -r "$d/loop.pcapng" -n -e 2>&1)"
uv_wait 20 captured "$d/wire.pcapng" 02:00:00:00:00:01 10000 ||
	uv_die "wire.pcapng: $(tcpdump -r "$d/wire.pcapng" -n -e 2>&1 | head)"
# Not "warning: ring error": close(2) of the device does not wait for the end of
# its session, so a ring may still run when its owner unmaps the memory.
allowed='nothing more is received: Protocol error|crashed within 60 s|the guest stays stopped'
if grep -E '(^|: )error:|ERROR:' "$device_log" | grep -vE "${worker:+$allowed|}^\$"; then
	uv_die "the daemon complains"
fi
uv_say "captures are read by tcpdump, counters are there"
