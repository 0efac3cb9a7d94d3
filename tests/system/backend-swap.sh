#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# backend-swap.sh [SWAPS [LINE]] - backend-swap.c on a device of its own.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

device_start "$@"
uv_at_exit device_stop
UVHOST_DEV=$device_node UVHOST_PID=$device_pid \
	"$BUILD/tests/backend-swap" "$@" || exit 1
if grep -E 'error:|warning:' "$device_log"; then
	uv_die "the daemon complains"
fi
