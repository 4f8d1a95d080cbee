#!/bin/bash
# The guest's pid 1 on the host's files: mounts what a running system has, runs the command and powers off.
# /run/results is the host's folder: checkout and command.sh are read there; release, output and status are written there.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
export CI=true PYTHONUNBUFFERED=1
results=/run/results

# What is made in /tmp is on no overlay, as on a machine. A checkout below it stays where it is.
checkout=$(cat "$results/checkout")
mkdir /run/checkout
mount --bind "$checkout" /run/checkout
mount -t tmpfs -o mode=1777 tmpfs /tmp
[ -d "$checkout" ] || { mkdir -p "$checkout" && mount --bind /run/checkout "$checkout"; }
umount /run/checkout
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ulimit -l unlimited

uname -r >"$results/release"
echo "guest: starting the command" >/dev/console
bash "$results/command.sh" >"$results/output" 2>&1 </dev/null
echo $? >"$results/status.new"
mv "$results/status.new" "$results/status"
echo "guest: the command has ended" >/dev/console
sync
echo o >/proc/sysrq-trigger
sleep 10
/bin/busybox poweroff -f
