#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# libfuse.sh [--vm KERNEL] [SUITE...] - the suites of the character device with
# the libfuse of Debian's suites (bookworm, trixie and forky: 3.14, 3.17 and
# 3.18). By hand: it downloads some 5 MB a suite from Debian's archive. With
# --vm it runs them in a machine (vm-run.sh) on the real /dev/cuse.
#
# Nothing of this host changes: apt gets folders of its own, and packages are
# unpacked, not installed. A libfuse that needs a newer C library than this
# host's brings it along: uvhostd is linked to that suite's dynamic linker.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
repo=$(cd "$here/../.." && pwd -P)
: "${UVHOST_MIRROR:=$(debian_mirror)}"
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# As in the Makefile and in vm-suite.sh.
# The program of worker processes has no libfuse.
devices="--device uvhost-net,worker-process=off
	--device uvhost-packed,features=+packed+in_order,worker-process=off"

conf_suites()
{
	local t

	for t in ioctl calls chardev iotlb ring packed tx rx faults memory; do
		echo "dev:$BUILD/tests/conformance/test_$t"
	done
}

# In the machine: libfuse.sh --inside FOLDER. Needs /dev/cuse and our udev rule.
run_inside()
{
	local daemon status=0

	load_modules cuse tun tap macvtap veth af_packet || return 1
	start_udevd "$repo/udev/60-uvhostd.rules" || uv_die "no udevd"
	# shellcheck disable=SC2086 # words
	"$1/uvhostd" $devices 2>/tmp/uvhostd.log &
	daemon=$!
	uv_wait 10 grep -q ready /tmp/uvhostd.log ||
		uv_die "not ready: $(cat /tmp/uvhostd.log)"
	# shellcheck disable=SC2046 # words
	UVHOST_DEV=/dev/uvhost-net UVHOST_DEV_PACKED=/dev/uvhost-packed \
		UVHOST_IMPL=uvhost \
		"$here/../run.sh" $(conf_suites) || status=1
	kill $daemon
	wait $daemon || status=1
	[ $status -eq 0 ] || cat /tmp/uvhostd.log
	return $status
}

# The folder's apt, which knows the one suite only.
folder_apt()
{
	local tool=$1

	shift
	APT_CONFIG=$dir/apt.conf "$tool" -qq "$@"
}

fetch_packages()
{
	local apt=$dir/apt runtime

	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" \
		"$apt/parts" "$dir/debs"
	: >"$apt/status"
	# The clock of a test machine may be wrong; signatures are checked.
	cat >"$dir/apt.conf" <<END
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/parts";
Dir::Etc::Parts "$apt/parts";
Dir::State "$apt";
Dir::State::Status "$apt/status";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
END
	echo "deb [signed-by=$keys] $UVHOST_MIRROR $suite main" \
		>"$apt/sources.list"
	folder_apt apt-get update >"$dir/apt.log" 2>&1 || return 1
	runtime=$(folder_apt apt-cache depends libfuse3-dev |
		sed -n 's/.*Depends: \(libfuse3-[0-9]*\)$/\1/p')
	(cd "$dir/debs" && rm -f ./*.deb &&
		folder_apt apt-get download libfuse3-dev "$runtime" libc6) \
		>>"$dir/apt.log" 2>&1
}

# Unpacks, and says to pkg-config and the linker where that is.
unpack()
{
	local deb pc

	rm -rf "$root"
	for deb in "$dir"/debs/*.deb; do
		dpkg -x "$deb" "$root" || return 1
	done
	pc=$(find "$root" -name fuse3.pc) && [ -n "$pc" ] || return 1
	mkdir -p "$dir/pc"
	sed "s,^prefix=.*,prefix=$root/usr," "$pc" >"$dir/pc/fuse3.pc"
}

# Does this host's C library lack what libfuse asks for?
needs_libc()
{
	local want have

	want=$(objdump -T "$(find "$root" -name 'libfuse3.so.3.*')" |
		grep -o 'GLIBC_2[0-9.]*' | sort -uV | tail -n 1)
	have=GLIBC_$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
	[ "$(printf '%s\n' "$want" "$have" | sort -V | tail -n 1)" != "$have" ]
}

build()
{
	local flags='' libs loader

	libs=$(find "$root" -name 'libfuse3.so.3.*' -printf '%h\n')
	if needs_libc; then
		loader=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
		libs+=:$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")
		flags="-Wl,--dynamic-linker=$loader,--allow-shlib-undefined"
	fi
	# What sees nothing of libfuse is there already.
	mkdir -p "$dir/build" &&
		cp -au "$BUILD/net" "$BUILD/vhost" "$dir/build" || return 1
	PKG_CONFIG_PATH=$dir/pc make -s -C "$repo" -j"$(nproc)" O="$dir/build" \
		LDFLAGS="$flags -Wl,--disable-new-dtags -Wl,-rpath,$libs" \
		"$dir/build/uvhostd" "$dir/build/tests/unit/test_channel" \
		>"$dir/make.log" 2>&1
}

run_suite()
{
	local suite=$1 dir=$BUILD/libfuse/$1 root version

	root=$dir/root
	mkdir -p "$dir"
	[ -e "$keys" ] || { echo "SKIP: $suite: no $keys"; return 77; }
	fetch_packages || {
		echo "SKIP: $suite: $UVHOST_MIRROR does not have its libfuse: $(
			tail -n 1 "$dir/apt.log")"
		return 77
	}
	unpack && build || { cat "$dir/make.log"; return 1; }
	version=$("$dir/build/uvhostd" --version) || return 1
	echo "$suite: $version"
	case " $versions " in
	*" $version "*)
		echo "SKIP: $suite: had this one already"
		return 77
		;;
	esac
	versions+=" $version "
	if [ -n "$vm" ]; then
		"$here/vm-run.sh" --kernel "$vm" --cache "$BUILD/vm" \
			--mem 3072 --hugepages 120 --timeout 1100 \
			--env "UVHOST_NAME=$suite: " --env "BUILD=$BUILD" \
			-- "$here/libfuse.sh" --inside "$dir/build"
		return
	fi
	# shellcheck disable=SC2046 # words
	UVHOST_NAME="$suite: " UVHOST_DEV_PACKED=/dev/uvhost-packed \
		UVHOST_WRAP="$BUILD/tests/cusehost --trap-io --devices 2 $dir/build/uvhostd $devices --" \
		"$here/../run.sh" "tap:$dir/build/tests/unit/test_channel" \
		$(conf_suites)
}

case ${1-} in
--inside)
	run_inside "$2"
	exit
	;;
--vm)
	vm=$2
	shift 2
	;;
*) vm='' ;;
esac
[ $# -gt 0 ] || set -- bookworm trixie forky
status=77 versions=''
for name; do
	run_suite "$name"
	case $? in
	0) [ $status -eq 1 ] || status=0 ;;
	77) ;;
	*) status=1 ;;
	esac
done
exit $status
