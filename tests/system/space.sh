#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# space.sh - one user's sparse memory takes half of the addresses that the daemon
# has, and half of what is left, and so on (quotas.c); another user gets a
# session.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

pieces=34 # down to 8 KiB
device_start "$@"
uv_at_exit device_stop
export UVHOST_DEV=$device_node
[ "$device_host" != kernel ] || chmod 666 "$device_node"

timeout -k 5 300 "$BUILD/tests/quotas" space $pieces ||
	uv_die "status $?: $(tail -n 5 "$device_log")"
[ "$(grep -c 'than there are addresses for' "$device_log")" = 1 ] ||
	uv_die "not told once: $(tail -n 20 "$device_log")"
