#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vdpa.sh - the library's vdpa transport, on a vDPA device in user space (VDUSE)
# that has uvhost's device behind it. Inside vm-run.sh, kernel 6.7 or later
# (before, VDUSE makes no network devices).

set -uo pipefail

UV_LIB=$0
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/system/vm-lib.sh
. "$here/vm-lib.sh"
: "${BUILD:=$here/../../build}"

[ -n "${UVHOST_VM-}" ] || uv_skip "this is for vm-run.sh"
command -v vdpa >/dev/null || uv_skip "no vdpa (Debian: iproute2)"
for module in vdpa vduse vhost_vdpa; do
	modprobe "$module" 2>/dev/null || uv_skip "no module $module"
done

log=$(mktemp)
"$BUILD/tests/vduse-net" uv0 >"$log" 2>&1 &
pid=$!
cleanup()
{
	vdpa dev del uv0 2>/dev/null
	kill $pid 2>/dev/null
	wait $pid
	rm -f "$log"
}
trap cleanup EXIT
uv_wait 20 grep -q ready "$log" || {
	! grep -q 'CREATE_DEV: Invalid' "$log" ||
		uv_skip "VDUSE here makes no network devices"
	uv_die "vduse-net: $(cat "$log")"
}
vdpa dev add name uv0 mgmtdev vduse || uv_die "vdpa dev add"
uv_wait 20 test -c /dev/vhost-vdpa-0 || uv_die "no /dev/vhost-vdpa-0"
"$BUILD/tests/vdpa-client" /dev/vhost-vdpa-0 || uv_die "vdpa-client: $?"
kill -0 $pid || uv_die "vduse-net is gone: $(cat "$log")"
