#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ipxe.sh vhostfd|vhost-user [PROPERTIES] - a guest with no disk and no kernel:
# iPXE in its network card's ROM gets an address, a script, a kernel and an
# initramfs over a network of ours, from a dnsmasq behind a tap. Then Linux has
# the card that iPXE had before, and pings where it came from.
#
#   PROPERTIES  of virtio-net-pci, comma-separated: disable-modern=on, ...

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/spaces.sh
. "$here/spaces.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

attach=${1-} properties=${2-}
guest_mem=256
ip=10.1.0.1
uv_need_root "taps and namespaces need root"
command -v dnsmasq >/dev/null || uv_skip "no dnsmasq (Debian: dnsmasq-base)"
qemu_has_file efi-virtio.rom || uv_skip "no efi-virtio.rom (Debian: ipxe-qemu)"
[ -n "${UV_NETNS-}" ] || { in_netns "$0" "$@"; exit; }
# Both processes have the same folder; the first removes it.
[ -n "${IPXE_TMP-}" ] || { uv_need_tmp; export IPXE_TMP=$uv_tmp; }
uv_tmp=$IPXE_TMP

device_args="--net boot --port boot,tap:uvt0"
device_args="$device_args --device uvhost-net,net=boot"
device_args="$device_args --socket-path $uv_tmp/user,net=boot"

cleanup()
{
	guest_stop_all
	spaces_stop
	device_stop
}
device_start "$@"
uv_at_exit cleanup

# iPXE starts no ELF file: the kernel as it was installed.
server_files()
{
	local version

	# shellcheck disable=SC2119 # no kernel named
	[ -n "${guest_kernel-}" ] || guest_prepare || return 1
	version=${guest_kernel##*/kernel-}
	mkdir -p "$uv_tmp/tftp"
	cp "/boot/vmlinuz-$version" "$uv_tmp/tftp/kernel" &&
		cp "$guest_initrd" "$uv_tmp/tftp/initrd" || return 1
	cat >"$uv_tmp/tftp/boot.ipxe" <<-END
		#!ipxe
		echo uvhost: the script runs on \${net0/mac}
		kernel kernel initrd=initrd console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off random.trust_cpu=on nokaslr uv.ip=10.1.0.99/24 uv.peer=$ip uv.job=agent || reboot
		initrd initrd || reboot
		boot || reboot
	END
}

server()
{
	space server && space_take server uvt0 &&
		space_addr server "$ip/24" || return 1
	: >"$uv_tmp/dnsmasq"
	nsenter -t "${space_pids[server]}" -n dnsmasq --keep-in-foreground \
		--conf-file=/dev/null --port=0 --user=root --pid-file= \
		--log-facility=- --log-dhcp --leasefile-ro \
		--interface=eth0 --bind-interfaces \
		--dhcp-range=10.1.0.50,10.1.0.60,1h --dhcp-boot=boot.ipxe \
		--enable-tftp --tftp-root="$uv_tmp/tftp" \
		</dev/null >"$uv_tmp/dnsmasq" 2>&1 &
	spaces_more+=($!)
	uv_wait 20 grep -q 'DHCP, IP range' "$uv_tmp/dnsmasq"
}

card=virtio-net-pci,netdev=n0,bootindex=1${properties:+,$properties}
case $attach in
vhostfd)
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	ip tuntap add dev uvb0 mode tap vnet_hdr || uv_die "cannot make a tap"
	args=(-netdev "tap,id=n0,ifname=uvb0,script=no,downscript=no,vhost=on,vhostfd=30")
	;;
vhost-user)
	[ "$(uv__accel)" = kvm ] || card=$card,vectors=0
	args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
		-machine memory-backend=m
		-chardev "socket,id=c0,path=$uv_tmp/user"
		-netdev "vhost-user,id=n0,chardev=c0")
	;;
*) uv_die "vhostfd or vhost-user?" ;;
esac

server_files || uv_die "no kernel to boot"
server || uv_die "no server: $(cat "$uv_tmp/dnsmasq")"
# The BIOS and iPXE speak on the serial line where there is no screen.
guest_boot='' guest_machine=pc,graphics=off
guest_start g '' "${args[@]}" -device "$card" || uv_die "no guest"
guest_wait g 'uvhost: the script runs on ([0-9a-f]{2}:){5}' 60 ||
	uv_die "iPXE did not get its script: $(tail -n 5 "$uv_tmp/dnsmasq")"
guest_wait g '^uv: agent' 90 || uv_die "Linux did not come"
out=$(guest_cmd g "ping -c 5 -i 0.2 $ip" 60)
grep -q ' 0% packet loss' <<<"$out" || uv_die "the guest cannot ping: $out"
for file in boot.ipxe kernel initrd; do
	grep -q "sent .*/$file to 10.1.0.5" "$uv_tmp/dnsmasq" ||
		uv_die "$file was not sent: $(cat "$uv_tmp/dnsmasq")"
done
device_counters >/dev/null
if grep -E 'error:|warning:|errors [1-9]' "$device_log"; then
	uv_die "the daemon complains"
fi
echo "ipxe $attach${properties:+ $properties}:" \
	"$(du -bc "$uv_tmp"/tftp/* | tail -n 1 | cut -f 1) bytes over TFTP," \
	"and Linux runs"
