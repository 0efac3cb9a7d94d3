#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# quotas.sh [process] - what one user can take from others (quotas.c): of eight
# sessions six, and of the log a few lines. With "process" it is what one process
# can own, and so how many worker processes it can have started.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

rounds=400
# of a session in each ten seconds, and the line about those left out
lines_max=100
user_maps=25
device_args="--max-sessions 8 --max-user-mappings $user_maps --device uvhost-net
	--device uvhost-own,$device_without_workers"
device_devices=2
if [ "${1-}" = process ]; then
	device_args="--device uvhost-net,worker-process --max-process-sessions 3"
	device_devices=1
fi
device_start "$@"
uv_at_exit device_stop
export UVHOST_DEV=$device_node
quotas=$BUILD/tests/quotas
ip link set lo up
[ "$device_host" != kernel ] || chmod 666 /dev/uvhost-*

all_closed()
{
	[ "$(grep -c 'opened by' "$device_log")" = \
		"$(grep -c ': closed$' "$device_log")" ]
}

if [ "${1-}" = process ]; then
	timeout -k 5 300 "$quotas" process 3 || uv_die "process: status $?"
	uv_wait 10 all_closed || uv_die "not all closed"
	[ "$(grep -c -- '--max-process-sessions' "$device_log")" = 1 ] ||
		uv_die "not told once: $(tail -n 20 "$device_log")"
	[ "$(grep -c 'owner is' "$device_log")" = 4 ] ||
		uv_die "not four owners: $(tail -n 20 "$device_log")"
	exit 0
fi
timeout -k 5 300 "$quotas" users 6 || uv_die "users: status $?"
uv_wait 10 all_closed || uv_die "not all closed"
told=3
timeout -k 5 300 "$quotas" subusers 6
case $? in
0) uv_wait 10 all_closed || uv_die "not all closed" ;;
77)
	echo "SKIP: users of a namespace: there are none for users here"
	told=2
	;;
*) uv_die "subusers" ;;
esac
timeout -k 5 300 "$quotas" owners 6 || uv_die "owners: status $?"
uv_wait 10 all_closed || uv_die "not all closed"
[ "$(grep -c -- '--max-user-sessions' "$device_log")" = $told ] ||
	uv_die "not told once each: $(tail -n 20 "$device_log")"

# many_pieces DEVICE N [PRLIMIT-OPTION]: two guests on it; N such guests have been told
many_pieces()
{
	local line pid

	UVHOST_DEV=$1
	[ $# = 2 ] || prlimit --pid "$device_pid" "$3":
	coproc maps { timeout -k 5 300 "$quotas" maps $user_maps; }
	pid=$!
	read -r -t 300 line <&"${maps[0]}" && [ "$line" = ready ] ||
		uv_die "maps: no guests: $(tail -n 5 "$device_log")"
	device_counters 4 >/dev/null || uv_die "SIGUSR1 prints no counters"
	[ "$(grep -c "regions 40 mapped $user_maps " "$device_log")" = "$2" ] ||
		uv_die "mapped: $(grep 'mapped' "$device_log")"
	[ "$(grep -c -- '--max-user-mappings' "$device_log")" = "$2" ] ||
		uv_die "not told once each: $(tail -n 20 "$device_log")"
	prlimit --pid "$device_pid" --nofile=1024:
	echo >&"${maps[1]}"
	wait "$pid" || uv_die "maps: status $?"
	uv_wait 10 all_closed || uv_die "not all closed"
}

many_pieces "$device_node" 2
# The files of the pieces have descriptors only until they are mapped, and pieces
# above the limit have none: not 25 more of the first guest, nor 40 of the second.
# Without worker processes: with so low a limit, descriptors that other processes of
# this user have in flight would keep a message from them.
many_pieces /dev/uvhost-own 4 "--nofile=$(($(ls "/proc/$device_pid/fd" | wc -l) + 60))"
UVHOST_DEV=$device_node

before=$(wc -l <"$device_log") start=$SECONDS
timeout -k 5 300 "$quotas" storm $rounds || uv_die "storm: status $?"
lines=$(($(wc -l <"$device_log") - before))
echo "$rounds ring errors, $lines lines"
[ "$lines" -le $((lines_max * ((SECONDS - start) / 10 + 1))) ] ||
	uv_die "the daemon talks too much"
