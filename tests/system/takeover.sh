#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# takeover.sh - what --takeover leaves of the kernel's /dev/vhost-net: whatever
# ends the daemon, the node comes back with its owner and mode. On a /dev of its
# own (a mount namespace), with the CUSE host; vm-node.sh does it for real.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"

node=/dev/vhost-net
aside=/dev/vhost-net.kernel

# In the namespace: a /dev with what programs want, and a kernel that has a
# module vhost_net by what kmod says.
prepare()
{
	local new=/mnt name

	mount -t tmpfs dev $new || return 1
	for name in null zero full random urandom tty; do
		cp -a "/dev/$name" $new/ || return 1
	done
	ln -s /proc/self/fd $new/fd
	mount --move $new /dev || return 1
	mount -t tmpfs modules /lib/modules || return 1
	mkdir "/lib/modules/$(uname -r)"
	echo 'vhost_net vhost-net c10:238' \
		>"/lib/modules/$(uname -r)/modules.devname"
}

make_node()
{
	rm -f $node $aside
	mknod -m 640 $node c 10 238 && chgrp kvm $node
	inode=$(stat -c %i $node)
}

# with_daemon COMMAND: while the daemon has the name. $prefix runs the daemon.
prefix=()
with_daemon()
{
	rm -f "$work/pid"
	# shellcheck disable=SC2016 # for the shell inside
	"$BUILD/tests/cusehost" --daemon-pidfile "$work/pid" \
		${prefix[@]+"${prefix[@]}"} "$BUILD/uvhostd" --takeover -- \
		bash -c '[ ! -c /dev/vhost-net ] || exit 3; '"$1" \
		>"$work/log" 2>&1
	[ $? -ne 3 ] || uv_die "the node is there during a takeover"
}

kill_daemon()
{
	with_daemon "kill -9 \$(cat '$work/pid')"
	[ ! -e $node ] || uv_die "a killed daemon gave the node back: how?"
}

# is_back MODE WHY
is_back()
{
	local is

	is=$(stat -c '%F %t:%T %U:%G %a' $node 2>&1)
	[ "$is" = "character special file a:ee root:kvm $1" ] ||
		uv_die "$2: $is; the daemon says: $(cat "$work/log")"
	[ ! -e $aside ] || uv_die "$2: $aside stays"
}

inside()
{
	prepare || uv_skip "cannot make a /dev of its own"
	uv_need_tmp
	work=$uv_tmp

	make_node
	with_daemon true
	is_back 640 "a clean end"
	[ "$(stat -c %i $node)" = "$inode" ] || uv_die "it is another node"

	make_node
	kill_daemon
	with_daemon true
	is_back 640 "killed, and the next one's clean end"

	make_node
	kill_daemon
	kill_daemon
	"$BUILD/uvhostd" --release-node 2>"$work/log" ||
		uv_die "--release-node: $(cat "$work/log")"
	is_back 640 "killed twice, and --release-node"
	"$BUILD/uvhostd" --release-node ||
		uv_die "--release-node with nothing to release"
	is_back 640 "--release-node with nothing to release"

	rm $node
	with_daemon true
	is_back 660 "missing at the start"

	# The unit takes these away.
	make_node
	prefix=(setpriv "--bounding-set=-mknod,-chown,-fowner,-dac_override")
	with_daemon true
	is_back 640 "a clean end without rights"
	prefix=()

	# The module was loaded while the name was free.
	make_node
	kill_daemon
	mknod -m 660 $node c 10 238 && chgrp kvm $node
	"$BUILD/uvhostd" --release-node 2>"$work/log" ||
		uv_die "--release-node over the kernel's own: $(cat "$work/log")"
	is_back 660 "the kernel's own node"

	make_node
	kill_daemon
	echo mine >$node
	"$BUILD/uvhostd" --release-node 2>"$work/log" &&
		uv_die "--release-node is content with a file"
	[ "$(cat $node)" = mine ] || uv_die "a file was overwritten"
	[ -c $aside ] || uv_die "the node is lost"
}

case ${1-} in
--inside) inside ;;
*)
	uv_need_root "a mount namespace needs root"
	getent group kvm >/dev/null || uv_skip "there is no group kvm"
	[ -d /lib/modules ] || mkdir -p /lib/modules
	exec unshare --mount "$0" --inside
	;;
esac
