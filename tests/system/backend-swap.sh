#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# backend-swap.sh [SWAPS [LINE]] - backend-swap.c on a device of its own.

set -uo pipefail

UV_LIB=$0
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/vm-lib.sh
. "$here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

device_start "$@"
trap device_stop EXIT
UVHOST_DEV=$device_node UVHOST_PID=$device_pid \
	"$device_build/tests/backend-swap" "$@" || exit 1
if grep -E 'error:|warning:' "$device_log"; then
	uv_die "the daemon complains"
fi
