#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-node.sh - in the check machine: udevd applies our rule, the daemon says it
# is ready only when the node can be opened, and takes it away at the end.

set -uo pipefail

UV_LIB=$0
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/vm-lib.sh
. "$here/vm-lib.sh"
: "${BUILD:=$here/../../build}"

[ -n "${UVHOST_VM-}" ] || uv_skip "needs a machine of its own (check-vm)"
log=$(mktemp)
"$BUILD/uvhostd" --dev uvhost-net --dev uvhost-net1 2>"$log" &
pid=$!
trap 'kill $pid 2>/dev/null' EXIT
uv_wait 10 grep -q ready "$log" || uv_die "not ready: $(cat "$log")"
udev_settle

for node in /dev/uvhost-net /dev/uvhost-net1; do
	[ -c "$node" ] || uv_die "$node is no character device"
	owner=$(stat -c '%G %a' "$node")
	[ "$owner" = "kvm 660" ] || uv_die "$node is $owner, not kvm 660"
	exec 9<>"$node" || uv_die "cannot open $node"
	exec 9>&-
done

"$BUILD/uvhostd" --dev uvhost-net 2>"$log.2" &&
	uv_die "a second daemon took the same name"
grep -q uvhost-net "$log.2" || uv_die "the refusal does not name the device"

kill -HUP $pid
kill $pid
wait $pid || uv_die "uvhostd ended with $?: $(cat "$log")"
wait_for_no_path /dev/uvhost-net || uv_die "the node outlives the daemon"
