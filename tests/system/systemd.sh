#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# systemd.sh - in the check machine: the installed unit under a real systemd,
# with all that it forbids: it is ready when systemd says so, a conformance
# suite passes on its device, it is left alone by SIGHUP, comes back when it
# was killed, under a guest too, and ends when it is stopped. With --takeover the kernel's node is
# there after each end. It gives no process a userfaultfd, and a socket that needs
# one says so.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"

[ -n "${UVHOST_VM-}" ] || uv_skip "needs a machine of its own (check-vm)"
[ -x /lib/systemd/systemd ] || uv_skip "no systemd"

root=$(cd "$here/../.." && pwd)
make -s -C "$root" O="$BUILD" PREFIX=/usr install >/dev/null ||
	uv_die "cannot install"

# It starts nothing but what our unit needs; tmpfiles would empty /tmp, where
# those who run this script have files.
mkdir -p /etc/systemd/system
cat >/etc/systemd/system/quiet.target <<'EOF'
[Unit]
Description=Nothing yet
DefaultDependencies=no
EOF
for unit in systemd-udevd systemd-udev-trigger systemd-modules-load \
	systemd-remount-fs systemd-random-seed systemd-sysusers \
	systemd-tmpfiles-setup systemd-tmpfiles-clean; do
	ln -sf /dev/null "/etc/systemd/system/$unit.service"
done

container=uvhost SYSTEMD_LOG_TARGET=null unshare --pid --fork --mount-proc \
	--propagation unchanged /lib/systemd/systemd --system \
	--unit=quiet.target --show-status=no >/run/systemd.log 2>&1 &
manager=$!

# Inside: neither the manager nor the daemon knows processes from outside of its
# PID namespace.
inside()
{
	local init

	init=$(cat "/proc/$manager/task/$manager/children" 2>/dev/null)
	[ -n "$init" ] || return 1
	timeout 600 nsenter -t "${init% }" --pid --mount --root --wd=/ "$@"
}

ctl()
{
	inside systemctl "$@"
}

finish()
{
	local status=$?

	[ $status -eq 0 ] || {
		ctl status --no-pager -l uvhostd
		ctl list-jobs --no-pager
		cat /run/systemd.log
	} >&2
	ctl exit 2>/dev/null
	wait_for_end || kill -9 $manager
}

ended()
{
	! kill -0 $manager 2>/dev/null
}

wait_for_end()
{
	uv_wait 30 ended
}
uv_at_exit finish

booted()
{
	ctl is-active -q quiet.target 2>/dev/null
}
uv_wait 60 booted || uv_die "systemd does not come up"

ctl start uvhostd || uv_die "the unit does not start"
[ "$(ctl show -P SubState uvhostd)" = running ] || uv_die "it is not running"
[ -c /dev/uvhost-net ] || uv_die "ready, and no node"
UVHOST_TOTAL='' UVHOST_NAME='' UVHOST_DEV=/dev/uvhost-net UVHOST_IMPL=uvhost \
	inside "$here/../run.sh" "dev:$BUILD/tests/conformance/test_ring" \
	"dev:$BUILD/tests/conformance/test_memory" ||
	uv_die "not as it should be on the unit's device"

pid=$(ctl show -P MainPID uvhostd)
ctl kill -s HUP uvhostd
[ "$(ctl show -P MainPID uvhostd)" = "$pid" ] || uv_die "SIGHUP ended it"
ctl kill -s KILL uvhostd
replaced()
{
	local now

	now=$(ctl show -P MainPID uvhostd)
	[ "$(ctl show -P SubState uvhostd)" = running ] && [ "$now" != "$pid" ]
}
uv_wait 30 replaced || uv_die "killed, and did not come back"
# Under a guest of the harness; systemctl restart too.
UVHOST_PID_COMMAND='systemctl show -P MainPID uvhostd' \
	UVHOST_RESTART_COMMAND='systemctl restart uvhostd' \
	inside "$BUILD/tests/restart" 8 split private ||
	uv_die "a guest does not survive the daemon:" \
		"$(inside journalctl -n 30 -u uvhostd 2>/dev/null)"
ctl stop uvhostd || uv_die "does not stop"
[ "$(ctl show -P Result uvhostd)" = success ] ||
	uv_die "stopped with $(ctl show -P Result uvhostd)"
wait_for_no_path /dev/uvhost-net || uv_die "the node outlives the unit"

# With what the unit allows: no capability to make a node, for one.
is_kernels()
{
	[ "$(stat -c '%t:%T %U:%G %a' /dev/vhost-net 2>/dev/null)" = \
		"a:ee root:kvm 660" ]
}
is_kernels || uv_die "the machine has no /dev/vhost-net of the kernel's"
mkdir -p /etc/default
echo UVHOSTD_OPTIONS=--takeover >/etc/default/uvhostd
ctl start uvhostd || uv_die "--takeover: the unit does not start"
is_kernels && uv_die "--takeover: the node is still the kernel's"
pid=$(ctl show -P MainPID uvhostd)
ctl kill -s KILL uvhostd
uv_wait 30 replaced || uv_die "--takeover: killed, and did not come back"
ctl stop uvhostd || uv_die "--takeover: does not stop"
is_kernels || uv_die "--takeover: stopped, and the node is not back"
# Killed for good.
ctl start uvhostd || uv_die "--takeover: the unit does not start again"
mkdir -p /run/systemd/system/uvhostd.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/uvhostd.service.d/no.conf
ctl daemon-reload
ctl kill -s KILL uvhostd
failed()
{
	[ "$(ctl show -P ActiveState uvhostd)" = failed ]
}
uv_wait 30 failed || uv_die "--takeover: killed, and not failed"
is_kernels || uv_die "--takeover: killed for good, and the node is not back"

rm /etc/default/uvhostd
mkdir -p /etc/systemd/system/uvhostd.service.d
cat >/etc/systemd/system/uvhostd.service.d/test.conf <<'EOF'
[Service]
Restart=no
StandardError=file:/run/uvhostd.err
Environment="UVHOSTD_OPTIONS=--socket-path /run/uv.sock,port=null,postcopy=on"
EOF
ctl daemon-reload
ctl start uvhostd 2>/dev/null && uv_die "postcopy is possible in the unit"
[ "$(ctl show -P Result uvhostd)" = exit-code ] ||
	uv_die "ended with $(ctl show -P Result uvhostd), not by itself"
grep -q 'postcopy: .* gives no userfaultfd' /run/uvhostd.err ||
	uv_die "does not say why: $(cat /run/uvhostd.err)"
