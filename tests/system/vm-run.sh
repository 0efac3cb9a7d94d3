#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-run.sh - run a command on this host's files under another kernel. See
# usage() below, and vm-init.sh for what happens inside.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
set -e
repo=$(cd "$here/../.." && pwd -P)

usage()
{
	cat <<'EOF'
usage: vm-run.sh [options] -- COMMAND [ARG...]

Boots a virtual machine (emulated: no KVM needed) with one of the host's
installed kernels, in which this host's file system can be read, and written
without consequence. Runs COMMAND there as root, in the repository's folder,
and exits with its status.

  --kernel WHICH   6.1, 6.12, newest or a full version (see initramfs.sh)
  --mem MB         memory, 2048
  --smp N          processors, 1: with more, QEMU 7.2 may run code that the
                   kernel has just patched, and the kernel dies of it ("Oops:
                   int3"; once in about 30 guests under KVM)
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

# Words that a shell reads back as themselves.
quote()
{
	local word

	for word; do
		printf "'%s' " "${word//\'/\'\\\'\'}"
	done
}

parse_options()
{
	while [ $# -gt 0 ]; do
		case $1 in
		--kernel | --mem | --smp | --hugepages | --timeout | --out | \
			--env | --accel | --append | --qemu | --cache)
			[ $# -ge 2 ] || die "$1 needs a value"
			case $1 in
			--env)
				[[ $2 == [A-Za-z_]*=* ]] ||
					die "--env wants NAME=VALUE"
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
	command=("$@")
}

# Kernel and initramfs, for this machine and for guests in it.
make_images()
{
	local make=$here/initramfs.sh

	version=$("$make" --kind version ${kernel:+--kernel "$kernel"}) &&
		"$make" --kind kernel --kernel "$version" \
			--out "$cache/kernel-$version" &&
		"$make" --kind outer --kernel "$version" \
			--out "$cache/outer-$version.cpio" &&
		"$make" --kind guest --kernel "$version" \
			--out "$cache/guest-$version.cpio" || exit 125
	cache=$(cd "$cache" && pwd -P)
}

# What vm-init.sh reads, and the script that it starts.
write_command()
{
	local pair

	{
		echo "vm_visible=$(quote "$repo
$cache")"
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
		if [ -n "$tty" ]; then
			echo "export TERM=$(quote "${TERM:-vt100}")"
			stty size | sed 's/^/stty rows /; s/ \([0-9]*\)$/ cols \1/'
		fi
		for pair in ${envs[@]+"${envs[@]}"}; do
			echo "export ${pair%%=*}=$(quote "${pair#*=}")"
		done
		echo "cd $(quote "$repo") || exit 125"
		echo "exec $(quote "${command[@]}")"
	} >"$work/vm.cmd"
	"$here/initramfs.sh" --kind outer --kernel "$version" \
		--base "$cache/outer-$version.cpio" \
		--add "$work/vm.conf=/vm.conf" --add "$work/vm.cmd=/vm.cmd" \
		--out "$work/initrd" || exit 125
}

# shellcheck disable=SC2054 # QEMU's commas
qemu_arguments()
{
	local cmdline khz

	# The emulated processor has no side channels to close, its clock is
	# good, and wiping memory twice is slow: say so.
	cmdline="console=ttyS0 panic=-1 tsc=reliable no_timer_check nokaslr"
	cmdline+=" mitigations=off random.trust_cpu=on init_on_alloc=0"
	cmdline+=" nowatchdog audit=0 apparmor=0 cryptomgr.notests"
	# On a busy host the kernel measures another clock than it has: 683 s
	# were over in 325.
	khz=$("$BUILD/tests/tsc-khz" 2>/dev/null) &&
		cmdline+="${khz:+ tsc_early_khz=$khz}"
	[ "$hugepages" -eq 0 ] || cmdline+=" hugepages=$hugepages"
	[ -z "$append" ] || cmdline+=" $append"

	qemu=(qemu-system-x86_64 -M q35 -accel "$accel" -cpu max
		-m "$mem" -smp "$smp"
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$cache/kernel-$version" -initrd "$work/initrd"
		-append "$cmdline" -serial "file:$work/console"
		-fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
		-device virtio-9p-pci,fsdev=root,mount_tag=uvroot
		-device virtio-serial-pci
		-chardev "file,id=status,path=$work/status"
		-device virtserialport,chardev=status,name=uvhost.status)
	if [ -n "$out" ]; then
		qemu+=(-fsdev "local,id=out,path=$out,security_model=none,multidevs=remap"
			-device virtio-9p-pci,fsdev=out,mount_tag=uvout)
	fi
	if [ -n "$tty" ]; then
		qemu+=(-chardev stdio,id=tty,signal=off
			-device virtconsole,chardev=tty -chardev null,id=out)
	else
		qemu+=(-chardev "file,id=out,path=$work/out")
	fi
	qemu+=(-device virtserialport,chardev=out,name=uvhost.out)
	qemu+=(${qemu_extra[@]+"${qemu_extra[@]}"})
}

# In the background, so that a signal to us is seen at once; dying with us
# even if we are killed.
run_machine()
{
	local guard=(timeout --foreground --kill-after=5 "$timeout")

	! command -v setpriv >/dev/null ||
		guard=(setpriv --pdeathsig TERM "${guard[@]}")
	: >"$work/console"
	: >"$work/status"
	if [ -n "$verbose" ]; then
		tail -f "$work/console" >&2 &
		tail_pid=$!
	fi
	# QEMU gets a pipe, not our stdout, which it would make non-blocking.
	# Descriptor 4 keeps the pipe open until QEMU has ended: it may never
	# have started.
	mkfifo "$work/out"
	# shellcheck disable=SC2094
	exec 3<&0 4<>"$work/out" 5<"$work/out"
	cat <&5 4>&- &
	cat_pid=$!
	[ -n "$tty" ] || exec 3</dev/null
	"${guard[@]}" "${qemu[@]}" <&3 4>&- 5<&- 2>"$work/qemu.err" &
	qemu_pid=$!
	qemu_status=0
	wait "$qemu_pid" || qemu_status=$?
	qemu_pid=''
	exec 4>&- 5<&-
	wait "$cat_pid" || true
	cat_pid=''
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
	local pid

	for pid in $qemu_pid $cat_pid $tail_pid; do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}

# Says what the kernel or QEMU said, where something has gone wrong.
report()
{
	echo "vm-run.sh: $1 (kernel $version)" >&2
	sed 's/^/  qemu: /' "$work/qemu.err" >&2
	tail -n 40 "$work/console" | tr -d '\r' | sed 's/^/  console: /' >&2
}

conclude()
{
	local status

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
}

main()
{
	parse_options "$@"
	command -v qemu-system-x86_64 >/dev/null ||
		die "no qemu-system-x86_64 (Debian: qemu-system-x86)"
	make_images
	if [ -n "$out" ]; then
		mkdir -p "$out"
		out=$(cd "$out" && pwd -P)
	fi
	work=$(mktemp -d)
	uv_at_exit clean_up
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	write_command
	qemu_arguments
	run_machine
	conclude
}

kernel='' mem=2048 smp=1 hugepages=0 timeout=600 out='' append='' tty=''
verbose='' accel=${UVHOST_VM_ACCEL:-tcg,thread=multi}
cache=${UVHOST_VM_CACHE:-$repo/build/vm}
envs=() qemu_extra=() command=() qemu=()
version='' work='' qemu_pid='' cat_pid='' tail_pid='' qemu_status=0

# shellcheck disable=SC2317 # that is the point
# In one piece: bash reads a script as it goes, and someone may edit it.
{ main "$@"; exit; }
