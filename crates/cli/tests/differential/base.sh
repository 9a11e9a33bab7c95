# Makes base.tar in the working directory: the root of the image that all commands begin with.
set -eu
mkdir -p base/bin base/etc base/tmp base/root base/dev base/proc base/sys base/var
cp /bin/busybox base/bin/busybox
for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "base/bin/$name"; done
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/var:/bin/false\n' >base/etc/passwd
printf 'root:x:0:\ndaemon:x:1:\n' >base/etc/group
chmod 1777 base/tmp
tar --owner=0 --group=0 --sort=name -C base -cf base.tar .
rm -rf base
