#!/bin/sh
# The first program of a machine with a disk, from the initrd (rdinit=): mounts /dev/vda and goes on with its init.

export PATH=/bin
fail() {
	echo "disk: $1"
	poweroff -f
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
for module in /modules/*.ko; do
	[ ! -e "$module" ] || insmod "$module" || fail "the module $module cannot be loaded"
done
waited=0
until [ -b /dev/vda ]; do
	[ $((waited += 1)) -le 100 ] || fail "there is no /dev/vda after 10 s"
	busybox sleep 0.1
done
mount -t ext4 /dev/vda /new || fail "/dev/vda cannot be mounted"
mount --move /proc /new/proc
mount --move /sys /new/sys
mount --move /dev /new/dev
exec switch_root /new /sbin/init
