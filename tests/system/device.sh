# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# device.sh - gives a script a network namespace of its own and a device.
# Source it after prelude.sh.
#
#   device_start "$@"     with the script's own arguments, early
#   device_counters [N]   has the daemon print its counters, prints them once
#                         N rings have theirs (2: those of one session)
#   device_processes      ids of the daemon and of its worker processes
#   device_stop           at the end (uv_at_exit)
#
# Where there is /dev/cuse the daemon makes a real device; elsewhere the script
# is started again under the user-space CUSE host. $device_args are for the
# daemon, which makes $device_devices of them. Sets device_host (kernel or
# user), device_log, device_pid.
#
# With device_keeper=1 uvhost-keeper is the daemon's parent, and device_pid:
#   device_daemon         the daemon's process id; nothing while it is away
#   device_workers PID    the worker processes whose owner is PID, whoever their
#                         parent is: a line for each, process id and DEVICE/SESSION
#   device_restart        as systemctl restart does it
#   device_leftovers      the worker processes of any owner, with that line
#
# $device_program is the daemon that is started. A device whose guests have
# worker processes has $device_with_workers among its options, and one whose guests
# have none, where that matters, $device_without_workers.

: "${BUILD:=$uv_here/../../build}"
: "${device_args:=}" "${device_devices:=1}" "${device_keeper:=}"
# Tests kill it more often than it may die.
device__keeper="$BUILD/uvhost-keeper --delay 1 --burst 1000"
device_node=/dev/uvhost-net
: "${device_program:=$BUILD/uvhostd}"
# shellcheck disable=SC2034 # for scripts
device_with_workers=worker-process device_without_workers=worker-process=off

device__have_cuse()
{
	[ -e /dev/cuse ] || modprobe -q cuse 2>/dev/null
	[ -e /dev/cuse ]
}

# device_start [ARG...]: returns in the process that has the device.
device_start()
{
	local self=$0

	uv_need_root "a tap and a namespace need root"
	if [ -z "${UV_NETNS-}" ]; then
		in_netns "$self" "$@"
		exit
	fi
	if [ -n "${UV_DEVICE_LOG-}" ]; then
		device_host=user
		device_log=$UV_DEVICE_LOG
		device_pid=$(cat "$UV_DEVICE_LOG.pid")
		# the device was there before its sockets
		device__wait_ready
		return
	fi
	device_log=${UV_LOG:-$(mktemp)}
	if device__have_cuse; then
		device_host=kernel
		device__start_daemon
		return
	fi
	# shellcheck disable=SC2086 # words
	UV_DEVICE_LOG=$device_log "$BUILD/tests/cusehost" \
		${device_keeper:+--restarts} \
		--daemon-pidfile "$device_log.pid" --devices "$device_devices" \
		sh -c 'exec "$0" "$@" 2>"$UV_DEVICE_LOG"' \
		${device_keeper:+$device__keeper} \
		"$device_program" $device_args -- "$self" "$@"
	local status=$?
	[ $status -lt 125 ] || [ $status -gt 126 ] ||
		sed 's/^/  uvhostd: /' "$device_log" >&2
	rm -f "$device_log.pid"
	[ -n "${UV_LOG-}" ] || rm -f "$device_log"
	exit $status
}

device__start_daemon()
{
	# shellcheck disable=SC2086 # words
	${device_keeper:+$device__keeper} \
		"$device_program" $device_args 2>"$device_log" &
	device_pid=$!
	device__wait_ready
}

device__ready()
{
	grep -q 'ready$' "$device_log"
}

device__ready_or_gone()
{
	device__ready || ! kill -0 "$device_pid" 2>/dev/null
}

device__wait_ready()
{
	uv_wait 10 device__ready_or_gone
	device__ready || uv_die "uvhostd: $(cat "$device_log")"
}

device_daemon()
{
	local children=''

	read -r children _ <"/proc/$device_pid/task/$device_pid/children"
	echo "$children"
}

device_restart()
{
	kill -HUP "$device_pid"
}

device_workers()
{
	local pid name

	device_leftovers | while read -r pid name; do
		! grep -q "^$name: owner is $1\$" "$device_log" ||
			echo "$pid $name"
	done
}

# Each has the daemon's log, and as its first argument the session's name.
device_leftovers()
{
	local dir comm

	for dir in /proc/[0-9]*; do
		{ read -r comm <"$dir/comm"; } 2>/dev/null || continue
		[ "$comm" = uvhost-worker ] && [ "$dir/fd/2" -ef "$device_log" ] ||
			continue
		echo "${dir#/proc/}" \
			"$(tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | sed -n 2p)"
	done
}

device_processes()
{
	local pid comm

	echo "$device_pid"
	# shellcheck disable=SC2013 # words
	for pid in $(cat /proc/"$device_pid"/task/*/children); do
		{ read -r comm <"/proc/$pid/comm"; } 2>/dev/null || continue
		[ "$comm" != uvhost-worker ] || echo "$pid"
	done
}

device_stop()
{
	case ${device_host-}:$device_args in
	kernel:*)
		kill "$device_pid" 2>/dev/null
		wait "$device_pid"
		;;
	# It does not end with the device, which is not all it serves.
	user:*--socket-path* | user:*--port*) kill "$device_pid" ;;
	esac
}

device__counted()
{
	[ "$(grep -c ': frames ' "$device_log")" -ge "$1" ]
}

device_counters()
{
	local before

	before=$(grep -c ': frames ' "$device_log")
	kill -USR1 "$device_pid" &&
		uv_wait 10 device__counted $((before + ${1:-2})) &&
		tail -n +1 "$device_log"
}

# device_counter RING NAME: of the last session that was printed
device_counter()
{
	sed -n "s/.*\.$1: .*\b$2 \([0-9]*\).*/\1/p" "$device_log" | tail -n 1
}
