#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# restart-qemu.sh MEMORY [KILLS [VICTIM [PROPERTIES]]] - an unmodified QEMU and its
# guest while the daemon is killed at random moments and started again by
# uvhost-keeper: files come through, the guest can be reset, QEMU says nothing.
#
#   MEMORY  private or memfd
#   VICTIM  daemon; worker: the worker process is killed instead
#   PROPERTIES  of virtio-net-pci, comma-separated

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

memory=$1 kills=${2:-20} victim=${3:-daemon} properties=${4-}
mib=16
guest_mem=192
guest_reset=''
killer=''

cleanup()
{
	[ -z "$killer" ] || kill "$killer" 2>/dev/null
	guest_stop_all
	traffic_stop
	device_stop
}

device_keeper=1
device_args="--device uvhost-net,features=+packed"
kill_some=device_kill
if [ "$victim" = worker ]; then
	device_args+=,worker-process
	kill_some=device_kill_worker
fi
device_start "$@"
uv_at_exit cleanup

args=()
[ "$memory" = private ] ||
	args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
		-machine memory-backend=m)
traffic_host uv0 || uv_die "cannot make a tap"
exec 30<>"$device_node" || uv_die "cannot open $device_node"
guest_start g "$traffic_words" "${args[@]}" -netdev \
	tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30 \
	-device "virtio-net-pci,netdev=n0${properties:+,$properties}" ||
	uv_die "no guest"
exec 30>&-
traffic_run g 1 || uv_die "no traffic"

# until the traffic is through
$kill_some "$kills" &
killer=$!
while kill -0 "$killer" 2>/dev/null; do
	traffic__download g "$mib" && traffic__upload g "$mib" ||
		uv_die "a file does not come through"
done
wait "$killer"
killer=''
traffic_again g 1 || uv_die "no traffic after $kills kills"

# The VMM's calls, with the daemon dying under them.
guest_mark g
$kill_some $((kills / 2)) &
killer=$!
guest_qmp g system_reset || uv_die "no reset"
traffic_run g 1 || uv_die "no traffic after a reset"
wait "$killer"
killer=''
traffic_again g 1 || uv_die "no traffic in the end"

[ ! -s "$uv_tmp/g/qemu.out" ] || uv_die "QEMU: $(cat "$uv_tmp/g/qemu.out")"
if grep -E 'error:|warning:' "$device_log" |
	grep -v 'killed by SIGKILL; another one goes on'; then
	uv_die "the daemon complains"
fi
echo "$memory $properties $victim: $(grep -cE 'killed by (signal|SIG)' "$device_log")" \
	"kills, files and a reset came through"
