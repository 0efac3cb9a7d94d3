#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# soak.sh [SECONDS] - two guests each (soak.c) on a character device, on sockets, in a
# network and in one that has a worker process, all with worker processes, while for
# SECONDS (20) a random one of the guests, of the worker processes and the daemon is
# killed, or stands still for a while, or is restarted. Meant for a build with sanitizers, by hand:
#   make SAN=address,undefined tests
#   BUILD=build-address-undefined tests/system/soak.sh 600
#
# In the second half the daemon stays the same, and has as many descriptors and threads
# after it as before, and about as many mappings and as much memory of its own. After
# each half a guest has one worker process; without guests only the network's is there. No guest has a
# frame twice, or none for a minute; no sanitizer reports anything, also when the daemon
# ends. $UVHOST_SEED repeats the order of the kills.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

uv_own_netns "$@"
seconds=${1:-20}
folder=${UV_SOAK-}
names=(device0 device1 socket0 socket1 net0 net1 wide0 wide1)
# One for each guest, and the network's.
workers=$((${#names[@]} + 1))
declare -A guest=() stopped=() killed=()

# Before the daemon, which is started before this script is started again.
if [ -z "$folder" ]; then
	uv_need_tmp
	export UV_SOAK=$uv_tmp
	folder=$uv_tmp
	ip link add uvnear type veth peer name uvfar &&
		ip link add uvnear1 type veth peer name uvfar1 ||
		uv_die "no interfaces"
	for name in uvs0 uvs1; do
		ip tuntap add dev $name mode tap vnet_hdr || uv_die "no tap"
	done
	for name in uvs0 uvs1 uvnear uvfar uvnear1 uvfar1; do
		echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6
		ip link set $name up
	done
fi
device_keeper=1 device_devices=3
device_args="--device uvhost-net,features=+packed,worker-process
	--device uvhost-lan,features=+packed,net=lan,worker-process
	--net lan --port lan,packet:uvnear
	--device uvhost-wide,features=+packed,net=wide
	--socket-path $folder/wide,net=wide
	--net wide,worker-process --port wide,packet:uvnear1
	--socket-path $folder/s0,port=tap:uvs0,worker-process
	--socket-path $folder/s1,port=tap:uvs1,worker-process"
device_start "$@"
uv_need_tmp
RANDOM=${UVHOST_SEED:-$$}

# ---- guests -------------------------------------------------------------------

# start NAME
start()
{
	local args

	case $1 in
	device0) args="device $device_node - -" ;;
	device1) args="device $device_node - - packed memfd" ;;
	socket?) args="user $folder/s${1#socket} - uvs${1#socket}" ;;
	net0) args="device /dev/uvhost-lan - uvfar" ;;
	net1) args="device /dev/uvhost-lan - uvfar packed memfd" ;;
	wide0) args="device /dev/uvhost-wide - uvfar1 packed" ;;
	wide1) args="user $folder/wide - uvfar1" ;;
	esac
	# shellcheck disable=SC2086 # words
	"$BUILD/tests/soak" "$1" $args >"$uv_tmp/$1.out" 2>&1 &
	guest[$1]=$!
}

cleanup()
{
	local status=$? pid

	[ ${#stopped[@]} -eq 0 ] || kill -CONT "${!stopped[@]}" 2>/dev/null
	for pid in "${guest[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	[ $status -eq 0 ] ||
		{ tail -n 3 "$uv_tmp"/*.out; tail -n 40 "$device_log"; } >&2
	device_stop
}
uv_at_exit cleanup

# running: each guest that we have not killed
running()
{
	local name

	for name in "${names[@]}"; do
		kill -0 "${guest[$name]}" 2>/dev/null ||
			uv_die "$(cat "$uv_tmp/$name.out")"
	done
}

# A process that a sanitizer ends is replaced as any other.
no_report()
{
	! grep -qE 'Sanitizer|runtime error' "$device_log" ||
		uv_die "$(grep -E -m 1 -A 60 'Sanitizer|runtime error' "$device_log")"
}

# Each guest has its worker process, the network its own, and no other one is there.
complete()
{
	[ -n "$(device_daemon)" ] && [ "$(device_leftovers | wc -l)" = $workers ] &&
		[ "$(device_leftovers | cut -d ' ' -f 2 | sort -u | wc -l)" = $workers ]
}

# ---- what happens to them -----------------------------------------------------

some_guest()
{
	echo "${guest[${names[RANDOM % ${#names[@]}]}]}"
}

some_worker()
{
	device_leftovers | sed -n "$((RANDOM % workers + 1))s/ .*//p"
}

# go_on: those whose time is over
go_on()
{
	local pid

	for pid in "${!stopped[@]}"; do
		[ "${stopped[$pid]}" -le $SECONDS ] || continue
		kill -CONT "$pid" 2>/dev/null
		unset "stopped[$pid]"
	done
}

stop()
{
	[ -n "$1" ] || return
	stopped[$1]=$((SECONDS + 1 + RANDOM % 2))
	kill -STOP "$1" 2>/dev/null
}

# something [nothing]: happens; to the daemon nothing but a pause
something()
{
	local name kind=$((RANDOM % 10))

	case $kind in
	0 | 1)
		kind=guest_killed name=${names[RANDOM % ${#names[@]}]}
		kill -KILL "${guest[$name]}"
		wait "${guest[$name]}" 2>/dev/null
		start "$name"
		;;
	2) kind=guest_stopped; stop "$(some_guest)" ;;
	3 | 4 | 5)
		kind=worker_killed name=$(some_worker)
		[ -z "$name" ] || kill -KILL "$name" 2>/dev/null
		;;
	6) kind=worker_stopped; stop "$(some_worker)" ;;
	7) kind=daemon_stopped; stop "$(device_daemon)" ;;
	8)
		[ -z "${1-}" ] || return
		kind=daemon_killed name=$(device_daemon)
		[ -z "$name" ] || kill -KILL "$name"
		;;
	9)
		[ -z "${1-}" ] || return
		kind=restarts
		device_restart
		;;
	esac
	killed[$kind]=$((${killed[$kind]-0} + 1))
}

# much SECONDS [nothing]
much()
{
	local end=$((SECONDS + $1))

	while [ $SECONDS -lt $end ]; do
		something "${2-}"
		sleep "0.$((RANDOM % 4 + 1))"
		go_on
		running
		no_report
	done
	[ ${#stopped[@]} -eq 0 ] || kill -CONT "${!stopped[@]}" 2>/dev/null
	stopped=()
	uv_wait 30 complete ||
		uv_die "${#names[@]} guests, and these worker processes: $(device_leftovers)"
}

# ---- what the daemon takes ------------------------------------------------------

# of_takers PID: descriptors that it has for its takers (cuse/taker.c): a socket and a
# pidfd each. How many takers there are depends on how many calls came at the same
# time; the pidfd of one that has ended stays until the next call.
of_takers()
{
	local pid comm stat n=0

	for pid in $(uv__children "$1"); do
		{ read -r comm <"/proc/$pid/comm" && read -r stat <"/proc/$pid/stat"; } \
			2>/dev/null && [ "$comm" = uvhost-taker ] || continue
		case $stat in
		*') Z '*) n=$((n + 1)) ;;
		*) n=$((n + 2)) ;;
		esac
	done
	echo $n
}

# takes PID: descriptors, threads, mappings, KiB of its own
takes()
{
	local fds=("/proc/$1"/fd/*) threads=("/proc/$1"/task/*)

	echo $((${#fds[@]} - $(of_takers "$1"))) ${#threads[@]} "$(wc -l <"/proc/$1/maps")" \
		"$(uv_data_kib "$1")"
}

# at_rest PID: twice the same; sets last
at_rest()
{
	local now

	now=$(takes "$1")
	[ "$now" != "$last" ] || return 0
	last=$now
	return 1
}

# has PID "DESCRIPTORS THREADS"
has()
{
	[ "$(takes "$1" | cut -d ' ' -f 1,2)" = "$2" ]
}

# as_before PID DESCRIPTORS THREADS MAPPINGS KIB
as_before()
{
	local fds threads maps kib

	uv_wait 20 has "$1" "$2 $3"
	read -r fds threads maps kib < <(takes "$1")
	echo "uvhostd: $2 descriptors, then $fds; $3 threads, then $threads;" \
		"$4 mappings, then $maps; $5 KiB, then $kib"
	[ "$fds $threads" = "$2 $3" ] ||
		uv_die "something is left: $(ls -l "/proc/$1/fd")"
	# Sanitizers keep freed memory, and say themselves what is left.
	! uv_sanitized "$1" || return 0
	[ "$maps" -le $(($4 + 64)) ] || uv_die "mappings are left"
	# glibc keeps up to 40 MiB of stacks of threads that have ended
	[ "$kib" -le $(($5 + 49152)) ] || uv_die "memory is left"
}

# ---- the run --------------------------------------------------------------------

nobody_left()
{
	[ "$(device_leftovers | cut -d ' ' -f 2-)" = "network wide" ]
}

# The keeper is not our child.
keeper_ended()
{
	local stat

	{ read -r stat <"/proc/$device_pid/stat"; } 2>/dev/null || return 0
	[[ $stat == *') Z '* ]]
}

last=''
for name in "${names[@]}"; do
	start "$name"
done
uv_wait 30 complete || uv_die "no guests: $(device_leftovers)"
much $((seconds / 2))
daemon=$(device_daemon)
uv_wait 20 at_rest "$daemon" || uv_die "the daemon does not come to rest"
before=$last
much $(((seconds + 1) / 2)) nothing
[ "$(device_daemon)" = "$daemon" ] || uv_die "the daemon is another one"
# shellcheck disable=SC2086 # words
as_before "$daemon" $before
for name in "${names[@]}"; do
	kill "${guest[$name]}"
	wait "${guest[$name]}" || uv_die "$(cat "$uv_tmp/$name.out")"
	cat "$uv_tmp/$name.out"
done
uv_wait 30 nobody_left ||
	uv_die "no guests, and these worker processes: $(device_leftovers)"
kill "$device_pid"
uv_wait 30 keeper_ended || uv_die "the daemon does not end"
uv_at_exit_no_more
no_report
for kind in "${!killed[@]}"; do
	echo "$kind: ${killed[$kind]}"
done | sort
