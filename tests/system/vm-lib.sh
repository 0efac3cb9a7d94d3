# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# vm-lib.sh - machines: source it after prelude.sh.
#
# Two halves. The first prepares the machine that the script runs on, and is
# meant for the inside of vm-run.sh: it loads modules and starts udevd. The
# second starts guests in QEMU, on the host or inside the check machine alike.
#
# Every function returns a status and says on stderr what went wrong; none
# exits. Names with a leading uv__ are for this file.

# --- this machine ----------------------------------------------------------

load_modules()
{
	local module

	for module; do
		modprobe "$module" ||
			{ uv_say "no module $module in $(uname -r)"; return 1; }
	done
}

# The nodes in /dev that exist before their module is loaded, as systemd makes
# them at boot (cuse, vhost-net, net/tun ...): opening one loads the module.
make_static_nodes()
{
	local module node type major

	kmod static-nodes --format=devname | while read -r module node type; do
		case $module in
		'#'*) continue ;;
		esac
		[ ! -e "/dev/$node" ] || continue
		case $node in
		*/*) mkdir -p "/dev/${node%/*}" ;;
		esac
		# c10:200
		major=${type%:*}
		mknod -m 600 "/dev/$node" "${type%"${type#?}"}" \
			"${major#?}" "${type#*:}" || return 1
	done
}

# start_udevd [RULES...]: the real udevd, with the host's rules and these. Only
# in the check machine: /etc is the host's elsewhere.
start_udevd()
{
	local daemon=/lib/systemd/systemd-udevd

	[ -n "${UVHOST_VM-}" ] || { uv_say "start_udevd: not in a vm"; return 1; }
	[ -x "$daemon" ] || { uv_say "no $daemon (Debian: udev)"; return 1; }
	mkdir -p /etc/udev/rules.d
	[ $# -eq 0 ] || cp "$@" /etc/udev/rules.d/ || return 1
	"$daemon" --daemon || return 1
	udevadm control --ping --timeout=$((60 * UV_SLOW))
}

# Applies the rules to what was there before udevd.
udev_replay()
{
	udevadm trigger --action=add "$@" && udev_settle
}

udev_settle()
{
	udevadm settle --timeout=$((60 * UV_SLOW))
}

# huge_pages_reserve N: N more huge pages, or skip; huge_pages_add N: as many of N
# as there are; huge_pages_back takes them away again. Others may do the same at the
# same time, so all only add to the number, and hold a lock on its file meanwhile.
uv__huge_pages=/proc/sys/vm/nr_hugepages
uv__huge_added=0

huge_pages_reserve()
{
	huge_pages_add "$1"
	[ "$(uv__huge_free)" -ge "$1" ] || uv_skip "no $1 huge pages to be had"
}

huge_pages_back()
{
	[ $uv__huge_added -eq 0 ] || huge_pages_add -$uv__huge_added
}

huge_pages_add()
{
	local before

	flock 9
	before=$(cat $uv__huge_pages)
	echo $((before + $1)) 2>/dev/null >$uv__huge_pages
	uv__huge_added=$((uv__huge_added + $(cat $uv__huge_pages) - before))
} 9<$uv__huge_pages

uv__huge_free()
{
	sed -n 's/^HugePages_Free: *//p' /proc/meminfo
}

# make_tap NAME [ADDR/LEN [WORDS]]: a persistent tap, up, made as QEMU wants
# it, unless it is there. WORDS may be multi_queue.
make_tap()
{
	# shellcheck disable=SC2086 # words
	ip link show dev "$1" >/dev/null 2>&1 ||
		ip tuntap add dev "$1" mode tap vnet_hdr ${3-} || return 1
	ip link set "$1" up || return 1
	# nothing of the kernel's own between the test's packets
	[ ! -w "/proc/sys/net/ipv6/conf/$1/disable_ipv6" ] ||
		echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6"
	case ${2:--} in
	-) ;;
	*) ip addr add "$2" dev "$1" ;;
	esac
}

# make_veth A B [NETNS]: B goes to NETNS (made by ip netns add) if named.
make_veth()
{
	ip link add "$1" type veth peer name "$2" || return 1
	[ -z "${3-}" ] || ip link set "$2" netns "$3" || return 1
	ip link set "$1" up || return 1
	if [ -n "${3-}" ]; then
		ip -n "$3" link set "$2" up
	else
		ip link set "$2" up
	fi
}

# --- guests ----------------------------------------------------------------

# load_kvm: /dev/kvm in the check machine. Its emulated processor has AMD's
# virtualization, so a guest in it need not be emulated twice: ten times as
# fast, and kicks and interrupts go through ioeventfd and irqfd as they do in
# production.
load_kvm()
{
	local flag module

	for flag in svm:kvm_amd vmx:kvm_intel; do
		module=${flag#*:}
		grep -qw "${flag%:*}" /proc/cpuinfo || continue
		modprobe "$module" 2>/dev/null || continue
		[ -c /dev/kvm ] && return 0
	done
	return 1
}

# The accelerator for guests: what the caller wants, else KVM where it is known
# to be good, which is the check machine.
uv__accel()
{
	if [ -n "${guest_accel-}" ]; then
		echo "$guest_accel"
	elif [ -n "${UVHOST_VM-}" ] && load_kvm; then
		echo kvm
	else
		echo tcg,thread=multi
	fi
}

# shellcheck disable=SC2120 # optional argument
# guest_prepare [KERNEL]: sets guest_kernel and guest_initrd; KERNEL as in
# initramfs.sh; in the check machine its own by default.
guest_prepare()
{
	local cache version

	cache=${UVHOST_VM_CACHE:-$uv_here/../../build/vm}
	if [ $# -eq 0 ] && [ -n "${UVHOST_VM_KERNEL-}" ]; then
		# vm-run.sh has just made them
		guest_kernel=$cache/kernel-$UVHOST_VM_KERNEL
		guest_initrd=$cache/guest-$UVHOST_VM_KERNEL.cpio
		return 0
	fi
	version=$("$uv_here/initramfs.sh" --kind version \
		${1:+--kernel "$1"}) || return 1
	guest_kernel=$cache/kernel-$version
	guest_initrd=$cache/guest-$version.cpio
	"$uv_here/initramfs.sh" --kind kernel --kernel "$version" \
		--out "$guest_kernel" &&
		"$uv_here/initramfs.sh" --kind guest --kernel "$version" \
			--out "$guest_initrd"
}

# guest_add_job FILE [SRC=DEST...]: guests started from now on have FILE as
# /job and the other files beside it.
guest_add_job()
{
	local job=$1 arg
	shift

	uv_need_tmp || return 1
	set -- "$@" --job "$job"
	for arg; do
		shift
		case $arg in
		*=*) set -- "$@" --add "$arg" ;;
		*) set -- "$@" "$arg" ;;
		esac
	done
	"$uv_here/initramfs.sh" --kind guest --base "$guest_initrd" \
		--out "$uv_tmp/initrd" "$@" && guest_initrd=$uv_tmp/initrd
}

# guest_start NAME "KERNEL WORDS" QEMU-ARG...: a guest in the background. The
# words are guest-init.sh's (uv.ip=... uv.job=...). Descriptors that are open
# here are QEMU's as well (vhostfd=). Its console goes to $uv_tmp/NAME/con.out.
# May be set before: guest_mem (MB), guest_smp, guest_machine, guest_accel,
# guest_cpu, guest_qemu (a command in QEMU's place); guest_reset= (empty) lets
# the guest reboot, else QEMU ends; guest_boot= (empty) gives it no kernel, and
# the words are nothing to it; with one, cards have no ROM, which the BIOS would
# only run through. (The family is a recent AMD's: for an old
# one the kernel looks for an AGP bridge on all of 256 buses, 50,000 exits.)
guest_start()
{
	local name=$1 words=$2 dir
	shift 2

	# shellcheck disable=SC2119 # no kernel named
	[ -n "${guest_kernel-}" ] || guest_prepare || return 1
	uv_need_tmp || return 1
	dir=$uv_tmp/$name
	rm -rf "$dir"
	mkdir "$dir" && mkfifo "$dir/con.in" "$dir/mon.in" || return 1
	: >"$dir/con.out"
	: >"$dir/mon.out"
	# a clock that is right, no wiping of memory, and nothing to say
	words="console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check
		mitigations=off random.trust_cpu=on init_on_alloc=0 nowatchdog
		audit=0 apparmor=0 nokaslr cryptomgr.notests rodata=off $words"
	# shellcheck disable=SC2086,SC2116 # a word or nothing; one line
	${guest_qemu:-qemu-system-x86_64} -name "$name" -M "${guest_machine:-pc}" \
		-accel "$(uv__accel)" \
		-cpu "${guest_cpu:-max,family=23,model=1}" \
		-m "${guest_mem:-192}" -smp "${guest_smp:-1}" \
		-nodefaults -no-user-config -display none \
		${guest_reset--no-reboot} \
		${guest_boot--kernel "$guest_kernel" -initrd "$guest_initrd" \
			-append "$(echo $words)" -global virtio-net-pci.romfile= \
			-global e1000.romfile=} \
		-chardev "pipe,id=con,path=$dir/con" -serial chardev:con \
		-chardev "pipe,id=mon,path=$dir/mon" \
		-qmp chardev:mon \
		"$@" </dev/null >"$dir/qemu.out" 2>&1 &
	echo $! >"$dir/pid"
	: >"$dir/mark"
}

guest_pid()
{
	cat "$uv_tmp/$1/pid"
}

guest_console()
{
	cat "$uv_tmp/$1/con.out"
}

# uv_wait calls this and guest_news all the time, in the check machine on the
# processor that the guest needs: both start as few processes as they can.
guest_running()
{
	local pid stat

	# a guest that never started has no pid
	{ read -r pid <"$uv_tmp/$1/pid" && read -r stat <"/proc/$pid/stat"; } \
		2>/dev/null || return 1
	# "PID (NAME) STATE ..."; a zombie has ended, but we have not waited for it
	stat=${stat##*) }
	[ "${stat%% *}" != Z ]
}

# The console's lines since the last guest_mark.
guest_news()
{
	local mark

	# empty before the first guest_mark, which is 0
	read -r mark <"$uv_tmp/$1/mark"
	tail -c "+$((mark + 1))" "$uv_tmp/$1/con.out"
}

guest_mark()
{
	wc -c <"$uv_tmp/$1/con.out" >"$uv_tmp/$1/mark"
}

# True as well when the guest is gone: then nothing more will come.
uv__guest_said()
{
	guest_news "$1" | grep -Eq -- "$2" || ! guest_running "$1"
}

# guest_wait NAME REGEX [SECONDS]: until the console says so (whole file, or
# since guest_mark).
guest_wait()
{
	uv_wait "${3:-30}" uv__guest_said "$1" "$2"
	guest_news "$1" | grep -Eq -- "$2" && return 0
	uv_say "guest $1 has not said '$2':"
	guest_report "$1"
	return 1
}

# What a failed test wants to show.
guest_report()
{
	sed 's/^/  qemu: /' "$uv_tmp/$1/qemu.out" >&2
	tail -n 20 "$uv_tmp/$1/con.out" | sed 's/^/  guest: /' >&2
}

# guest_cmd NAME COMMAND [SECONDS]: has the guest's agent (uv.job=agent) run a
# command line; prints its output and returns its status.
guest_cmd()
{
	local status

	guest_mark "$1"
	# read-write: opening does not block when QEMU has ended
	printf '%s\n' "$2" 1<>"$uv_tmp/$1/con.in"
	guest_wait "$1" '^uv: rc [0-9]+$' "${3:-30}" || return 255
	status=$(guest_news "$1" | sed -n 's/^uv: rc //p' | head -n 1)
	guest_news "$1" | sed '/^uv: rc [0-9]*$/d'
	return "$status"
}

# guest_qmp NAME COMMAND [ARGUMENTS]: a QMP command (quit, query-migrate ...),
# with its arguments as a JSON object; the answers gather in
# $uv_tmp/NAME/mon.out, one a line. The guest has to have started.
guest_qmp()
{
	local dir=$uv_tmp/$1

	# what is written before QEMU has the pipe open is lost
	[ -e "$dir/qmp" ] || uv_wait 20 test -s "$dir/mon.out" || return 1
	{
		[ -e "$dir/qmp" ] || echo '{"execute": "qmp_capabilities"}'
		: >"$dir/qmp"
		printf '{"execute": "%s"%s}\n' "$2" "${3:+, \"arguments\": $3}"
	} 1<>"$dir/mon.in"
}

# qemu_reconnect SECONDS: prints the option with which a socket chardev connects
# again. QEMU ($guest_qemu, or the one in PATH) is asked: reconnect-ms exists since
# 9.2, reconnect up to 11.0.
qemu_reconnect()
{
	if ${guest_qemu:-qemu-system-x86_64} -M none -nodefaults \
		-no-user-config -display none -S -monitor stdio -chardev \
		socket,id=c,path=/nonexistent,reconnect-ms=1000 \
		>/dev/null 2>&1 <<-END
		quit
		END
	then
		echo "reconnect-ms=$(($1 * 1000))"
	else
		echo "reconnect=$1"
	fi
}

# qemu_has_file NAME: a ROM or firmware file in one of QEMU's own folders
qemu_has_file()
{
	qemu-system-x86_64 -L help | while read -r dir; do
		[ ! -e "$dir/$1" ] || echo found
	done | grep -q found
}

# guest_finish NAME [SECONDS]: waits for the end of its job; returns the job's
# status, or 255 if the guest or QEMU ended in another way.
guest_finish()
{
	local status

	guest_wait "$1" '^uv: done [0-9]+' "${2:-60}" || return 255
	status=$(sed -n 's/^uv: done \([0-9]*\).*/\1/p' "$uv_tmp/$1/con.out" |
		tail -n 1)
	return "$status"
}

# guest_gone NAME [SECONDS]: waits for QEMU to end; returns its status.
guest_gone()
{
	uv_wait "${2:-20}" uv__not_running "$1" ||
		{ uv_say "QEMU of guest $1 does not end"; return 255; }
	wait "$(guest_pid "$1")"
}

uv__not_running()
{
	! guest_running "$1"
}

guest_stop()
{
	[ -e "$uv_tmp/$1/pid" ] || return 0
	if guest_running "$1"; then
		kill "$(guest_pid "$1")" 2>/dev/null
		uv_wait 5 uv__not_running "$1" ||
			kill -9 "$(guest_pid "$1")" 2>/dev/null
	fi
	wait "$(guest_pid "$1")" 2>/dev/null
	return 0
}

# guest_stop_all: at the end of a script (uv_at_exit).
guest_stop_all()
{
	local pid_file name

	[ -n "$uv_tmp" ] || return 0
	for pid_file in "$uv_tmp"/*/pid; do
		[ -e "$pid_file" ] || continue
		name=${pid_file%/pid}
		guest_stop "${name##*/}"
	done
}
