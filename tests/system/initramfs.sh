#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# initramfs.sh - make what a test machine boots from, out of the kernels and
# modules that are installed on this host. See usage() below.
#
# Nothing is compressed: an emulated CPU unpacks slowly and QEMU loads files
# fast. For the same reason --kind kernel takes the ELF image out of
# /boot/vmlinuz-VERSION: QEMU starts it through its PVH entry, and the guest
# neither decompresses nor relocates itself (4 s saved for an xz kernel).
#
# A result is kept as long as its inputs stay the same. They are listed, with
# size and time, in OUT.inputs.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
set -e

usage()
{
	cat <<'EOF'
usage: initramfs.sh --kind outer|guest|kernel --out FILE [options]
       initramfs.sh --kind version [--kernel WHICH]

  --kind outer     initramfs of the check machine (vm-init.sh, root over 9p)
  --kind guest     initramfs of a test guest (guest-init.sh)
  --kind kernel    bootable kernel image, unpacked where that is possible
  --kind version   print the version that --kernel stands for, make nothing
  --kernel WHICH   6.1, 6.12 (the newest installed of that series), "newest" of
                   all, or a full version; default: 6.1, else newest
  --job FILE       put FILE into the initramfs as /job
  --add SRC=DEST   put SRC there as DEST (absolute); may be repeated
  --base FILE      copy this initramfs instead of making one, then add to it
  --force          make it again even if nothing changed
EOF
}

die()
{
	echo "initramfs.sh: $*" >&2
	exit 1
}

# The newest installed kernel of a series ("newest": of all), or exactly the one
# named. A kernel counts if both its image and its modules are there.
find_kernel()
{
	local want=$1 f v files

	files=("$boot/vmlinuz-$want" "$boot/vmlinuz-$want".*
		"$boot/vmlinuz-$want"-*)
	[ "$want" != newest ] || files=("$boot"/vmlinuz-*)
	for f in "${files[@]}"; do
		v=${f##*/vmlinuz-}
		if [ ! -r "$f" ] || [ ! -d "$modules/$v/kernel" ]; then
			continue
		fi
		# variants have to be asked for by their full name
		case $v in
		"$want") ;;
		*-rt-* | *-cloud-* | *.old) continue ;;
		esac
		echo "$v"
	done | sort -V | tail -n 1
}

pick_kernel()
{
	local v

	if [ -n "$kernel" ]; then
		v=$(find_kernel "$kernel")
		[ -n "$v" ] || die "no kernel $kernel: need" \
			"$boot/vmlinuz-$kernel* and $modules/$kernel*" \
			"(Debian: linux-image-amd64; linux-image-6.12-amd64 in" \
			"Debian 12)"
	else
		v=$(find_kernel 6.1)
		[ -n "$v" ] || v=$(find_kernel newest)
		[ -n "$v" ] || die "no kernel in $boot (Debian: apt install" \
			"linux-image-amd64)"
	fi
	echo "$v"
}

# One module and what it needs, in load order, as files of the host. Prints
# nothing for what is built in. Fails if the kernel does not have it.
module_files()
{
	local out

	out=$(modprobe -S "$version" --show-depends "$1" 2>/dev/null) ||
		return 1
	awk '$1 == "insmod" { print $2 }' <<<"$out"
}

# Copies modules to TREE/modules and writes TREE/modules/NAME.list, the file
# names in load order, for the init's load_module().
add_modules()
{
	local tree=$1 name f b files
	shift

	mkdir -p "$tree/modules"
	for name; do
		files=$(module_files "$name") ||
			die "kernel $version has no module $name"
		: >"$tree/modules/$name.list"
		for f in $files; do
			b=$(basename "$f")
			b=${b%.xz}
			b=${b%.zst}
			b=${b%.gz}
			echo "$b" >>"$tree/modules/$name.list"
			[ ! -e "$tree/modules/$b" ] || continue
			case $f in
			*.xz) xz -dc "$f" ;;
			*.zst) zstd -dcq "$f" ;;
			*.gz) gzip -dc "$f" ;;
			*) cat "$f" ;;
			esac >"$tree/modules/$b"
		done
	done
}

find_busybox()
{
	local b

	b=$(command -v busybox) || die "no busybox (Debian: busybox-static)"
	if ldd "$b" >/dev/null 2>&1; then
		die "$b is not static (Debian: busybox-static)"
	fi
	echo "$b"
}

# TREE as a cpio archive on stdout, owned by root whatever user runs this.
pack()
{
	(cd "$1" && find . -mindepth 1 -print0 | sort -z |
		cpio --quiet -0 -o -H newc -R 0:0)
}

add_extras()
{
	local tree=$1 pair dest

	if [ -n "$job" ]; then
		install -m 755 "$job" "$tree/job"
	fi
	for pair in ${adds[@]+"${adds[@]}"}; do
		dest=$tree${pair#*=}
		mkdir -p "$(dirname "$dest")"
		cp -L "${pair%%=*}" "$dest"
	done
}

make_initramfs()
{
	local init=$1
	shift

	mkdir -p "$tmp/tree"/{bin,proc,sys,dev,tmp,run,etc}
	cp "$(find_busybox)" "$tmp/tree/bin/busybox"
	install -m 755 "$here/$init" "$tmp/tree/init"
	add_modules "$tmp/tree" "$@"
	add_extras "$tmp/tree"
	pack "$tmp/tree" >"$tmp/out"
}

# Archives may follow one another, the later file wins: an initramfs that is
# there already is extended, not made again.
extend_initramfs()
{
	mkdir -p "$tmp/tree"
	add_extras "$tmp/tree"
	cp "$base" "$tmp/out"
	# each archive starts on a multiple of four
	truncate -s %4 "$tmp/out"
	pack "$tmp/tree" >>"$tmp/out"
}

# A little-endian number of N bytes at an offset of FILE.
peek()
{
	od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# Documentation/arch/x86/boot.rst: payload_offset counts from the end of the
# setup sectors; the last four bytes of the payload are its unpacked size.
make_kernel()
{
	local image=$boot/vmlinuz-$version setup start length magic tool

	cp "$image" "$tmp/out"
	[ "$(peek "$image" $((0x202)) 2)" -ge $((0x208)) ] || return 0
	setup=$(peek "$image" $((0x1f1)) 1)
	[ "$setup" -gt 0 ] || setup=4
	start=$(((setup + 1) * 512 + $(peek "$image" $((0x248)) 4)))
	length=$(($(peek "$image" $((0x24c)) 4) - 4))
	magic=$(od -An -v -t x1 -j "$start" -N 4 "$image" | tr -d ' ')
	case $magic in
	fd377a58) tool='xz -dc --single-stream' ;;
	28b52ffd) tool='zstd -dcq' ;;
	1f8b*) tool='gzip -dcq' ;;
	*) return 0 ;;
	esac
	# not a pipe: head would end tail early, and that counts as a failure
	tail -c +$((start + 1)) "$image" >"$tmp/payload"
	truncate -s "$length" "$tmp/payload"
	if ! $tool <"$tmp/payload" >"$tmp/vmlinux" 2>"$tmp/err"; then
		echo "initramfs.sh: $image not unpacked, guests will start" \
			"more slowly: $(head -n 1 "$tmp/err")" >&2
		return 0
	fi
	# QEMU needs the Xen PHYS32_ENTRY note (CONFIG_PVH) to start an ELF.
	if [ "$(head -c 4 "$tmp/vmlinux" | tail -c 3)" = ELF ] &&
		grep -qs '^CONFIG_PVH=y' "$boot/config-$version"; then
		mv "$tmp/vmlinux" "$tmp/out"
	fi
}

# Everything the result depends on, one line each.
inputs()
{
	local pair f

	echo "$kind $version ${adds[*]-}"
	for f in "${BASH_SOURCE[0]}" "$here/vm-init.sh" "$here/guest-init.sh" \
		"$(command -v busybox || true)" "$boot/vmlinuz-$version" \
		"$modules/$version/modules.dep" "$job" "$base"; do
		[ -z "$f" ] || stat -L -c '%n %s %.9Y' "$f"
	done
	for pair in ${adds[@]+"${adds[@]}"}; do
		stat -L -c '%n %s %.9Y' "${pair%%=*}"
	done
}

# Kernels and modules of another folder: for the test of this script.
boot=${UVHOST_BOOT:-/boot} modules=${UVHOST_MODULES:-/lib/modules}
kind='' kernel='' out='' job='' base='' force=''
adds=()
while [ $# -gt 0 ]; do
	case $1 in
	--kind | --kernel | --out | --job | --base | --add)
		[ $# -ge 2 ] || die "$1 needs a value"
		case $1 in
		--add)
			[[ $2 == ?*=/* ]] || die "--add wants SRC=/DEST"
			adds+=("$2")
			;;
		*) printf -v "${1#--}" %s "$2" ;;
		esac
		shift
		;;
	--force) force=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
	shift
done

# modprobe lives where an ordinary user's PATH does not look
PATH=$PATH:/usr/sbin:/sbin
version=$(pick_kernel)
case $kind in
version)
	echo "$version"
	exit 0
	;;
outer | guest | kernel) ;;
*)
	usage >&2
	exit 2
	;;
esac
[ -n "$out" ] || die "--out is missing"
for tool in cpio modprobe; do
	command -v "$tool" >/dev/null ||
		die "no $tool (Debian: apt install cpio kmod)"
done

now=$(inputs)
if [ -z "$force" ] && [ -e "$out" ] && [ -e "$out.inputs" ] &&
	[ "$(cat "$out.inputs")" = "$now" ]; then
	exit 0
fi

mkdir -p "$(dirname "$out")"
# beside the result, so that it appears in one step
tmp=$(mktemp -d "$out.XXXXXX")
uv_at_exit 'rm -rf "$tmp"'
if [ -n "$base" ]; then
	extend_initramfs
else
	case $kind in
	outer) make_initramfs vm-init.sh virtio_pci virtio_console \
		9pnet_virtio 9p overlay ;;
	guest) make_initramfs guest-init.sh virtio_pci virtio_net e1000 ;;
	kernel) make_kernel ;;
	esac
fi
echo "$now" >"$tmp/inputs"
mv "$tmp/out" "$out"
mv "$tmp/inputs" "$out.inputs"
