#!/usr/bin/env bash
# inside.sh ROOT COMMAND…: run a command in an unpacked system, for this processor or another one.
# It needs no root and changes nothing on the machine: the command runs in a namespace of its own. Variables:
#   emulator, binary   the emulator to register there, and the kind of its programs: aarch64 or arm
#   core               the processor to emulate
#   board              a folder with the /proc and /sys to show
#   network            if set, programs find this machine's name servers, certificates and package index
#   python_path, library_path   PYTHONPATH and LD_LIBRARY_PATH of the command
set -euo pipefail
if [ -z "${in_namespace-}" ]; then
    in_namespace=1 exec unshare --user --map-root-user --mount --pid --fork --kill-child "$0" "$@"
fi
root=$1
if [ -n "${emulator-}" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    case $binary in
    aarch64) class='\x02' machine='\xb7' ;;
    arm) class='\x01' machine='\x28' ;;
    esac
    magic='\x7fELF'$class'\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'$machine'\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    echo ":$binary:M::$magic:$mask:$emulator:F" >/proc/sys/fs/binfmt_misc/register
fi
mkdir -p "$root"/{dev,proc,sys,tmp,home/pi}
mount -t tmpfs none "$root/dev"
mkdir "$root"/dev/{shm,pts}
for name in null zero full random urandom tty; do touch "$root/dev/$name" && mount --bind "/dev/$name" "$root/dev/$name"; done
mount -t devpts -o newinstance,ptmxmode=0666 none "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs none "$root/tmp"
if [ -n "${board-}" ]; then
    mount --bind "$board/proc" "$root/proc"
    mount --bind "$board/sys" "$root/sys"
else
    mount -t proc none "$root/proc"
fi
cd "$root"
# The home folder is as on a Raspberry Pi.
environment=(PATH=/usr/bin:/bin:/usr/sbin HOME=/home/pi LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1)
[ -z "${core-}" ] || environment+=("QEMU_CPU=$core" TESTS_FORK=1)
[ -z "${python_path-}" ] || environment+=("PYTHONPATH=$python_path")
[ -z "${library_path-}" ] || environment+=("LD_LIBRARY_PATH=$library_path")
if [ -n "${network-}" ]; then
    mkdir -p "$root/etc/ssl/certs"
    for name in resolv.conf hosts pip.conf ssl/certs/ca-certificates.crt; do
        [ -e "/etc/$name" ] && cp -L "/etc/$name" "$root/etc/$name"
    done
    while IFS= read -r line; do environment+=("$line"); done < <(env | grep -E '^(PIP_|SSL_CERT_FILE=|https?_proxy=)' || true)
fi
exec env -i "${environment[@]}" /usr/sbin/chroot "$root" "${@:2}"
