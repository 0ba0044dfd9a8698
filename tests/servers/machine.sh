#!/usr/bin/env bash
# The small Debian as a machine of its own, where BINARY is sendmail: machine.sh STATE BINARY.
# What changes on such a machine is below STATE: STATE/etc is its /etc. Whoever runs something there enters the namespaces
# of the process that is printed; they end with all that runs in them.
. "$(dirname "$0")/common.sh"

own=(dev etc home root run tmp var)
for folder in "${own[@]}"; do
    cp -a "$root/$folder" "$state/$folder"
done
chmod 755 "$state"
chmod 700 "$state/root"
install -d -o 1001 -g 1001 "$state/home/carla"
# What packages bring is not what these tests run.
rm -f "$state"/etc/cron.*/*
: > "$state/etc/crontab"
: > "$state/etc/environment"
printf '%s required pam_permit.so\n' auth account session | tee "$state/etc/pam.d/cron" > "$state/etc/pam.d/other"

# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 state=$2 binary=$3
    for folder in "${@:4}"; do
        mount --bind "$state/$folder" "$root/$folder"
    done
    for program in sbin/sendmail bin/mail bin/mailsend; do
        mount --bind "$binary" "$root/usr/$program"
    done
    mount -t proc proc "$root/proc"
    # The machine has mounted this /proc, so the number is that of the machine.
    read -r process _ < /proc/self/stat
    echo "process $process"
    cd /
    exec chroot "$root" /bin/sh -c "echo ready; while read -r _; do :; done"
' machine "$root" "$state" "$2" "${own[@]}"
