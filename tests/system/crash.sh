#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# crash.sh - worker processes of a guest crash: twice another one goes on, after
# the third the guest is stopped and its VMM told, until the device is started
# again (crash.c).

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

device_args='--device uvhost-net,features=+packed,worker-process'
device_start "$@"
uv_at_exit device_stop
export UVHOST_DEV=$device_node UVHOST_BROKER=$device_pid
n=0

# said N TEXT
said()
{
	[ "$(grep -c "$2" "$device_log")" = "$1" ] ||
		uv_die "not $1 times '$2': $(tail -n 30 "$device_log")"
}

for line in 'split private' 'split memfd' 'packed private' 'packed memfd'; do
	# shellcheck disable=SC2086 # words
	timeout -k 5 300 "$BUILD/tests/crash" $line ||
		uv_die "$line: status $?: $(tail -n 30 "$device_log")"
	n=$((n + 1))
	said $((2 * n)) 'killed by SIGSEGV; another one goes on'
	said $((2 * n)) 'killed by SIGABRT$'
	said $((2 * n)) 'error: 3 worker processes crashed within 60 s'
	said $((2 * n)) 'error: the guest stays stopped until its driver'
done
