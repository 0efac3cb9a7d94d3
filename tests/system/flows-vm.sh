#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# flows-vm.sh [KERNEL...] - flows.sh under other kernels (6.12 and 6.1), where
# there are the kernel's own vhost-net and the real /dev/cuse. What it writes
# goes to flows-KERNEL.txt, .tsv and .svg in the build folder.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
: "${BUILD:=$here/../../build}"
BUILD=$(cd "$BUILD" && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
[ $# -gt 0 ] || set -- 6.12 6.1

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
