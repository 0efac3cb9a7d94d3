#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# space.sh - one user's sparse memory takes half of the addresses that the daemon
# has, and half of what is left, and so on (quotas.c); another user gets a
# session.

set -uo pipefail

UV_LIB=$0
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/vm-lib.sh
. "$here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

pieces=34 # down to 8 KiB
device_start "$@"
trap device_stop EXIT
export UVHOST_DEV=$device_node
[ "$device_host" != kernel ] || chmod 666 "$device_node"

timeout -k 5 60 "$device_build/tests/quotas" space $pieces ||
	uv_die "status $?: $(tail -n 5 "$device_log")"
[ "$(grep -c 'than there are addresses for' "$device_log")" = 1 ] ||
	uv_die "not told once: $(tail -n 20 "$device_log")"
