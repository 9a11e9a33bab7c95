# Makes base.tar in the working directory, the root of the image `busybox` that corpus/ begins with, and in remote/ what
# ADD fetches. Argument: none.
set -eu
mkdir -p base/bin base/etc base/tmp base/root base/dev base/proc base/sys base/var base/run base/srv/web base/home/guest remote
cp /bin/busybox base/bin/busybox
for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "base/bin/$name"; done
cat >base/etc/passwd <<EOF
root:x:0:0:root:/root:/bin/sh
web:x:33:33::/srv/web:/bin/sh
guest:x:1000:1000::/home/guest:/bin/sh
EOF
cat >base/etc/group <<EOF
root:x:0:
web:x:33:
extra:x:44:guest
guest:x:1000:
EOF
chmod -R go=rX,u=rwX base
chmod 1777 base/tmp
chmod 755 base/bin/busybox
tar --format=ustar --owner=0 --group=0 --numeric-owner --sort=name --mtime=@1600000000 -C base -cf base.tar .
rm -rf base
echo remote >remote/file.txt
tar --format=ustar --owner=5 --group=6 --numeric-owner --mode=640 --mtime=@1410000000 -C remote -cf x.tar file.txt
mv x.tar remote/x.tar
chmod 644 remote/*
touch -d @1400000000 remote/*
