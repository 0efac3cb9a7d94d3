#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# base.sh REV - builds commit REV in $BUILD/base-HASH, unless it is there from
# before with the same CC and CFLAGS, and prints two lines: the folder that has
# its uvhostd (and tests/uvbench, if that commit has this bench), and HASH.

set -euo pipefail

build=$(cd "${BUILD:-$(dirname "$0")/../../build}" && pwd)
hash=$(git rev-parse --verify --quiet --short=12 "$1^{commit}") ||
	{ echo "base.sh: $1 is no commit" >&2; exit 1; }
dir=$build/base-$hash
stamp="${CC:=cc} ${CFLAGS=-O2 -g}"

# What "make bench BASE=REV" was called with is not for that tree.
make_there()
{
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u BASE -u O \
		-u SAN -u BUILD make -s -j"$(nproc)" -C "$dir/src" \
		"CC=$CC" "CFLAGS=$CFLAGS" "$@" >&2
}

if [ "$(cat "$dir/built" 2>/dev/null)" != "$stamp" ]; then
	echo "building $hash" >&2
	rm -rf "$dir"
	mkdir -p "$dir/src"
	git archive "$hash" | tar -x -C "$dir/src"
	make_there all
	# Scenarios of linked code need it; without it they are left out.
	[ ! -e "$dir/src/tests/bench/agent.h" ] ||
		make_there build/tests/uvbench ||
		echo "base.sh: no uvbench of $hash" >&2
	echo "$stamp" >"$dir/built"
fi
echo "$dir/src/build"
echo "$hash"
