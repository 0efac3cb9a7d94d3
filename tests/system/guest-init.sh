#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: BSD-3-Clause
#
# guest-init.sh - init of a test guest: the machine whose network card is
# under test. It brings the card up, runs one job and powers off.
#
# From the kernel command line:
#   uv.ip=ADDR/LEN[,ADDR/LEN...]  addresses of eth0, eth1, ... (- for none)
#   uv.peer=ADDR      the other end, for the jobs that talk to it
#   uv.mtu=N          MTU of every card
#   uv.queues=N       the job fails unless eth0 has N pairs of queues
#   uv.job=NAME       a job_NAME below; default: /job if there is one, or info
#   uv.arg=WORD       handed to the job as $1 (/ separates further words)
#   uv.end=poweroff|reboot|stay   what follows the job
#
# Speaks on the console, one event a line, always starting with "uv: ", so
# that a test can wait for it:
#   uv: up SECONDS                 the kernel has handed over
#   uv: eth0 driver=... queues=... features=...    a card
#   uv: ready SECONDS              addresses are set, the job begins
#   uv: done STATUS SECONDS        it has ended
# A job (a shell script, /job) sees uv_ip, uv_peer, uv_arg... and the functions
# of this file.

export PATH=/bin:/sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
# The console is the job's: a warning of the kernel's (a clock that was late on a
# busy host) in the middle of an output would be taken for it. A panic still shows.
echo 1 >/proc/sys/kernel/printk
exec </dev/console >/dev/console 2>&1
# plain lines, no echo of what the test types
stty -onlcr -echo

uptime_s()
{
	cut -d ' ' -f 1 /proc/uptime
}

say()
{
	echo "uv: $*"
}

load_module()
{
	while read -r load_file; do
		insmod "/modules/$load_file" 2>/dev/null
	done <"/modules/$1.list"
}

# A driver for every PCI device that we know one for.
load_drivers()
{
	for pci in /sys/bus/pci/devices/*; do
		read -r vendor <"$pci/vendor"
		read -r device <"$pci/device"
		case $vendor:$device in
		0x1af4:*) load_module virtio_pci ;;
		esac
		case $vendor:$device in
		0x1af4:0x1000 | 0x1af4:0x1041) load_module virtio_net ;;
		0x8086:0x100e) load_module e1000 ;;
		esac
	done
}

count()
{
	set -- "$@"
	[ -e "$1" ] || set --
	echo $#
}

# Queue pairs in use: a driver has as many tx queues as it enabled; what the
# device would allow shows in the number of queue folders.
queue_pairs()
{
	count /sys/class/net/"$1"/queues/tx-*
}

driver_of()
{
	basename "$(readlink /sys/class/net/"$1"/device/driver)"
}

# As the driver's set of bits, bit 0 first; - where there are none.
features_of()
{
	cat /sys/class/net/"$1"/device/features 2>/dev/null || echo -
}

describe()
{
	say "$1 driver=$(driver_of "$1") queues=$(queue_pairs "$1")" \
		"mac=$(cat /sys/class/net/"$1"/address)" \
		"mtu=$(cat /sys/class/net/"$1"/mtu)" \
		"features=$(features_of "$1")"
}

set_up_cards()
{
	addresses=$(echo "$uv_ip" | tr ',' ' ')
	n=0
	while [ -e "/sys/class/net/eth$n" ]; do
		# shellcheck disable=SC2086 # a list
		set -- $addresses
		shift "$n" 2>/dev/null || set --
		[ -z "$uv_mtu" ] || ip link set "eth$n" mtu "$uv_mtu"
		ip link set "eth$n" up
		case ${1:--} in
		-) ;;
		*) ip addr add "$1" dev "eth$n" ;;
		esac
		describe "eth$n"
		n=$((n + 1))
	done
	[ "$n" -gt 0 ] || say "no network card"
}

check_queues()
{
	[ -n "$uv_queues" ] || return 0
	[ "$(queue_pairs eth0)" = "$uv_queues" ] && return 0
	say "eth0 has $(queue_pairs eth0) queue pairs, not $uv_queues"
	return 1
}

# Until the other end answers: the first packets may meet a switch or a port
# that is not up yet.
wait_peer()
{
	tries=0
	until ping -c 1 -W 1 "$uv_peer" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 30 ] || return 1
	done
}

# The jobs. Each gets the words of uv.arg and returns a status.

job_info()
{
	ip addr
	grep -E 'virtio|eth|e1000' /proc/interrupts
	true
}

# COUNT SIZE
job_ping()
{
	wait_peer && ping -c "${1:-5}" -s "${2:-56}" -i 0.2 "$uv_peer"
}

# Serves without end: echo on TCP and UDP 7, a folder over HTTP on port 80. The
# file /www/blob has $1 MiB of bytes that differ from page to page.
job_serve()
{
	mkdir -p /www
	make_blob "${1:-4}" >/www/blob
	md5sum /www/blob
	nc -lk -p 7 -e cat &
	httpd -h /www -p 80
	say "serving"
	wait
}

# URL path (default blob) from the peer's port 80; prints its md5sum.
job_fetch()
{
	wait_peer || return 1
	start=$(uptime_s)
	wget -q -O - "http://$uv_peer/${1:-blob}" | md5sum
	say "fetched from $start to $(uptime_s)"
}

make_blob()
{
	yes "the quick brown fox $1" | head -c $(($1 << 20)) | nl
}

# Runs what the console says, a line at a time: the test stays in charge.
# After each command: "uv: rc STATUS". Ends with the input or on "exit".
job_agent()
{
	say "agent"
	while read -r agent_line; do
		[ "$agent_line" != exit ] || break
		eval "$agent_line"
		say "rc $?"
	done
}

job_shell()
{
	stty sane
	setsid cttyhack sh
}

uv_ip='' uv_peer='' uv_mtu='' uv_queues='' uv_job='' uv_arg='' uv_end=poweroff
# shellcheck disable=SC2013 # words are wanted
for word in $(cat /proc/cmdline); do
	case $word in
	uv.ip=*) uv_ip=${word#*=} ;;
	uv.peer=*) uv_peer=${word#*=} ;;
	uv.mtu=*) uv_mtu=${word#*=} ;;
	uv.queues=*) uv_queues=${word#*=} ;;
	uv.job=*) uv_job=${word#*=} ;;
	uv.arg=*) uv_arg=$(echo "${word#*=}" | tr '/' ' ') ;;
	uv.end=*) uv_end=${word#*=} ;;
	esac
done

say "up $(uptime_s)"
load_drivers
ip link set lo up
set_up_cards
say "ready $(uptime_s)"

if ! check_queues; then
	status=1
elif [ -n "$uv_job" ]; then
	# shellcheck disable=SC2086 # a list
	"job_$uv_job" $uv_arg
	status=$?
elif [ -e /job ]; then
	# shellcheck disable=SC2086,SC1091 # a list
	(set -- $uv_arg && . /job)
	status=$?
else
	job_info
	status=$?
fi
say "done $status $(uptime_s)"

case $uv_end in
stay) while :; do sleep 3600; done ;;
reboot) reboot -f ;;
*) poweroff -f ;;
esac
# not reached: the kernel panics if even that failed
