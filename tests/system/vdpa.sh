#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vdpa.sh - the library's vdpa transport, on a vDPA device in user space (VDUSE)
# that has uvhost's device behind it. Inside vm-run.sh, kernel 6.7 or later
# (before, VDUSE makes no network devices). First a client of its own, then
# conformance programs, which give the device its port: vdpa.sh [NAME...]

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"

[ -n "${UVHOST_VM-}" ] || uv_skip "this is for vm-run.sh"
command -v vdpa >/dev/null || uv_skip "no vdpa (Debian: iproute2)"
for module in vdpa vduse vhost_vdpa; do
	modprobe "$module" 2>/dev/null || uv_skip "no module $module"
done

for module in tun tap macvtap veth af_packet; do
	modprobe "$module" 2>/dev/null # who misses one, skips
done

uv_need_tmp
dir=$uv_tmp
log=$dir/log name='' pid=''
device_down()
{
	[ -n "$pid" ] || return 0
	vdpa dev del $name 2>/dev/null
	kill $pid 2>/dev/null
	wait $pid
	pid=''
}
uv_at_exit device_down

# device_up NAME [SOCKET]: its node is $node.
device_up()
{
	name=$1
	"$BUILD/tests/vduse-net" "$@" >"$log" 2>&1 &
	pid=$!
	uv_wait 20 grep -q ready "$log" || {
		! grep -q 'CREATE_DEV: Invalid' "$log" ||
			uv_skip "VDUSE here makes no network devices"
		uv_die "vduse-net: $(cat "$log")"
	}
	vdpa dev add name "$name" mgmtdev vduse || uv_die "vdpa dev add"
	node=/dev/$(cd "/sys/bus/vdpa/devices/$name" && echo vhost-vdpa-*)
	uv_wait 20 test -c "$node" || uv_die "no $node"
}

device_up uv0
"$BUILD/tests/vdpa-client" "$node" || uv_die "vdpa-client: $?"
kill -0 $pid || uv_die "vduse-net is gone: $(cat "$log")"
device_down

device_up uv1 "$dir/ports"
[ $# -gt 0 ] || set -- ring packed tx rx memory
UVHOST_TOTAL='' UVHOST_NAME='' UVHOST_DEV=$node UVHOST_PORTS=$dir/ports \
	"$here/../run.sh" "${@/#/vdpa:$BUILD/tests/conformance/test_}" ||
	uv_die "conformance; vduse-net: $(cat "$log")"
kill -0 $pid || uv_die "vduse-net is gone: $(cat "$log")"
