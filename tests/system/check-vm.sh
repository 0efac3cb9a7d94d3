#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# check-vm.sh [KERNEL...] - vm-suite.sh under each kernel, all at once, and one
# total. Without arguments: 6.1 and 6.12, as far as they are installed (a series
# that is not counts as one skipped), and the newest installed if it is neither.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
uv_need_tmp
out=$uv_tmp
missing=()

version_of()
{
	"$here/initramfs.sh" --kind version --kernel "$1"
}

# The kernels to run: series, as --kernel of vm-run.sh takes them.
if [ $# -eq 0 ]; then
	kernels=()
	for kernel in 6.1 6.12; do
		if version_of $kernel >/dev/null 2>&1; then
			kernels+=("$kernel")
		else
			missing+=("$kernel")
			echo "$kernel: skipped: this kernel is not installed"
		fi
	done
	newest=$(version_of newest) || exit 1
	case $newest in
	6.1[.-]* | 6.12[.-]*) ;;
	*) kernels+=("$newest") ;;
	esac
	set -- "${kernels[@]}"
fi

# Made before, not by two at once.
for kernel; do
	version=$(version_of "$kernel") || exit 1
	for kind in kernel guest outer; do
		"$here/initramfs.sh" --kind $kind --kernel "$version" \
			--out "$BUILD/vm/$kind-$version$(
				[ $kind = kernel ] || echo .cpio)" || exit 1
	done
done

# long_tests N OF: what vm-suite.sh runs on one kernel only, divided among the
# first and the last so that both machines take about as long.
long_tests()
{
	[ "$1" -ne 1 ] || printf 'matrix flows '
	[ "$1" -ne "$2" ] || printf 'systemd bench'
}

# A machine may fail where no test did: QEMU 7.2's emulation now and then hangs
# or breaks a kernel. Then (124: time is up, 125: it died) it gets a second
# chance, and nothing that the first one said counts.
run_machine()
{
	local kernel=$1 long=$2 try status

	for try in 1 2; do
		rm -rf "${out:?}/$kernel"
		mkdir "$out/$kernel"
		"$here/vm-run.sh" --kernel "$kernel" --mem 3072 \
			--hugepages 120 --timeout 2400 --out "$out/$kernel" \
			--cache "$BUILD/vm" --env "UVHOST_NAME=$kernel: " \
			--env UVHOST_TOTAL=/run/uvhost-out/total \
			--env "UVHOST_LONG=$long" \
			-- "$here/vm-suite.sh"
		status=$?
		case $status in
		124 | 125) echo "$kernel: machine $try failed ($status)" ;;
		*) break ;;
		esac
	done
	return $status
}

status=0 pids=() n=0
for kernel; do
	n=$((n + 1))
	run_machine "$kernel" "$(long_tests $n $#)" &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	wait "$pid" || status=$?
done

for kernel; do
	[ -s "$out/$kernel/total" ] || { echo "$kernel: no result"; status=1; }
done
# A machine that failed counts, whatever its tests said.
sum=$(cat "$out"/*/total 2>/dev/null | awk -v status="$status" \
	-v missing="${#missing[@]}" '
	{ p += $1; f += $2; s += $3 }
	END { print p + 0, (status && !f) ? 1 : f + 0, s + missing }')
skips=$(
	for kernel in ${missing[@]+"${missing[@]}"}; do
		echo "check-vm.sh: kernel $kernel is not installed"
	done
	cat "$out"/*/total.skipped 2>/dev/null
)
if [ -n "${UVHOST_TOTAL-}" ]; then
	echo "$sum" >>"$UVHOST_TOTAL"
	cat "$out"/*/total.failed 2>/dev/null >>"$UVHOST_TOTAL.failed"
	[ -z "$skips" ] || echo "$skips" >>"$UVHOST_TOTAL.skipped"
	[ "$status" -eq 0 ] ||
		echo "= a machine ended with status $status" >>"$UVHOST_TOTAL.failed"
else
	[ -z "$skips" ] || { echo "skipped:"; sed 's/^/  /' <<<"$skips"; }
	echo "$sum" | awk '{ print $1 " passed, " $2 " failed, " $3 " skipped" }'
fi
exit $status
