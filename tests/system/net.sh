#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# net.sh options|config [worker|network] - networks: guests of a device and of
# vhost-user sockets and taps on one daemon (net.c), which is told by its command
# line or by a file; captures that tcpdump reads; counters.
#    worker:  guests have worker processes; that of the device dies a few times, and
#             spoils its ring of frames
#    network: networks have one too, which has no rights; it dies a few times

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
network=''
[ "$worker" != network ] || network=1

as_options()
{
	echo --net "lan${network:+,worker-process}" --device uvhost-net,net=lan,capture="$d/lan.pcapng${worker:+,worker-process}" \
		--socket-path "$d/b,net=lan,name=bee,capture=$d/lan.pcapng${worker:+,worker-process}" \
		--port lan,tap:uvlan,capture="$d/lan.pcapng" \
		--net "vlans${network:+,worker-process}" --port "vlans,vhost-user:$d/v10,vlan=10" \
		--port "vlans,vhost-user:$d/v20,vlan=20" \
		--socket-path "$d/trunk,net=vlans,trunk=10+20-22${worker:+,worker-process}" \
		--socket-path "$d/loop,port=loop,capture=$d/loop.pcapng" \
		--net "wire,age=60${network:+,worker-process}" --socket-path "$d/w,net=wire${worker:+,worker-process}" \
		--port wire,tap:uvwire,capture="$d/wire.pcapng",capture-snaplen=64
}

as_config()
{
	cat >"$d/conf" <<-EOF
		[net lan]
		${network:+worker-process = on}
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
		${network:+worker-process = on}
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
		${network:+worker-process = on}
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
*) uv_die "usage: net.sh options|config [worker|network]" ;;
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

# --- the process of a network ------------------------------------------------

# process_of NET: its id
process_of()
{
	local pid

	for pid in $(device_processes); do
		[ "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" != "uvhost-worker network $1 " ] ||
			echo "$pid"
	done
}

# polls_tap PID: is the tap among the descriptors of an epoll instance of its?
polls_tap()
{
	local fd

	for fd in $(sed -n 's/^tfd: *\([0-9]*\).*/\1/p' "/proc/$1/fdinfo/"* 2>/dev/null | sort -u); do
		[ "$(readlink "/proc/$1/fd/$fd")" != /dev/net/tun ] || return 0
	done
	return 1
}

lan_runs()
{
	lan=$(process_of lan)
	[ -n "$lan" ] && polls_tap "$lan"
}

check_process()
{
	local status line tun

	uv_wait 60 lan_runs || uv_die "no process reads the tap: $(cat "$device_log")"
	status=$(grep -E '^(Cap|NoNew|Uid|Gid|Groups|Seccomp)' "/proc/$lan/status")
	for line in CapInh:.0* CapPrm:.0* CapEff:.0* CapAmb:.0* NoNewPrivs:.1 \
		'Uid:(.[1-9][0-9]*){4}' 'Gid:(.[1-9][0-9]*){4}' 'Groups:[[:space:]]*'; do
		grep -qE "^$line\$" <<<"$status" || uv_die "$line? $status"
	done
	# A program with sanitizers has it too, with more calls.
	grep -q '^Seccomp:.2' <<<"$status" || uv_die "no filter: $status"
	! polls_tap "$device_pid" || uv_die "uvhostd reads the tap too"
	# its tap and nothing else of the host: no channel, no file but captures
	tun=$(find "/proc/$lan/fd" -lname /dev/net/tun | wc -l)
	[ "$tun" -ge 1 ] || uv_die "no tap: $(ls -l "/proc/$lan/fd")"
	if find "/proc/$lan/fd" -printf '%l\n' | sort -u |
		grep -vE "^(|/dev/null|/dev/net/tun|$d/lan.pcapng|$device_log|(socket|pipe):.*|anon_inode:.*|/memfd:uvhost-.*)\$"; then
		uv_die "what are these for?"
	fi
}

[ -z "$network" ] || check_process

# --- frames -----------------------------------------------------------------

[ -z "$worker" ] || export UVHOST_VICTIM=$worker
UVHOST_DEV=$device_node UVHOST_PID=$device_pid timeout -k 5 300 "$BUILD/tests/net" "$d" ||
	uv_die "status $?: $(tail -n 20 "$device_log")"

# --- the start ---------------------------------------------------------------

# READY=1 comes when the three networks have their ports.
[ -z "$network" ] ||
	[ "$(sed '/ready$/,$d' "$device_log" | grep -c 'has the network$')" = 3 ] ||
	uv_die "ready too early: $(head -n 20 "$device_log")"

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

[ "$worker" != worker ] || {
	uv_wait 20 said 1 'the guest stays stopped' && said 4 'wrote what cannot be to the network' ||
		uv_die "a spoiled ring: $(tail -n 20 "$device_log")"
}

# The network's process cannot have the guest stopped.
[ -z "$network" ] || {
	said 3 'port uvhost-net.0: its guest.s worker process spoiled' &&
		said 1 'port bee: its guest.s worker process spoiled' &&
		said 0 'the guest stays stopped' ||
		uv_die "a spoiled ring: $(tail -n 20 "$device_log")"
	kill -USR1 "$device_pid"
	uv_wait 60 grep -q '^lan: frame rings spoiled 4, the last by port uvhost-net.0$' "$device_log" ||
		uv_die "SIGUSR1 does not tell of spoiled rings: $(tail -n 20 "$device_log")"
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
allowed='nothing more is received: the frame ring is spoiled|crashed within 60 s|the guest stays stopped'
[ -n "$worker" ] || allowed='^$'
if grep -E '(^|: )error:|ERROR:' "$device_log" | grep -vE "$allowed|^\$"; then
	uv_die "the daemon complains"
fi
uv_say "captures are read by tcpdump, counters are there"

# --- a network that crashes again and again -----------------------------------

stops()
{
	local pid

	! grep -q 'wire: error: the network stays stopped: its worker process has crashed 3 times' "$device_log" ||
		return 0
	pid=$(process_of wire)
	[ -z "$pid" ] || kill -ABRT "$pid"
	return 1
}

# silent: the process of wire has been asked, and does not answer
silent()
{
	grep -q 'wire: warning: worker process [0-9]* does not answer' "$device_log"
}

if [ -n "$network" ]; then
	wire=$(process_of wire)
	kill -STOP "$wire"
	kill -USR1 "$device_pid"
	uv_wait 60 silent || uv_die "a process that is stopped is not told of: $(cat "$device_log")"
	kill -USR1 "$device_pid"
	uv_wait 60 grep -q "^wire: worker process $wire has not answered for" "$device_log" ||
		uv_die "SIGUSR1 does not tell of it: $(cat "$device_log")"
	kill -CONT "$wire"
	uv_wait 60 stops || uv_die "it goes on: $(cat "$device_log")"
	[ -z "$(process_of wire)" ] || uv_die "what stays stopped has a process"
	kill -USR1 "$device_pid"
	uv_wait 60 grep -q '^wire: stopped: its worker process has crashed too often' "$device_log" ||
		uv_die "SIGUSR1 does not tell: $(cat "$device_log")"
	[ -n "$(process_of lan)" ] || uv_die "another network has stopped too"
	uv_say "a network that crashes three times stays stopped, others go on"
fi
