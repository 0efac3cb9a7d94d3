#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: BSD-3-Clause
#
# vm-init.sh - init of the check machine that vm-run.sh boots.
#
# The host's root arrives over 9p, read-only, and lies under an overlay whose
# upper half is memory: everything can be written, nothing of it stays. The
# command to run is in /vm.conf and /vm.cmd, which vm-run.sh put into the
# initramfs. Its output goes to one virtio-serial port and its exit status to
# another; a machine that ends without a status has failed.

export PATH=/bin:/sbin:/usr/bin:/usr/sbin

/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
exec </dev/console >/dev/console 2>&1

fail()
{
	echo "vm-init: $*"
	poweroff -f
	# not reached, unless poweroff itself fails: let the kernel panic
	exit 1
}

load_module()
{
	while read -r load_file; do
		insmod "/modules/$load_file" 2>/dev/null
	done <"/modules/$1.list"
}

# The node of a virtio-serial port, by its name.
find_port()
{
	for port_dir in /sys/class/virtio-ports/*; do
		[ "$(cat "$port_dir/name")" = "$1" ] || continue
		echo "/dev/${port_dir##*/}"
		return 0
	done
	return 1
}

# What vm-run.sh wants to be told apart: its folders and its terminal.
vm_visible='' vm_out='' vm_tty=''
# shellcheck disable=SC1091 # made by vm-run.sh
. /vm.conf

for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
	load_module "$module"
done

port_out=$(find_port uvhost.out) || fail "no output port"
port_status=$(find_port uvhost.status) || fail "no status port"

mkdir -p /lower /upper /sysroot
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose \
	uvroot /lower || fail "cannot mount the host's root"
mount -t tmpfs -o mode=755,size=75% tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work \
	overlay /sysroot || fail "cannot mount the overlay"

# Repository and build folder may lie below one of the folders that are
# covered now: put them aside, and back afterwards.
n=0
while read -r path; do
	mkdir -p "/aside/$n"
	mount --bind "/sysroot$path" "/aside/$n" || fail "no $path on the host"
	n=$((n + 1))
done <<EOF
$vm_visible
EOF
for dir in run tmp var/tmp; do
	mkdir -p "/sysroot/$dir"
	mount -t tmpfs -o mode=1777 tmpfs "/sysroot/$dir"
done
chmod 755 /sysroot/run
mkdir -p /sysroot/run/lock /sysroot/run/udev /sysroot/run/uvhost-out
n=0
while read -r path; do
	if [ ! -d "/sysroot$path" ]; then
		mkdir -p "/sysroot$path"
		mount --bind "/aside/$n" "/sysroot$path"
	fi
	umount -l "/aside/$n"
	n=$((n + 1))
done <<EOF
$vm_visible
EOF

for dir in proc sys dev; do
	mount --bind "/$dir" "/sysroot/$dir"
done
mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /sysroot/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /sysroot/dev/shm
mount -t hugetlbfs hugetlbfs /sysroot/dev/hugepages
mount -t cgroup2 cgroup2 /sysroot/sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr

if [ -n "$vm_out" ]; then
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none \
		uvout /sysroot/run/uvhost-out || fail "cannot mount --out"
fi

ip link set lo up
hostname uvhost-vm

# Modules that the kernel asks for come from the host's folder too. It starts
# its helper here, outside the chroot.
cat >/bin/request-module <<'EOF'
#!/bin/busybox sh
exec chroot /sysroot /sbin/modprobe "$@"
EOF
chmod 755 /bin/request-module
echo /bin/request-module >/proc/sys/kernel/modprobe

cp /vm.cmd /sysroot/run/vm.cmd
echo "vm-init: up after $(cut -d ' ' -f 1 /proc/uptime) s"
if [ -n "$vm_tty" ]; then
	setsid -c chroot /sysroot /bin/sh /run/vm.cmd \
		<"/dev/$vm_tty" >"/dev/$vm_tty" 2>&1
	status=$?
else
	# A pipe, because a port can be opened only once, and a program may
	# open /dev/stderr. Leftover daemons may keep the pipe open:
	# wait for the rest of the output, but not for them.
	mkfifo /out.pipe
	cat /out.pipe >"$port_out" &
	cat_pid=$!
	chroot /sysroot /bin/sh /run/vm.cmd </dev/null >/out.pipe 2>&1
	status=$?
	(
		sleep 2
		kill "$cat_pid"
	) 2>/dev/null &
	wait "$cat_pid"
fi
dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|blocked for more' \
	>/kernel.complaints
{
	echo "status $status"
	sed 's/^/kernel /' /kernel.complaints
} >"$port_status"
poweroff -f
