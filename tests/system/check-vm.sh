#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# check-vm.sh [KERNEL...] - vm-suite.sh under each kernel (6.1 and 6.12), all
# at once, and one total.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
: "${BUILD:=$here/../../build}"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
[ $# -gt 0 ] || set -- 6.1 6.12

# Made before, not by two at once.
for kernel; do
	for kind in kernel guest outer; do
		version=$("$here/initramfs.sh" --kind version --kernel "$kernel") &&
			"$here/initramfs.sh" --kind $kind --kernel "$version" \
				--out "$BUILD/vm/$kind-$version$(
					[ $kind = kernel ] || echo .cpio)" ||
			exit 1
	done
done

# A machine may fail where no test did: QEMU 7.2's emulation now and then hangs
# or breaks a kernel. Then (124: time is up, 125: it died) it gets a second
# chance, and nothing that the first one said counts.
run_machine()
{
	local kernel=$1 try status

	for try in 1 2; do
		rm -rf "${out:?}/$kernel"
		mkdir "$out/$kernel"
		"$here/vm-run.sh" --kernel "$kernel" --mem 3072 \
			--hugepages 120 --timeout 1100 --out "$out/$kernel" \
			--cache "$BUILD/vm" --env "UVHOST_NAME=$kernel: " \
			--env UVHOST_TOTAL=/run/uvhost-out/total \
			-- "$here/vm-suite.sh"
		status=$?
		case $status in
		124 | 125) echo "$kernel: machine $try failed ($status)" ;;
		*) break ;;
		esac
	done
	return $status
}

status=0 pids=()
for kernel; do
	run_machine "$kernel" &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	wait "$pid" || status=$?
done

for kernel; do
	[ -s "$out/$kernel/total" ] || { echo "$kernel: no result"; status=1; }
done
# A machine that failed counts, whatever its tests said.
sum=$(cat "$out"/*/total 2>/dev/null | awk -v status="$status" '
	{ p += $1; f += $2; s += $3 }
	END { print p + 0, (status && !f) ? 1 : f + 0, s + 0 }')
if [ -n "${UVHOST_TOTAL-}" ]; then
	echo "$sum" >>"$UVHOST_TOTAL"
	cat "$out"/*/total.failed 2>/dev/null >>"$UVHOST_TOTAL.failed"
	[ "$status" -eq 0 ] ||
		echo "= a machine ended with status $status" >>"$UVHOST_TOTAL.failed"
else
	echo "$sum" | awk '{ print $1 " passed, " $2 " failed, " $3 " skipped" }'
fi
exit $status
