#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# flows-vm.sh [KERNEL...] - flows.sh under other kernels, where there are the
# kernel's own vhost-net and the real /dev/cuse. What it writes goes to
# flows-KERNEL.txt, .tsv and .svg in the build folder. Without arguments: 6.12
# and 6.1, as far as they are installed, or else the newest that is.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
uv_need_tmp
out=$uv_tmp
if [ $# -eq 0 ]; then
	kernels=()
	for kernel in 6.12 6.1; do
		if "$here/initramfs.sh" --kind version --kernel $kernel \
			>/dev/null 2>&1; then
			kernels+=("$kernel")
		else
			echo "kernel $kernel: skipped: it is not installed"
		fi
	done
	[ ${#kernels[@]} -gt 0 ] || kernels=(newest)
	set -- "${kernels[@]}"
fi

# One after another: two machines would measure each other.
status=0
for kernel; do
	echo "kernel $kernel"
	"$here/vm-run.sh" --kernel "$kernel" --mem 3072 --timeout 1200 \
		--out "$out" --cache "$BUILD/vm" --env "BUILD=$BUILD" \
		--env FLOWS_OUT=/run/uvhost-out -- "$here/flows.sh" || status=1
	for file in "$out"/flows*; do
		[ ! -e "$file" ] || mv "$file" \
			"$BUILD/$(basename "$file" | sed "s/^flows/flows-$kernel/")"
	done
done
exit $status
