#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# crowd.sh [N] - N guests (64) on one daemon, with worker processes (crowd.c): what
# they take, and what happens when all worker processes, or all owners, die at
# once.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

n=${1:-64}
device_args="--device uvhost-net,worker-process --max-sessions $((2 * n))"
device_start "$@"
uv_at_exit device_stop
[ "$device_host" != kernel ] || chmod 666 "$device_node"
UVHOST_DEV=$device_node UVHOST_BROKER=$device_pid timeout -k 5 300 \
	"$BUILD/tests/crowd" "$n" ||
	uv_die "status $?: $(tail -n 30 "$device_log")"
# Warnings of a session that takes long to end are right on a busy machine.
if grep -E 'error:' "$device_log"; then
	uv_die "the daemon complains"
fi
