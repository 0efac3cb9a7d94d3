#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# deaths.sh [CASE [FIRST [STEP]]] - uvhostd, or a worker process, dies at a chosen
# system call while it makes a session again, starts a worker process or carries
# out calls; or stands still; or is away while an owner dies (deaths.c). On the
# user-space CUSE host.
#
# Without CASE all cases, at every 97th system call; $UVHOST_SEED says from which
# one on. All of one case, which takes ten minutes: deaths.sh CASE 1 1

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"

uv_need_root "processes of root are traced"
uv_need_tmp

# deaths CASE RING MEMORY FIRST STEP
deaths()
{
	local status

	UVHOST_KEEPER=$uv_tmp/pid timeout -k 5 "$limit" \
		"$BUILD/tests/cusehost" --restarts --daemon-pidfile "$uv_tmp/pid" \
		"$BUILD/uvhost-keeper" --delay 1 --burst 1000 "$BUILD/uvhostd" \
		--device uvhost-net,features=+packed,worker-process -- \
		"$BUILD/tests/deaths" "$@" 2>"$uv_tmp/log"
	status=$?
	[ $status != 77 ] || uv_skip "$(tail -n 1 "$uv_tmp/log")"
	[ $status = 0 ] || uv_die "$*: $(tail -n 30 "$uv_tmp/log")"
	# The killer's own calls wait up to two seconds for a RELEASE (cusehost),
	# and what it traces waits for the killer.
	if grep -E 'error:|warning:' "$uv_tmp/log" |
		grep -vE '(killed by SIGKILL|ended); another one goes on' |
		grep -vE 'was closed and does not end|is stuck in its guest'; then
		uv_die "$*: the daemon complains"
	fi
}

limit=1800
if [ $# -gt 0 ]; then
	for ring in split packed; do
		for memory in private memfd; do
			deaths "$1" $ring $memory "${2:-1}" "${3:-1}"
		done
	done
	exit
fi

limit=300
first=$((${UVHOST_SEED:-0} % 97 + 1))
for line in 'broker-broker split memfd' 'both-broker packed private' \
	'both-both split private' 'worker-broker packed memfd' \
	'worker-worker split memfd' 'none-broker packed private' \
	'none-both split memfd' 'none-worker packed memfd' \
	'stops split private' 'stops packed memfd' \
	'owners split memfd' 'owners packed private'; do
	# shellcheck disable=SC2086 # words
	deaths $line $first 97
done
