#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# bench-vm.sh [KERNEL [PATTERN...]] - the suite "vm" of uvbench in a machine
# (vm-run.sh) that has /dev/cuse and the kernel's vhost-net: our device, vhost-net
# and QEMU's virtio-net in one boot. KERNEL is 6.12 by default, PATTERNs as
# uvbench's. The results are bench-vm-KERNEL.txt, .json and .svg in the build
# folder.
#
# The machine is emulated (TCG): what that does to user code, to system calls and
# to copies is measured in it and here (vm/cost), and printed.
#
# bench-vm.sh --smoke, inside a machine that has modules and nodes: does each of
# the scenarios that need it still work? (vm/qemu does not: make check.) TAP.
#
#   BENCH_VM_OPTIONS   more options for uvbench

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/../system/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
: "${BENCH_VM_OPTIONS:=}"
uvbench=$BUILD/tests/uvbench

# "NAME=NS ..." out of the JSON of vm/cost
costs_of()
{
	awk -F'[":, ]+' '
	$2 == "name" { n = split($3, word, "/"); name = word[n] }
	$2 == "ours_median_ns_per_op" { printf "%s=%s ", name, $3 }' "$1"
}

# How much slower the machine is: "NAME=NS ..." of the host and of the machine.
compare_costs()
{
	awk -v host="$1" -v machine="$2" 'BEGIN {
		n = split(host, word, " ")
		for (i = 1; i <= n; i++) {
			split(word[i], part, "=")
			ns[part[1]] = part[2]
		}
		n = split(machine, word, " ")
		for (i = 1; i <= n; i++) {
			split(word[i], part, "=")
			if (ns[part[1]] > 0)
				printf "%s %s x %.1f", (i > 1 ? "," : ""),
					part[1], part[2] / ns[part[1]]
		}
	}'
}

# With the first guest the kernel patches its scheduler (preempt notifiers), and
# with the last one's end again; the other processor may die of that under
# emulation ("Oops: int3", see vm-run.sh --smp). One guest that never runs has
# it patched once.
hold_kvm()
{
	qemu-system-x86_64 -machine pc -accel kvm -m 8 -S -nodefaults \
		-no-user-config -display none </dev/null &
	holder=$!
	disown
}

# In the machine.
inside()
{
	local status holder=''

	load_modules cuse tun vhost_net af_packet || exit 1
	make_static_nodes
	if load_kvm; then
		hold_kvm
	else
		echo "no KVM: guests are emulated twice"
	fi
	# shellcheck disable=SC2086 # words
	"$uvbench" --suite vm --slice-ms 25 --limit-s 9 --answer-s 180 \
		--json "$UVHOST_OUT/bench-vm.json" \
		--svg "$UVHOST_OUT/bench-vm.svg" $BENCH_VM_OPTIONS "$@"
	status=$?
	[ -z "$holder" ] || kill -KILL "$holder"
	exit "$status"
}

# Guests boot the same kernel, with a job: made here, not by the machine.
make_guest()
{
	version=$("$uv_here/initramfs.sh" --kind version --kernel "$kernel") &&
		guest_prepare "$kernel" &&
		"$uv_here/initramfs.sh" --kind guest --kernel "$version" \
			--base "$guest_initrd" --job "$here/guest-job.sh" \
			--add "$BUILD/tests/bulk=/bin/bulk" \
			--out "$BUILD/vm/bench-guest-$version.cpio"
}

# A machine may fail where uvbench did not (124, 125; see check-vm.sh).
run_machine()
{
	local try status

	for try in 1 2; do
		# Two processors: device and guest have one each.
		"$uv_here/vm-run.sh" --kernel "$kernel" --smp 2 --mem 3072 \
			--timeout 1700 --out "$out" --cache "$BUILD/vm" \
			--env "BUILD=$BUILD" \
			--env "BENCH_VM_OPTIONS=$BENCH_VM_OPTIONS" \
			--env "UVBENCH_HOST_NS=$costs" \
			--env "UVBENCH_GUEST_KERNEL=$guest_kernel" \
			--env "UVBENCH_GUEST_INITRD=$BUILD/vm/bench-guest-$version.cpio" \
			-- "$here/bench-vm.sh" --inside "$@"
		status=$?
		case $status in
		124 | 125) echo "machine $try failed ($status)" ;;
		*) break ;;
		esac
	done
	return $status
}

main()
{
	local status file slower

	kernel=${1:-6.12}
	[ $# -eq 0 ] || shift
	out=$(mktemp -d)
	uv_at_exit 'rm -rf "$out"'
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	"$uv_here/initramfs.sh" --kind version --kernel "$kernel" >/dev/null ||
		exit 1
	export UVHOST_VM_CACHE=$BUILD/vm
	mkdir -p "$BUILD/vm"
	make_guest || exit 1
	echo "on the host:"
	"$uvbench" --suite vm --json "$out/host.json" --limit-s 3 vm/cost || exit 1
	costs=$(costs_of "$out/host.json")
	echo
	echo "in the machine:"
	run_machine "$@" | tee "$out/bench-vm.txt"
	status=${PIPESTATUS[0]}
	for file in "$out"/bench-vm.*; do
		mv "$file" "$BUILD/$(basename "$file" |
			sed "s/^bench-vm/bench-vm-$kernel/")"
	done
	if [ -e "$BUILD/bench-vm-$kernel.json" ]; then
		slower=$(compare_costs "$costs" \
			"$(costs_of "$BUILD/bench-vm-$kernel.json")")
		[ -z "$slower" ] ||
			echo "time in the machine, against its host:$slower" |
			tee -a "$BUILD/bench-vm-$kernel.txt"
		echo "results: $BUILD/bench-vm-$kernel.txt, .json, .svg"
	fi
	exit "$status"
}

# One of the guests stands for all.
smoke()
{
	uv_at_exit guest_stop_all
	guest_prepare && guest_add_job "$here/guest-job.sh" \
		"$BUILD/tests/bulk=/bin/bulk" || exit 1
	UVBENCH_GUEST_KERNEL=$guest_kernel UVBENCH_GUEST_INITRD=$guest_initrd \
		"$uvbench" --suite vm --smoke --answer-s 180 'vm/kernel' \
		vm/guest/kernel/udp-down/copied
}

case ${1-} in
--smoke) smoke ;;
--inside)
	shift
	inside "$@"
	;;
*) main "$@" ;;
esac
