#!/bin/sh
# The guest's first program, from the initrd: mounts the host's files, with memory on top for what is written,
# and goes on with the guest.sh of the results folder there. Reports in lines that the console shows.

export PATH=/bin
fail() {
	echo "guest: $1"
	poweroff -f
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
for module in /modules/*; do
	[ ! -e "$module" ] || insmod "$module" || fail "the module $module cannot be loaded"
done
mount -t virtiofs -o ro root /lower || fail "the host's files cannot be mounted"
mount -t tmpfs -o mode=755 tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new || fail "no overlay to be had"
mount --move /proc /new/proc
mount --move /sys /new/sys
mount --move /dev /new/dev
mount -t tmpfs -o mode=755 tmpfs /new/run
mkdir -p /new/run/results /new/run/lock
mount -t virtiofs results /new/run/results || fail "the folder for results cannot be mounted"
ip link set lo up
echo "guest: the host's files are mounted"
exec switch_root /new /bin/bash /run/results/guest.sh
