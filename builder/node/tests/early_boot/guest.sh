#!/bin/busybox sh
# The system that early boot hands over to: says what it finds, and powers off.
b=/bin/busybox
say() { echo "guest: $*"; }
was() { if [ -e "$1" ]; then echo yes; else echo no; fi; }

say "pid $$"
say "arguments $*"
say "$($b cat /file) $($b cat /shadowed)"
[ -e /hidden ] || say "hidden file is gone"
$b touch /x 2>/dev/null || say "/ is read-only"
[ -e /etc/from-site ] && say "/etc has the site's file"
say "/var/lib/seeded $($b stat -c '%u:%g %a' /var/lib/seeded) $([ -L /var/lib/seeded/link ] && echo link)"
for file in /etc/made /var/made /opt/made /home/made /root/made; do
    say "made $file was $(was $file)"
    $b touch $file || say "cannot make $file"
done
say "state $($b cat /run/coremax/state.json)"
say "data has MiB $($b df -m /run/coremax/data | $b tail -n 1 | $b awk '{print $2}')"
$b cat /large >/dev/null || say "large file unreadable"
case "$($b cat /proc/cmdline)" in *fill*)
    $b dd if=/dev/zero of=/var/filling bs=1M 2>/dev/null
    say "filled"
    ;;
esac
$b sync
say "done"
$b poweroff -f
