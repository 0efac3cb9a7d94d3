#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-selftest.sh - is the check machine what the tests take it for? To be run
# by vm-run.sh:
#
#	tests/system/vm-run.sh --kernel 6.12 -- tests/system/vm-selftest.sh
#
# Nothing of uvhost is used here: if this fails, no test in the machine means
# anything. Also the shortest example of how vm-lib.sh is meant to be used.

# shellcheck disable=SC2015,SC2034 # A && B || die; variables of vm-lib.sh

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"

tell()
{
	echo "$(cut -d ' ' -f 1 /proc/uptime) s: $*"
}

# A CUSE device with nothing behind it.
make_device()
{
	cat >/tmp/selftest.c <<'EOF'
#define FUSE_USE_VERSION 31
#include <cuse_lowlevel.h>
#include <fuse_opt.h>
#include <stddef.h>

static void do_open(fuse_req_t req, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static void do_read(fuse_req_t req, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)size;
	(void)off;
	(void)fi;
	fuse_reply_buf(req, "hello\n", 6);
}

int main(int argc, char **argv)
{
	const char *info[] = { "DEVNAME=selftest" };
	struct cuse_info ci = { .dev_info_argc = 1, .dev_info_argv = info };
	struct cuse_lowlevel_ops ops = { .open = do_open, .read = do_read };

	return cuse_lowlevel_main(argc, argv, &ci, &ops, NULL);
}
EOF
	# shellcheck disable=SC2046 # words
	cc -o /tmp/selftest /tmp/selftest.c $(pkg-config --cflags --libs fuse3)
}

check_cuse()
{
	local pid

	load_modules cuse && test -c /dev/cuse || uv_die "no /dev/cuse"
	echo 'SUBSYSTEM=="cuse", KERNEL=="selftest", GROUP="kvm", MODE="0660"' \
		>/tmp/99-selftest.rules
	start_udevd /tmp/99-selftest.rules || uv_die "no udevd"
	make_device || uv_die "cannot compile"
	/tmp/selftest -f &
	pid=$!
	wait_for_path /dev/selftest && udev_settle || uv_die "no node"
	[ "$(stat -c '%G %a' /dev/selftest)" = "kvm 660" ] ||
		uv_die "rule not applied: $(ls -l /dev/selftest)"
	[ "$(head -c 6 /dev/selftest)" = hello ] || uv_die "cannot read it"
	kill "$pid"
	wait_for_no_path /dev/selftest || uv_die "the node stays"
	tell "CUSE device: $(uname -r), node, rule, read"
}

check_vhost_net()
{
	load_modules vhost_net || uv_die "no vhost_net"
	exec 5<>/dev/vhost-net || uv_die "cannot open /dev/vhost-net"
	exec 5>&-
	tell "kernel's vhost-net opened"
}

# guest NAME WORDS DEVICE-OPTIONS NETDEV-OPTIONS: a guest on the kernel's own
# vhost-net pings us.
guest_pings()
{
	guest_start "$1" "uv.ip=10.66.0.2/24 uv.peer=10.66.0.1 uv.job=ping $2" \
		-netdev "tap,id=n,ifname=uvself,script=no,downscript=no,vhost=on,vhostforce=on$4" \
		-device "virtio-net-pci,netdev=n,romfile=$3" &&
		guest_wait "$1" '^uv: ready' 60 ||
		uv_die "no guest"
	lsmod | grep -q '^vhost_net .* [1-9]' || uv_die "vhost-net is not used"
	guest_finish "$1" || uv_die "no answer: $(guest_console "$1")"
	guest_gone "$1" || uv_die "QEMU returned $?"
	tell "guest $1: $(guest_console "$1" | grep -o 'queues=[0-9]*')," \
		"$(guest_console "$1" | grep -E -o '^uv: (ready|done 0) .*' |
			tr '\n' ' ')"
}

[ -n "${UVHOST_VM-}" ] || uv_skip "this is for vm-run.sh"
uv_at_exit guest_stop_all
tell "started"
check_cuse
check_vhost_net
make_tap uvself 10.66.0.1/24 multi_queue || uv_die "cannot make a tap"
guest_smp=2
guest_pings two-queues uv.queues=2 ,mq=on,vectors=6 ,queues=2
ip tuntap del dev uvself mode tap multi_queue
make_tap uvself 10.66.0.1/24 || uv_die "cannot make a tap"
guest_smp=1
guest_pings one-queue uv.queues=1 '' ''
if [ "${1-}" = --tcg ]; then
	guest_accel=tcg,thread=multi UV_SLOW=30
	guest_pings emulated-twice uv.queues=1 '' ''
fi
exit 0
