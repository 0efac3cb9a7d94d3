#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vhost-user.sh HOW [worker] - an unmodified QEMU and a Linux guest on a vhost-user
# socket: pings both ways, a file each way, sha256 equal.
#
#   HOW  plain      we listen, one queue pair, memfd
#        client     QEMU listens, we connect
#        hugetlb    in huge pages
#        packed     with packed rings
#        queues     two queue pairs; the guest turns one off and on again
#        network    the same, and the tap is another port of a network
#        fewer      QEMU has two queue pairs, the daemon one: the guest uses
#                   that, and the daemon says why
#        restart    the daemon is killed while a ping runs, and started anew:
#                   traffic goes on, the guest is not reset
#        worker     with worker-process. "restart" then runs under uvhost-keeper:
#                   a killed daemon costs no packet; after that the worker
#                   process is killed, and the frontend comes again
#
# QEMU 7.2 crashes under TCG where a guest sets up MSI-X on a vhost-user card,
# so it has no vectors there.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

how=$1 worker=${2-}
mib=$([ -n "${UVHOST_VM-}" ] && echo 2 || echo 16)
guest_mem=192
uv_own_netns "$@"

uv_need_tmp
socket=$uv_tmp/vu.sock
device_log=${UV_LOG:-$uv_tmp/uvhostd.log}
: >"$device_log"
queues=1 qemu_queues='' client='' chardev='' tap_words=''
port=port=tap:uv0 net_words=''
keeper='' complaints='^$'
memory=memory-backend-memfd,id=m,size=${guest_mem}M,share=on
card=virtio-net-pci,netdev=n0
[ "$(uv__accel)" = kvm ] || card=$card,vectors=0
words=$traffic_words

cleanup()
{
	guest_stop_all
	traffic_stop
	device_stop
	huge_pages_back
}
uv_at_exit cleanup

daemon_start()
{
	local ready

	ready=$(grep -c 'ready$' "$device_log")
	# shellcheck disable=SC2086 # words
	$keeper "$BUILD/uvhostd" $net_words \
		--socket-path "$socket,$port,queues=$queues$client${worker:+,worker-process}" \
		2>>"$device_log" &
	device_pid=$!
	device_host=kernel # a process of ours, device_stop ends it
	uv_wait 10 daemon_said "$ready" ||
		uv_die "uvhostd: $(cat "$device_log")"
}

# The child that process $1 has, of any of its threads.
child_of()
{
	cat "/proc/$1/task/"*/children
}

# The daemon itself.
broker()
{
	local pid=$device_pid

	[ -z "$keeper" ] || pid=$(child_of "$device_pid")
	echo "${pid% }"
}

daemon_said()
{
	[ "$(grep -c 'ready$' "$device_log")" -gt "$1" ]
}

case $how in
plain | restart)
	if [ "$how$worker" = restartworker ]; then
		keeper="$BUILD/uvhost-keeper --delay 100"
		complaints='worker process [0-9]*: killed by SIGKILL'
	fi
	;;
client) client=,client ;;
hugetlb)
	memory=$memory,hugetlb=on,hugetlbsize=2M
	huge_pages_reserve $((guest_mem / 2 + 4))
	;;
packed) card=$card,packed=on ;;
queues | network)
	queues=2 guest_smp=2
	card=$card,mq=on
	words="$words uv.queues=2"
	if [ "$how" = queues ]; then
		tap_words=multi_queue
	else
		port=net=lan net_words='--net lan --port lan,tap:uv0'
	fi
	;;
fewer)
	qemu_queues=2 guest_smp=2
	card=$card,mq=on
	;;
*) uv_die "what is $how?" ;;
esac
if [ -n "$client" ]; then
	chardev=,server=on,wait=off
elif [ "$how" = restart ]; then
	chardev=,$(qemu_reconnect 1)
fi

traffic_host uv0 "$tap_words" || uv_die "cannot make a tap"
daemon_start
if [ $queues = 2 ]; then
	: >"$uv_tmp/no-job"
	guest_prepare && guest_add_job "$uv_tmp/no-job" \
		"$BUILD/tests/set-channels=/bin/set-channels" ||
		uv_die "no initramfs"
fi
guest_start g "$words" -object "$memory" -machine memory-backend=m \
	-chardev "socket,id=c0,path=$socket$chardev" \
	-netdev "vhost-user,id=n0,chardev=c0,queues=${qemu_queues:-$queues}" \
	-device "$card" || uv_die "no guest"
traffic_run g "$mib" || uv_die "no traffic: $(cat "$device_log")"
if [ -n "$worker" ]; then
	worker_pid=$(child_of "$(broker)")
	[ -n "$worker_pid" ] || uv_die "there is no worker process"
fi

ping_goes_on()
{
	busybox ping -c 3 -i 0.2 -W 2 "$traffic_guest_ip" >/dev/null 2>&1
}

# The pairs that carry traffic, as the guest and as the tap see them.
check_pairs()
{
	guest_cmd g "set-channels eth0 $1" >/dev/null ||
		uv_die "the guest cannot set $1 queue pairs"
	[ "$(guest_cmd g 'queue_pairs eth0')" = "$1" ] ||
		uv_die "the guest does not use $1 queue pairs"
	[ "$how" = network ] || uv_wait 20 pairs_on_tap "$1" ||
		uv_die "the tap has not $1 queues: $(tap_queues)"
	uv_wait 20 ping_goes_on || uv_die "no ping with $1 queue pairs"
}

tap_queues()
{
	ip -d link show uv0 | grep -o 'numqueues [0-9]*'
}

pairs_on_tap()
{
	[ "$(tap_queues)" = "numqueues $1" ]
}

# Five times, under a ping.
restart_broker()
{
	local i ready sent

	busybox ping -i 0.05 -W 5 "$traffic_guest_ip" >"$uv_tmp/ping.out" 2>&1 &
	pinger=$!
	for i in 1 2 3 4 5; do
		ready=$(grep -c 'ready$' "$device_log")
		sleep 0.5
		kill -9 "$(broker)"
		uv_wait 10 daemon_said "$ready" || uv_die "no other daemon"
	done
	uv_wait 20 ping_goes_on || uv_die "no ping after five restarts"
	kill -INT "$pinger"
	wait "$pinger"
	# The last ones may be under way: as many as the host is slow.
	sent=$(sed -n 's/.*bytes from.* seq=\([0-9]*\) .*/\1/p' \
		"$uv_tmp/ping.out" | sort -n | tail -n 1)
	sent=$((sent + 1))
	[ "$(grep -c 'bytes from' "$uv_tmp/ping.out")" -ge $sent ] ||
		uv_die "packets were lost: $(tail -n 3 "$uv_tmp/ping.out")"
	grep -q 'disconnected$' "$device_log" &&
		uv_die "the connection did not live on: $(cat "$device_log")"
	echo "five daemons killed: $sent pings, none lost"
}

case $how in
queues | network)
	check_pairs 1
	check_pairs 2
	;;
restart)
	[ -z "$worker" ] || restart_broker
	boots=$(guest_console g | grep -c '^uv: up')
	busybox ping -i 0.1 -W 2 "$traffic_guest_ip" >"$uv_tmp/ping.out" 2>&1 &
	pinger=$!
	sleep 1
	if [ -n "$worker" ]; then
		kill -9 "${worker_pid% }"
	else
		kill -9 "$device_pid"
		wait "$device_pid" 2>/dev/null
		daemon_start
	fi
	uv_wait 20 ping_goes_on || uv_die "no ping after the restart"
	kill -INT "$pinger"
	wait "$pinger"
	grep -q DUP "$uv_tmp/ping.out" && uv_die "a packet came twice"
	traffic_again g "$mib" || uv_die "no traffic after the restart"
	[ "$(guest_console g | grep -c '^uv: up')" = "$boots" ] ||
		uv_die "the guest was reset"
	;;
esac

device_pid=$(broker) device_counters $((2 * queues)) >/dev/null
grep -q "\.tx: .* memory mapped" "$device_log" ||
	uv_die "guest memory was not mapped: $(cat "$device_log")"
if [ "$how" = packed ]; then
	grep -q "\.tx: .* packed" "$device_log" ||
		uv_die "the ring is not packed: $(cat "$device_log")"
fi
if [ "$how" = fewer ]; then
	grep -q 'ring 2: there are 2 (queues=1)' "$device_log" ||
		uv_die "the daemon does not say what is wrong: $(cat "$device_log")"
elif grep -E 'error:|warning:|errors [1-9]' "$device_log" |
	grep -qvE "$complaints"; then
	uv_die "the daemon complains: $(cat "$device_log")"
fi
echo "vhost-user $how${worker:+ worker}: $traffic_rtt_up and $traffic_rtt_down ms," \
	"$traffic_down and $traffic_up Mbit/s"
