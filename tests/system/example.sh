#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# example.sh - a program that knows nothing but the installed header and
# pkg-config is built against an installation, static and shared, C and C++,
# and finds its way to the device.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
: "${CC:=cc}"

repo=$here/../..
uv_need_tmp
dest=$uv_tmp

daemon=''

cleanup()
{
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
}
uv_at_exit cleanup

make -s -C "$repo" "O=$BUILD" "DESTDIR=$dest" PREFIX=/usr \
	install >"$dest/log" 2>&1 || uv_die "make install: $(cat "$dest/log")"

# The installation is not where it says it is.
export PKG_CONFIG_PATH=$dest/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
[ "$(pkg-config --modversion uvhost)" = \
	"$(sed -n 's/^VERSION := //p' "$repo/Makefile")" ] ||
	uv_die "pkg-config: $(pkg-config --modversion uvhost 2>&1)"

# build OUTPUT FLAGS...
build()
{
	local output=$1
	shift

	# shellcheck disable=SC2046 # words
	"$CC" -Wall -Wextra -Werror -o "$dest/$output" \
		"$repo/tests/example/uvhost-example.c" "$@" ||
		uv_die "the example does not compile"
}

# shellcheck disable=SC2046 # words
build shared $(pkg-config --cflags --libs uvhost)
# shellcheck disable=SC2046 # words
build static $(pkg-config --cflags uvhost) "$dest/usr/lib/libuvhost.a" -pthread
export LD_LIBRARY_PATH=$dest/usr/lib

if command -v c++ >/dev/null; then
	# shellcheck disable=SC2046 # words
	c++ -Wall -Wextra -Werror -fsyntax-only $(pkg-config --cflags uvhost) \
		-x c++ - <<-EOT || uv_die "the header is no C++"
		#include <uvhost/frontend.h>
		int main() { return uvh_queue_count(nullptr) > 0; }
	EOT
else
	uv_skip_part "header not looked at as C++ (Debian: g++)"
fi

"$BUILD/uvhostd" --log-level warning --socket-path "$dest/sock,port=null" &
daemon=$!
wait_for_path "$dest/sock" 10 || uv_die "no uvhostd"

for program in shared static; do
	out=$("$dest/$program" "$dest/sock" 2>&1) || uv_die "$program sock: $out"
	[[ $out == *"user, 2 rings"*VERSION_1* ]] || uv_die "said: $out"
	out=$("$dest/$program" inproc 2>&1) || uv_die "$program inproc: $out"
	[[ $out == *"inproc, 2 rings"*VERSION_1* ]] || uv_die "said: $out"
	out=$("$dest/$program" /dev/null 2>&1) && uv_die "/dev/null is no device"
	[[ $out == *"Inappropriate ioctl"* ]] || uv_die "/dev/null: $out"
	# shellcheck disable=SC2086 # a command line
	out=$(${UVHOST_WRAP-} "$dest/$program" \
		"${UVHOST_DEV:-/dev/uvhost-net}" 2>&1) ||
		uv_die "$program: $out"
	[[ $out == *"kernel, 2 rings"*MRG_RXBUF* ]] || uv_die "said: $out"
done

# What is exported is the interface and nothing else.
nm -D --defined-only "$dest/usr/lib/libuvhost.so.0" |
	awk '$2 != "A" && $3 !~ /^uvh_/' | grep . &&
	uv_die "exported by the shared library"
nm -g --defined-only "$dest/usr/lib/libuvhost.a" 2>/dev/null |
	awk 'NF == 3 && $3 !~ /^uvh_/' | grep . &&
	uv_die "global in the static library"
exit 0
