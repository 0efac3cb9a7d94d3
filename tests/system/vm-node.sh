#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-node.sh - in the check machine: udevd applies our rule, the daemon says it
# is ready only when the node can be opened, which it does not do itself, and takes
# it away at the end. With --takeover the kernel's node comes back, whatever ended
# the daemon.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"

[ -n "${UVHOST_VM-}" ] || uv_skip "needs a machine of its own (check-vm)"
uv_need_tmp
log=$uv_tmp/log
"$BUILD/uvhostd" --dev uvhost-net --dev uvhost-net1 2>"$log" &
pid=$!
uv_at_exit 'kill $pid 2>/dev/null'
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

# The thread that looks at the node waits for no answer of the daemon's own: a daemon
# that is killed meanwhile would never end, and its keeper never start the next one.
# Without worker processes, as the thread that starts these would be the first.
"$BUILD/tests/first-thread" 100 "$BUILD/uvhostd" \
	--device uvhost-net,worker-process=off 2>"$log" ||
	uv_die "the look at the node: $(cat "$log")"
wait_for_no_path /dev/uvhost-net || uv_die "the node outlives the daemon"

node=/dev/vhost-net
is_kernels()
{
	[ "$(stat -c '%t:%T' $node 2>/dev/null)" = a:ee ]
}

# The daemon has the name.
takeover_start()
{
	"$BUILD/uvhostd" --takeover 2>"$log" &
	pid=$!
	uv_wait 10 grep -q ready "$log" || uv_die "not ready: $(cat "$log")"
	udev_settle
	[ -c $node ] || uv_die "there is no $node"
	is_kernels && uv_die "$node is the kernel's during a takeover"
	exec 9<>$node || uv_die "cannot open $node"
	exec 9>&-
}

takeover_killed()
{
	takeover_start
	kill -9 $pid
	wait $pid 2>/dev/null
	wait_for_no_path $node || uv_die "the node outlives the daemon"
}

takeover_stopped()
{
	takeover_start
	kill $pid
	wait $pid || uv_die "uvhostd ended with $?: $(cat "$log")"
}

# came_back WHY: as udev's own rule has it; and the driver is there.
came_back()
{
	local owner

	udev_settle
	is_kernels || uv_die "$1: $node is not back: $(cat "$log")"
	owner=$(stat -c '%U:%G %a' $node)
	[ "$owner" = "root:kvm 660" ] || uv_die "$1: $node is $owner"
	exec 9<>$node || uv_die "$1: cannot open $node"
	exec 9>&-
	[ ! -e $node.kernel ] || uv_die "$1: $node.kernel stays"
}

is_kernels || uv_die "the machine has no $node of the kernel's"
takeover_stopped
came_back "a clean end"
takeover_killed
takeover_stopped
came_back "killed, and the next one's clean end"
takeover_killed
"$BUILD/uvhostd" --release-node || uv_die "--release-node fails"
came_back "killed, and --release-node"
rm $node
takeover_stopped
came_back "missing at the start"
takeover_start
"$BUILD/uvhostd" --release-node 2>/dev/null &&
	uv_die "--release-node during a takeover"
kill $pid
wait $pid
takeover_killed
modprobe -r vhost_net && modprobe vhost_net || uv_die "cannot load vhost_net"
udev_settle
is_kernels || uv_die "the module makes no node"
"$BUILD/uvhostd" --release-node || uv_die "--release-node, module loaded"
came_back "loaded while the name was free"
