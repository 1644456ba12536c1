#!/usr/bin/env bash
# inside.sh ROOT COMMAND…: runs a command in an unpacked system, of this processor's kind or another, without being root
# and without telling the machine: in a namespace where an emulator ($emulator, of the kind $binary) is registered for
# its programs, and where /proc and /sys are those of $board, a folder. $core is the processor that is emulated; with
# $network programs find this machine's name servers, certificates and package index.
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
# a home as on a Raspberry Pi
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
