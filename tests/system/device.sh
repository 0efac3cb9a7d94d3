# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# device.sh - gives a script a network namespace of its own and a device.
# Source it after prelude.sh.
#
#   device_start "$@"     with the script's own arguments, early
#   device_counters [N]   has the daemon print its counters, prints them once
#                         N rings have theirs (2: those of one session)
#   device_stop           at the end (uv_at_exit)
#
# Where there is /dev/cuse the daemon makes a real device; elsewhere the script
# is started again under the user-space CUSE host. $device_args are for the
# daemon, which makes $device_devices of them. Sets device_host (kernel or
# user), device_log, device_pid.
#
# With device_keeper=1 uvhost-keeper is the daemon's parent, and device_pid:
#   device_daemon         the daemon's process id; nothing while it is away
#   device_kill N [MS]    kill it N times, at random moments of MS each (300)
#   device_worker         the process id of the worker process, if there is one
#   device_kill_worker N [MS]  kill that N times, a second or more after its start

: "${BUILD:=$uv_here/../../build}"
: "${device_args:=}" "${device_devices:=1}" "${device_keeper:=}"
# Tests kill it more often than it may die.
device__keeper="$BUILD/uvhost-keeper --delay 1 --burst 1000"
device_node=/dev/uvhost-net
# Among the options of a device whose guests have worker processes.
# shellcheck disable=SC2034 # for scripts
device_with_workers=worker-process

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
		"$BUILD/uvhostd" $device_args -- "$self" "$@"
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
		"$BUILD/uvhostd" $device_args 2>"$device_log" &
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
	local children

	read -r children _ <"/proc/$device_pid/task/$device_pid/children"
	echo "$children"
}

# device__kill COMMAND SECONDS N [MS]: N times what COMMAND names, at a random
# moment of MS after SECONDS of it
device__kill()
{
	local n=0 pid last=''

	while [ "$n" -lt "$3" ]; do
		pid=$($1)
		if [ -z "$pid" ] || [ "$pid" = "$last" ]; then
			sleep 0.01
			continue
		fi
		sleep "$(printf '%d.%03d' "$2" $((RANDOM % ${4:-300})))"
		kill -KILL "$pid" && n=$((n + 1))
		last=$pid
	done
}

device_kill()
{
	device__kill device_daemon 0 "$@"
}

device_worker()
{
	local pid name

	# shellcheck disable=SC2013 # words
	for pid in $(cat /proc/"$(device_daemon)"/task/*/children); do
		read -r name <"/proc/$pid/comm"
		[ "$name" != uvhost-worker ] || echo "$pid"
	done 2>/dev/null
}

device_kill_worker()
{
	device__kill device_worker 1 "$@"
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
