#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# deps.sh KIND... - installs what is missing of the Debian packages of these
# kinds in tests/packages, and starts no service that comes with them.
#
# Exits with 0 unless a package is missing that is not of kind "want".

set -uo pipefail

list=$(dirname "$0")/packages

installed()
{
	# shellcheck disable=SC2016 # dpkg's words
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
		sed -n 's/^installed //p'
}

# archive_has PACKAGE...: prints those that the archive has. Before the first
# "apt-get update" it has none.
archive_has()
{
	apt-cache madison "$@" 2>/dev/null | sed 's/ *|.*//; s/^ *//' | sort -u
}

# pick FILE NAME|NAME...: the first of the names that is a line of FILE
pick()
{
	local name

	for name in ${2//|/ }; do
		! grep -qxF -- "$name" "$1" || { echo "$name"; return 0; }
	done
	return 1
}

# apt_install PACKAGE...
apt_install()
{
	echo "installing: $*"
	[ "$(id -u)" = 0 ] ||
		{ echo "not root: apt-get install $*" >&2; return 1; }
	DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 "$@"
}

# read_list KIND...: lines of those kinds whose package is not installed
read_list()
{
	local kind names what

	installed >"$tmp/installed"
	while read -r kind names what; do
		case " $* " in *" $kind "*) ;; *) continue ;; esac
		pick "$tmp/installed" "$names" >/dev/null ||
			echo "$kind $names $what"
	done <"$list" >"$tmp/missing"
}

# Writes the packages to install to $tmp/need and $tmp/want.
choose()
{
	local kind names what name

	: >"$tmp/need"
	: >"$tmp/want"
	# shellcheck disable=SC2046 # words
	archive_has $(awk '{ gsub(/\|/, " ", $2); print $2 }' \
		"$tmp/missing") >"$tmp/archive"
	while read -r kind names what; do
		name=$(pick "$tmp/archive" "$names") || name=''
		case $kind:$name in
		want:) echo "not in this archive: $names ($what)" ;;
		want:*) echo "$name" >>"$tmp/want" ;;
		*:) echo "${names%%|*}" >>"$tmp/need" ;; # apt-get says it
		*) echo "$name" >>"$tmp/need" ;;
		esac
	done <"$tmp/missing"
}

# Packages start no service while they are configured.
no_services()
{
	policy=${UVHOST_POLICY:-/usr/sbin/policy-rc.d}
	[ ! -e "$policy" ] || { policy=''; return 0; }
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
}

policy=''
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" ${policy:+"$policy"}' EXIT
read_list "$@"
[ -s "$tmp/missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
	# Not for a package that is only wanted: the archive may lack it for
	# good, and each "make check" would ask again.
	if grep -qv '^want' "$tmp/missing" || [ -z "$(archive_has apt)" ]; then
		apt-get -q update || exit 1
	fi
	no_services || exit 1
fi
choose
if [ -s "$tmp/need" ]; then
	# shellcheck disable=SC2046 # words
	apt_install $(cat "$tmp/need") || exit 1
fi
if [ -s "$tmp/want" ]; then
	# shellcheck disable=SC2046 # words
	apt_install $(cat "$tmp/want") ||
		echo "some tests will be skipped" >&2
fi
exit 0
