#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# install.sh - "make install" puts exactly these files into DESTDIR, each good
# for those who read it, and "make uninstall" takes them all away.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"

repo=$here/../..
uv_need_tmp
dest=$uv_tmp
failed=0 lacking=''

complain()
{
	uv_say "$*"
	failed=1
}

have()
{
	command -v "$1" >/dev/null
}

# lacks PART PACKAGE: once, though there are two rounds
lacks()
{
	case $lacking in *" $1;"*) return ;; esac
	lacking="$lacking $1;"
	uv_skip_part "$1 not looked at (Debian: $2)"
}

run_make()
{
	local out

	out=$(make -s -C "$repo" "O=$BUILD" "DESTDIR=$dest" "$@" \
		2>&1) || uv_die "make $*: $out"
}

installed()
{
	(cd "$dest" && find . ! -type d -printf '%m %p\n' | sort -k 2)
}

# check_files PREFIX: the list, with the modes.
check_files()
{
	local want

	want=$(sort -k 2 <<-EOT
		711 .$1/libexec/uvhost/uvhost-worker
		755 .$1/sbin/uvhost-keeper
		755 .$1/sbin/uvhostd
		644 .$1/include/uvhost/frontend.h
		644 .$1/lib/libuvhost.a
		644 .$1/lib/libuvhost.so.0
		644 .$1/lib/pkgconfig/uvhost.pc
		777 .$1/lib/libuvhost.so
		644 .$1/lib/modules-load.d/uvhostd.conf
		644 .$1/lib/systemd/system/uvhostd.service
		644 .$1/lib/udev/rules.d/60-uvhostd.rules
		644 .$1/share/man/man3/libuvhost.3
		644 .$1/share/man/man8/uvhost-keeper.8
		644 .$1/share/man/man8/uvhost-worker.8
		644 .$1/share/man/man8/uvhostd.8
		644 .$1/share/qemu/vhost-user/50-uvhostd.json
	EOT
	)
	[ "$(installed)" = "$want" ] ||
		complain "installed with PREFIX=$1:" $'\n'"$(diff \
			<(echo "$want") <(installed))"
}

check_unit()
{
	local unit=$dest$1/lib/systemd/system/uvhostd.service out

	! grep -n '@[A-Z]*@' "$unit" || complain "the unit has gaps"
	grep -q "^ExecStart=$1/sbin/uvhostd\b" "$unit" ||
		complain "the unit starts $(grep ^ExecStart= "$unit")"
	have systemd-analyze || { lacks "unit file" systemd; return 0; }
	# The unit names the program where it will be.
	sed "s,^ExecStart=,&$dest," "$unit" >"$dest/uvhostd.service"
	if ! out=$(systemd-analyze verify --man=no "$dest/uvhostd.service" \
		2>&1) || grep -q uvhostd <<<"$out"; then
		complain "systemd-analyze verify: $out"
	fi
	rm "$dest/uvhostd.service"
}

check_manual()
{
	local page=$dest$1/share/man/man8/uvhostd.8 out

	if have groff; then
		out=$(groff -mandoc -ww -z -Tutf8 "${page%/*}"/* 2>&1)
		[ -z "$out" ] || complain "groff: $out"
		grep -q "^\.It Pa $1/libexec/uvhost/uvhost-worker$" \
			"${page%/*}/uvhost-worker.8" ||
			complain "uvhost-worker(8) is elsewhere"
	else
		lacks "manual's warnings" groff-base
	fi
	have man || { lacks "manual's options" man-db; return 0; }
	out=$(LC_ALL=C MANWIDTH=100 man --warnings=w -l "$page" \
		2>&1 >"$dest/page")
	[ -z "$out" ] || complain "man: $out"
	# every option is described
	out=$("$dest$1/sbin/uvhostd" --help | grep -oE -- '--[a-z][a-z-]+' |
		sort -u | while read -r option; do
		grep -qE -- "^ +(-.*, )?$option\\b" "$dest/page" || echo "$option"
	done)
	[ -z "$out" ] || complain "not in the manual:" "$out"
	rm "$dest/page"
}

# udevadm has "verify" from systemd 254 on.
check_rules()
{
	local rules=$dest$1/lib/udev/rules.d/60-uvhostd.rules out

	udevadm verify --help >/dev/null 2>&1 ||
		{ lacks "udev rule" "systemd 254 or later"; return 0; }
	out=$(udevadm verify --no-summary "$rules" 2>&1) ||
		complain "udevadm verify: $out"
}

check_library()
{
	local page=$dest$1/share/man/man3/libuvhost.3 out

	[ "$(readlink "$dest$1/lib/libuvhost.so")" = libuvhost.so.0 ] ||
		complain "libuvhost.so leads to nowhere"
	! grep -n '@[A-Z]*@' "$dest$1/lib/pkgconfig/uvhost.pc" ||
		complain "uvhost.pc has gaps"
	grep -qx "prefix=$1" "$dest$1/lib/pkgconfig/uvhost.pc" ||
		complain "uvhost.pc is for another prefix"
	have groff || return 0
	out=$(groff -mandoc -ww -z -Tutf8 "$page" 2>&1)
	[ -z "$out" ] || complain "groff: $out"
}

check_program()
{
	"$dest$1/sbin/uvhostd" --version | grep -q '^uvhostd ' ||
		complain "the installed program does not run"
	"$dest$1/libexec/uvhost/uvhost-worker" --version |
		grep -q '^uvhost-worker ' ||
		complain "the installed uvhost-worker does not run"
}

for prefix in /usr /usr/local; do
	run_make "PREFIX=$prefix" install
	check_files $prefix
	check_program $prefix
	check_unit $prefix
	check_manual $prefix
	check_library $prefix
	check_rules $prefix
	run_make "PREFIX=$prefix" uninstall
	[ -z "$(installed)" ] || complain "left behind:" "$(installed)"
done
[ $failed = 0 ]
