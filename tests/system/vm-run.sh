#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-run.sh - run a command on this host's files under another kernel. See
# usage() below, and vm-init.sh for what happens inside.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd -P)

usage()
{
	cat <<'EOF'
usage: vm-run.sh [options] -- COMMAND [ARG...]

Boots a virtual machine (emulated: no KVM needed) with one of the host's
installed kernels, in which this host's file system can be read, and written
without consequence. Runs COMMAND there as root, in the repository's folder,
and exits with its status.

  --kernel WHICH   6.1, 6.12 or a full version (see initramfs.sh)
  --mem MB         memory, 2048
  --smp N          processors, 2
  --hugepages N    reserve N huge pages of 2 MiB
  --timeout S      give up after S seconds, boot included; 600
  --out DIR        share DIR, writable, as /run/uvhost-out
  --env NAME=VALUE set in COMMAND's environment; may be repeated
  --accel WORD     QEMU's accelerator, tcg,thread=multi, or $UVHOST_VM_ACCEL
  --append WORDS   further kernel command line
  --qemu WORD      further QEMU argument; may be repeated
  --tty            COMMAND gets this terminal (try: --tty -- bash)
  --verbose        show the machine's console on stderr
  --cache DIR      where kernel and initramfs are kept; build/vm, or
                   $UVHOST_VM_CACHE

exit status: COMMAND's, or 124 timeout, 125 the machine failed
EOF
}

die()
{
	echo "vm-run.sh: $*" >&2
	exit 125
}

# A word that a shell reads back as itself.
quote()
{
	printf "'%s'" "${1//\'/\'\\\'\'}"
}

quote_all()
{
	local word

	for word; do
		quote "$word"
		printf ' '
	done
}

kernel='' mem=2048 smp=2 hugepages=0 timeout=600 out='' append='' tty=''
verbose='' accel=${UVHOST_VM_ACCEL:-tcg,thread=multi}
cache=${UVHOST_VM_CACHE:-$repo/build/vm}
envs=() qemu_extra=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel | --mem | --smp | --hugepages | --timeout | --out | --env | \
		--accel | --append | --qemu | --cache)
		[ $# -ge 2 ] || die "$1 needs a value"
		case $1 in
		--env)
			[[ $2 == [A-Za-z_]*=* ]] || die "--env wants NAME=VALUE"
			envs+=("$2")
			;;
		--qemu) qemu_extra+=("$2") ;;
		*) printf -v "${1#--}" %s "$2" ;;
		esac
		shift
		;;
	--tty) tty=1 ;;
	--verbose) verbose=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	--)
		shift
		break
		;;
	*)
		usage >&2
		exit 125
		;;
	esac
	shift
done
[ $# -gt 0 ] || die "no command (see --help)"
command -v qemu-system-x86_64 >/dev/null ||
	die "no qemu-system-x86_64 (Debian: apt install qemu-system-x86)"
if [ -n "$out" ]; then
	mkdir -p "$out"
	out=$(cd "$out" && pwd -P)
fi

version=$("$here/initramfs.sh" --kind version \
	${kernel:+--kernel "$kernel"}) || exit 125
image=$cache/kernel-$version
initrd=$cache/outer-$version.cpio
"$here/initramfs.sh" --kind kernel --kernel "$version" --out "$image" &&
	"$here/initramfs.sh" --kind outer --kernel "$version" \
		--out "$initrd" &&
	"$here/initramfs.sh" --kind guest --kernel "$version" \
		--out "$cache/guest-$version.cpio" || exit 125

work=$(mktemp -d)
qemu_pid='' cat_pid='' tail_pid=''
# shellcheck disable=SC2317 # called by the trap
clean_up()
{
	local pid

	for pid in $qemu_pid $cat_pid $tail_pid; do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

{
	echo "vm_repo=$(quote "$repo")"
	echo "vm_out=$(quote "$out")"
	echo "vm_tty=${tty:+hvc0}"
} >"$work/vm.conf"
{
	echo 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
	echo 'export HOME=/root LANG=C.UTF-8 UVHOST_VM=1'
	# PID 1 is outside: udevadm would refuse to do anything
	echo 'export SYSTEMD_IGNORE_CHROOT=1'
	echo "export UVHOST_VM_KERNEL=$(quote "$version")"
	echo "export UVHOST_VM_CACHE=$(quote "$cache")"
	[ -z "$out" ] || echo 'export UVHOST_OUT=/run/uvhost-out'
	[ -z "$tty" ] || echo "export TERM=$(quote "${TERM:-vt100}")"
	for pair in ${envs[@]+"${envs[@]}"}; do
		echo "export ${pair%%=*}=$(quote "${pair#*=}")"
	done
	echo "cd $(quote "$repo") || exit 125"
	echo "exec $(quote_all "$@")"
} >"$work/vm.cmd"
"$here/initramfs.sh" --kind outer --kernel "$version" --base "$initrd" \
	--add "$work/vm.conf=/vm.conf" --add "$work/vm.cmd=/vm.cmd" \
	--out "$work/initrd" || exit 125

# The emulated processor has no side channels to close, its clock is good,
# and wiping memory twice is slow: say so.
cmdline="console=ttyS0 panic=-1 tsc=reliable no_timer_check mitigations=off"
cmdline+=" random.trust_cpu=on init_on_alloc=0 nowatchdog audit=0"
cmdline+=" apparmor=0 nokaslr cryptomgr.notests"
[ "$hugepages" -eq 0 ] || cmdline+=" hugepages=$hugepages"
[ -z "$append" ] || cmdline+=" $append"

# shellcheck disable=SC2054 # QEMU's commas
qemu=(qemu-system-x86_64 -M q35 -accel "$accel" -cpu max
	-m "$mem" -smp "$smp" -nodefaults -no-user-config -display none
	-no-reboot -kernel "$image" -initrd "$work/initrd" -append "$cmdline"
	-serial "file:$work/console"
	-fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
	-device virtio-9p-pci,fsdev=root,mount_tag=uvroot
	-device virtio-serial-pci
	-chardev "file,id=status,path=$work/status"
	-device virtserialport,chardev=status,name=uvhost.status)
# shellcheck disable=SC2054 # QEMU's commas
if [ -n "$out" ]; then
	qemu+=(-fsdev "local,id=out,path=$out,security_model=none,multidevs=remap"
		-device virtio-9p-pci,fsdev=out,mount_tag=uvout)
fi
# shellcheck disable=SC2054
if [ -n "$tty" ]; then
	qemu+=(-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty
		-chardev null,id=out)
else
	# QEMU gets a pipe of its own: it would make our stdout non-blocking
	# (4 keeps it open until QEMU has ended, started or not)
	mkfifo "$work/out"
	exec 4<>"$work/out" 5<"$work/out"
	cat <&5 4>&- &
	cat_pid=$!
	exec 5<&-
	qemu+=(-chardev "file,id=out,path=$work/out")
fi
# shellcheck disable=SC2054
qemu+=(-device virtserialport,chardev=out,name=uvhost.out)
qemu+=(${qemu_extra[@]+"${qemu_extra[@]}"})

: >"$work/console"
: >"$work/status"
if [ -n "$verbose" ]; then
	tail -f "$work/console" >&2 &
	tail_pid=$!
fi

# In the background, so that a signal to us is seen at once; dying with us
# even if we are killed.
guard=(timeout --foreground --kill-after=5 "$timeout")
! command -v setpriv >/dev/null || guard=(setpriv --pdeathsig TERM "${guard[@]}")
if [ -n "$tty" ]; then
	exec 3<&0
else
	exec 3</dev/null
fi
"${guard[@]}" "${qemu[@]}" <&3 4>&- 2>"$work/qemu.err" &
qemu_pid=$!
qemu_status=0
wait "$qemu_pid" || qemu_status=$?
qemu_pid=''
if [ -z "$tty" ]; then
	exec 4>&-
	wait "$cat_pid" || true
	cat_pid=''
fi

# Says what the kernel or QEMU said, where something has gone wrong.
report()
{
	echo "vm-run.sh: $1 (kernel $version)" >&2
	sed 's/^/  qemu: /' "$work/qemu.err" >&2
	tail -n 30 "$work/console" | tr -d '\r' | sed 's/^/  console: /' >&2
}

status=$(sed -n 's/^status //p' "$work/status")
if [ -n "$status" ]; then
	sed -n 's/^kernel /vm-run.sh: the kernel complained: /p' \
		"$work/status" >&2
	exit "$status"
fi
if [ "$qemu_status" -eq 124 ] || [ "$qemu_status" -eq 137 ]; then
	report "no end after $timeout s"
	exit 124
fi
report "the machine ended without a result (QEMU status $qemu_status)"
exit 125
