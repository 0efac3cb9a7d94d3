#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-suite.sh - what `make check-vm` runs inside the machine: the suites on the
# real /dev/cuse, the same on the kernel's own vhost-net, and QEMU guests.
#
#   UVHOST_LONG   words: the long tests to run here (matrix systemd flows bench
#                 broker: all). check-vm leaves broker out: by hand

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$uv_here/device.sh"
export BUILD
: "${UVHOST_LONG=matrix systemd flows bench broker}"

[ -n "${UVHOST_VM-}" ] || uv_die "this is for vm-run.sh"
load_modules cuse tun tap macvtap veth vhost_net af_packet || exit 1
make_static_nodes
start_udevd "$here/../../udev/60-uvhostd.rules" || uv_die "no udevd"
udev_replay

status=0
suite()
{
	"$here/../run.sh" "$@" || status=1
}

suites=()
for program in "$BUILD"/tests/conformance/test_*; do
	[ ! -x "$program" ] || suites+=("dev:$program")
done
# Without worker processes, the tests that make the most of them.
broker=()
case " $UVHOST_LONG " in
*' broker '*)
	for program in handover iotlb memory notify owner packed ring; do
		broker+=("broker:$BUILD/tests/conformance/test_$program")
	done
	;;
esac
with=$UVHOST_NAME

suite "sh:$here/vm-node.sh" "sh:$here/vdpa.sh"

"$BUILD/uvhostd" --device uvhost-net \
	--device uvhost-packed,features=+packed+in_order \
	--device "uvhost-broker,$device_without_workers" \
	--device "uvhost-broker-packed,features=+packed+in_order,$device_without_workers" \
	2>/tmp/uvhostd.log &
daemon=$!
if uv_wait 10 grep -q ready /tmp/uvhostd.log; then
	UVHOST_NAME="${with}uvhost " UVHOST_DEV=/dev/uvhost-net \
		UVHOST_DEV_PACKED=/dev/uvhost-packed \
		UVHOST_IMPL=uvhost suite "${suites[@]}" \
		${broker[@]+"${broker[@]}"}
fi
kill $daemon
wait $daemon || { status=1; cat /tmp/uvhostd.log; }

UVHOST_NAME="${with}kernel " UVHOST_DEV=/dev/vhost-net UVHOST_IMPL=kernel \
	suite "${suites[@]}"

# As few guests as show it: emulation inside emulation is slow, and not sound
# without end. idle.sh and kill-qemu.sh run here too, by hand:
# vm-run.sh -- tests/system/kill-qemu.sh 2; and survive.sh with two guests and all
# kinds of death (tests/README.md).
suite "sh:$here/signals.sh" "sh:$here/backend-swap.sh 50" \
	"sh:$here/broken-neighbour.sh harness 20" \
	"sh:$here/qemu-guest.sh vhostfd private" \
	"sh:$here/qemu-guest.sh vhostfds memfd" \
	"sh:$here/qemu-guest.sh vhost=on hugetlb" \
	"sh:$here/restart.sh 4 broker few" "sh:$here/restart.sh 2 worker few" \
	"sh:$here/vhost-user.sh restart" "sh:$here/inflight.sh 10"
# Long ones, each on one kernel: what they show of two is the same.
for long in $UVHOST_LONG; do
	case $long in
	matrix) suite "sh:$here/matrix.sh guests" ;;
	systemd) suite "sh:$here/systemd.sh" ;;
	flows)
		# The two paths that need this machine, with little data: does it
		# arrive?
		FLOWS_MIB=1 FLOWS_SECONDS=1 FLOWS_LOOK=0 \
			suite "sh:$here/flows.sh 3 4"
		;;
	bench) suite "tap:$here/../bench/bench-vm.sh --smoke" ;;
	broker) # and the suites above
		suite "sh:$here/restart.sh 5" "sh:$here/restart.sh 2 both few"
		;;
	*) uv_die "no long test $long" ;;
	esac
done
exit $status
