#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# selftest.sh - tests the test tools against fake programs and folders: the
# choice of the kernel, of the packages and of QEMU's options, and the count of
# skipped tests.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"

uv_need_tmp
fake=$uv_tmp/bin
mkdir "$fake"

# is WHAT GOT WANT
is()
{
	[ "$2" = "$3" ] || uv_die "$1: got '$2', expected '$3'"
}

# program NAME: stdin is its shell script
program()
{
	{ echo '#!/bin/bash'; cat; } >"$fake/$1"
	chmod 755 "$fake/$1"
}

# ---- kernels (initramfs.sh) -----------------------------------------------

# kernels VERSION...: those that are installed
kernels()
{
	local v

	export UVHOST_BOOT=$uv_tmp/boot UVHOST_MODULES=$uv_tmp/modules
	rm -rf "$UVHOST_BOOT" "$UVHOST_MODULES"
	mkdir "$UVHOST_BOOT" "$UVHOST_MODULES"
	for v; do
		: >"$UVHOST_BOOT/vmlinuz-$v"
		mkdir -p "$UVHOST_MODULES/$v/kernel"
	done
}

# chosen [WHICH]
chosen()
{
	"$here/initramfs.sh" --kind version ${1:+--kernel "$1"} 2>/dev/null ||
		echo none
}

kernels 6.1.0-57-amd64 6.12.117+deb12-amd64 6.12.107+deb12-amd64
is "Debian 12" "$(chosen) $(chosen 6.12) $(chosen newest)" \
	"6.1.0-57-amd64 6.12.117+deb12-amd64 6.12.117+deb12-amd64"
kernels 6.12.118+deb13-amd64 6.12.118+deb13-cloud-amd64
is "Debian 13" "$(chosen) $(chosen 6.1) $(chosen newest)" \
	"6.12.118+deb13-amd64 none 6.12.118+deb13-amd64"
kernels 7.2.9-amd64 7.2.13-amd64
is "neither series" "$(chosen) $(chosen 6.12)" "7.2.13-amd64 none"
: >"$UVHOST_BOOT/vmlinuz-7.3.1-amd64"
is "without modules" "$(chosen)" "7.2.13-amd64"
kernels
is "no kernel" "$(chosen) $(chosen newest)" "none none"

# ---- kernels of the check machine (check-vm.sh) ---------------------------

# A folder with check-vm.sh and fakes of what it calls. The kernels are what
# kernels() says; a machine passes three tests and tells its long tests.
mkdir "$uv_tmp/vm"
cp "$here/check-vm.sh" "$here/prelude.sh" "$uv_tmp/vm"
cat >"$uv_tmp/vm/initramfs.sh" <<END
#!/bin/bash
[ "\$2" != version ] || exec "$here/initramfs.sh" "\$@"
END
cat >"$uv_tmp/vm/vm-run.sh" <<'END'
#!/bin/bash
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=$2 ;;
	--out) out=$2 ;;
	UVHOST_LONG=*) long=${1#*=} ;;
	esac
	shift
done
echo "$kernel ran: $long" >&2
echo "3 0 0" >"$out/total"
END
chmod 755 "$uv_tmp"/vm/*.sh

# machines: what check-vm.sh ran, and its total
machines()
{
	UVHOST_TOTAL='' BUILD=$uv_tmp/vm "$uv_tmp/vm/check-vm.sh" \
		2>"$uv_tmp/vm/ran" >"$uv_tmp/vm/out"
	sort "$uv_tmp/vm/ran" | sed "s, *\$,,"
	tail -n 1 "$uv_tmp/vm/out"
}

kernels 6.1.0-57-amd64 6.12.117+deb12-amd64
is "check-vm of Debian 12" "$(machines)" "6.1 ran: matrix flows
6.12 ran: systemd bench
6 passed, 0 failed, 0 skipped"
kernels 6.12.118+deb13-amd64
is "check-vm of Debian 13" "$(machines)" "6.12 ran: matrix flows systemd bench
3 passed, 0 failed, 1 skipped"
grep -q '6\.1 is not installed' "$uv_tmp/vm/out" || uv_die "not told: no 6.1"
kernels 7.2.13-amd64
is "check-vm of a later one" "$(machines)" \
	"7.2.13-amd64 ran: matrix flows systemd bench
3 passed, 0 failed, 2 skipped"
unset UVHOST_BOOT UVHOST_MODULES

# ---- guests that never started --------------------------------------------

guest_running no-guest && uv_die "a guest that never started runs"

# ---- QEMU's words (vm-lib.sh) ---------------------------------------------

# qemu WORD: one whose socket chardev knows WORD
qemu()
{
	program qemu-fake <<-END
		case "\$*" in
		*,$1=*) exit 0 ;;
		*) echo "Invalid parameter" >&2; exit 1 ;;
		esac
	END
	# shellcheck disable=SC2034 # vm-lib.sh's
	guest_qemu=$fake/qemu-fake
}

qemu reconnect
is "before 9.2" "$(qemu_reconnect 2)" reconnect=2
qemu reconnect-ms
is "9.2 and later" "$(qemu_reconnect 2)" reconnect-ms=2000
unset guest_qemu

# ---- packages (deps.sh) ---------------------------------------------------

mkdir "$uv_tmp/deps"
cp "$here/../deps.sh" "$uv_tmp/deps"
cat >"$uv_tmp/deps/packages" <<'END'
need  here            something
need  old|new         something
want  gone            a test
want  there           another test
lint  checker         the source
END
program dpkg-query <<'END'
printf '%s\n' 'installed here' 'config-files there'
END
program id <<'END'
echo 0
END
# The archive's: a file, which "apt-get update" may change.
program apt-cache <<END
shift
for p; do
	! grep -qx "\$p" $uv_tmp/archive || echo "  \$p | 1.0 | somewhere"
done
END
program apt-get <<END
case " \$* " in
*" update "*) cp $uv_tmp/archive.new $uv_tmp/archive ;;
esac
case " \$* " in
*" broken "*) exit 100 ;;
esac
case \$* in
*install*) $uv_tmp/policy; [ \$? = 101 ] || echo "services start" >>$uv_tmp/apt ;;
esac
echo "\$*" | sed 's/.*Use-Pty=0/install/' >>$uv_tmp/apt
END

# deps KIND...: what it told apt-get, and its status
deps()
{
	local status

	: >"$uv_tmp/apt"
	: >"$uv_tmp/archive"
	PATH=$fake:$PATH UVHOST_POLICY=$uv_tmp/policy \
		"$uv_tmp/deps/deps.sh" "$@" >"$uv_tmp/deps.out" 2>&1
	status=$?
	[ ! -e "$uv_tmp/policy" ] || uv_die "deps.sh left its policy behind"
	echo "$(tr '\n' ';' <"$uv_tmp/apt") $status"
}

printf '%s\n' apt here new there checker >"$uv_tmp/archive.new"
is "packages" "$(deps need want)" "-q update;install new;install there; 0"
grep -qx 'not in this archive: gone (a test)' "$uv_tmp/deps.out" ||
	uv_die "not told what is missing: $(cat "$uv_tmp/deps.out")"
is "for the source" "$(deps lint)" "-q update;install checker; 0"
sed -i 's/there  /broken /' "$uv_tmp/deps/packages"
echo broken >>"$uv_tmp/archive.new"
is "what is only wanted" "$(deps want)" "-q update; 0"
sed -i 's/old|new/broken/' "$uv_tmp/deps/packages"
is "what is needed" "$(deps need)" "-q update; 1"

# ---- what is skipped (run.sh) ---------------------------------------------

program whole <<'END'
echo "SKIP: no moon"; exit 77
END
program part <<'END'
echo "SKIP: left half"; echo "SKIP: right half"
END
program tap <<'END'
printf '1..3\nok 1 - a\n# skip: no sun\nnot ok 2 # SKIP b\nok 3 - c # SKIP\n'
END
export UVHOST_JOBS=1 # in this order
out=$(cd "$fake" && UVHOST_TOTAL='' UVHOST_NAME='' V='' \
	"$here/../run.sh" sh:./whole sh:./part tap:./tap)
is "skipped" "$(sed -n '/^skipped:/,$p' <<<"$out")" "skipped:
  whole: no moon
  part: left half
  part: right half
  tap: no sun
2 passed, 0 failed, 5 skipped"
export UVHOST_TOTAL=$uv_tmp/total
"$here/../run.sh" "sh:$fake/whole" >/dev/null
is "in a larger total" "$(cat "$uv_tmp/total" "$uv_tmp/total.skipped")" \
	"0 0 1
whole: no moon"

# ---- several tests at a time (run.sh) --------------------------------------

export UVHOST_TOTAL='' UVHOST_NAME='' UVHOST_JOBS=2
# meet ME OTHER: passes if the other one runs at the same time
program meet <<END
touch $uv_tmp/\$1
for i in {1..300}; do
	[ ! -e $uv_tmp/\$2 ] || exit 0
	sleep 0.1
done
exit 1
END
program wrong <<'END'
echo "what is wrong"; exit 3
END
# On a real /dev/cuse they run one by one.
[ -e /dev/cuse ] || is "two at a time" "$("$here/../run.sh" "sh:$fake/wrong" \
	"sh:$fake/meet a b" "sh:$fake/meet b a" "sh:$fake/whole" |
	sed 's/  *(.*//; s/   */ /' | sort)" "$(sort <<'END'
wrong FAILED
 what is wrong
meet a b passed
meet b a passed
whole skipped
 no moon
skipped:
 whole: no moon
2 passed, 1 failed, 1 skipped
END
)"

# Told to end, it ends its tests first.
program long <<END
echo \$\$ >$uv_tmp/pid
exec sleep 100
END
"$here/../run.sh" "sh:$fake/long" >/dev/null &
uv_wait 10 test -s "$uv_tmp/pid" || uv_die "run.sh starts nothing"
kill $!
wait $!
is "told to end" $? 143
kill -0 "$(cat "$uv_tmp/pid")" 2>/dev/null && uv_die "run.sh left a test behind"
exit 0
