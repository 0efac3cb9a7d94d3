#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh - the main job, once through: a Linux guest in an unmodified QEMU
# whose network runs through /dev/uvhost-net. `make demo` calls it.
#
# With the CUSE module it uses the real device, elsewhere the user-space CUSE
# host, and says which. Everything runs in a network namespace of its own.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

mib=32
capture=$BUILD/demo.pcap
dump=''

cleanup()
{
	guest_stop_all
	traffic_stop
	[ -z "$dump" ] || kill "$dump" 2>/dev/null
	device_stop
}

[ "$(id -u)" = 0 ] || uv_die "the demo makes a tap: run it as root"
export UV_LOG=$BUILD/demo-uvhostd.log
device_start "$@"
uv_at_exit cleanup

traffic_host uv0 || uv_die "cannot make a tap"
tcpdump -q -U -i uv0 -s 128 -w "$capture" 2>"$BUILD/demo-tcpdump.log" &
dump=$!

echo "starting a guest: plain -m, tap with vhostfd from $device_node"
exec 30<>"$device_node" || uv_die "cannot open $device_node"
guest_start demo "$traffic_words" \
	-netdev tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30 \
	-device virtio-net-pci,netdev=n0 || uv_die "no guest"
exec 30>&-
traffic_run demo "$mib" || uv_die "no traffic (log: $device_log)"
kernel=$(guest_cmd demo "uname -r" | tail -n 1)
device_counters >/dev/null || uv_die "no counters in $device_log"

guest_cmd demo "exit" 1 >/dev/null 2>&1
guest_finish demo 20
kill "$dump"
wait "$dump"
dump=

memory=$(sed -n 's/.*\.tx: .* memory \([a-z]*\).*/\1/p' "$device_log" | tail -n 1)
case $memory in
copied) memory="copied through /proc/PID/mem" ;;
mapped) memory="mapped, zero-copy" ;;
esac
case $device_host in
kernel) host="the kernel's /dev/cuse" ;;
*) host="the user-space CUSE host (no /dev/cuse here)" ;;
esac

cat <<EOF

  device        $device_node, served by uvhostd through $host
  guest         Linux $kernel, virtio-net, $(qemu-system-x86_64 --version | sed -n '1s/ (.*//p')
  memory        $memory
  round trip    guest to host $traffic_rtt_up ms, host to guest $traffic_rtt_down ms (means of 10), no loss
  to the guest  $mib MiB at $traffic_down Mbit/s, sha256 equal
  to the host   $mib MiB at $traffic_up Mbit/s, sha256 equal
  packets       $(device_counter rx frames) to the guest, $(device_counter tx frames) from it
  dropped       $(device_counter rx dropped) and $(device_counter tx dropped)
  kicks         $(device_counter rx kicks) and $(device_counter tx kicks)
  signals       $(device_counter rx signals) and $(device_counter tx signals); $(device_counter rx suppressed) and $(device_counter tx suppressed) not wanted by the guest
  capture       $capture, $(tcpdump -r "$capture" 2>/dev/null | wc -l) packets (tcpdump -r)
  log           $device_log
EOF
