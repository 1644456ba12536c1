#!/usr/bin/env bash
# Check the cameras against real drivers: boot a small arm64 Debian in an emulator and run the checks of this folder in
# it, with the built wheel. `vm.sh unit` boots it with systemd and checks the kiosk's unit instead. Packages come from
# this machine's own apt and pip sources. They are unpacked below build/camera-vm and kept there for the next run; nothing
# is installed on this machine, and root is not needed. `make clean` removes them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
: "${VENV:=.venv}"
python="$PWD/$VENV/bin/python"
work=$PWD/build/camera-vm
seconds=600 # time limit of the emulated system
drivers="vivid v4l2loopback uvcvideo vhci-hcd uinput evdev"
case ${1-} in
'') checks="check_vivid.py check_loopback.py check_usb.py check_kiosk.py" init=/check archives="system check" ;;
unit) checks=check_unit.py init=/lib/systemd/systemd archives="system systemd check" ;;
*) echo "make check TARGET=camera-vm: unknown argument '$1': use unit, or none" >&2 && exit 2 ;;
esac

skip() { echo "!! NOT RUN: make check TARGET=camera-vm: $1" && exit 0; }

[ "$(uname -sm)" = "Linux x86_64" ] || skip "needs Linux on x86-64, this is $(uname -sm)"
for name in apt-get dpkg make; do command -v $name >/dev/null || skip "this machine has no $name"; done
. tests/targets/debian.sh
[ -n "$mirror" ] || skip "apt has no Debian source here"

tools() { # programs that use this machine's own C library
    without='^(libc6_|libc-bin_|libc6-dev|lib[a-z]*san[0-9]-arm64)' \
        unpack bookworm-amd64 "$work/tools" qemu-system-arm gcc-aarch64-linux-gnu kmod cpio
    for name in depmod modprobe; do ln -sf kmod "$work/tools/bin/$name"; done # its own links are absolute
    unpack_only bookworm-amd64 "$work/kernel" linux-kbuild-6.1 v4l2loopback-dkms
}

system() {
    local kernel
    unpack bookworm-arm64 "$work/root" python3 busybox-static kmod libstdc++6
    kernel=$(in_apt bookworm-arm64 apt-cache depends linux-image-arm64 | sed -n 's/.*Depends: linux-image-//p')
    unpack_only bookworm-arm64 "$work/kernel" "linux-image-$kernel" "linux-headers-$kernel" "linux-headers-${kernel%-arm64}-common"
}

packages() {
    local steps=()
    echo "== packages: an emulator, a cross compiler, an arm64 system and its kernel"
    tools & steps+=($!)
    system & steps+=($!)
    unpack bookworm-armhf "$work/root/opt/armhf" python3 & steps+=($!) # a 32-bit system; only its Python is run
    wheels root/opt/site 3.11 aarch64 dev numpy pillow click pytest ai-edge-litert & steps+=($!)
    finish "${steps[@]}"
}

assemble() {
    local kernel sources=$work/kernel/usr/src loopback
    kernel=$(cd "$work/kernel/lib/modules" && echo *)
    echo "== a loopback camera for it: v4l2loopback, compiled"
    loopback=$(echo "$sources"/v4l2loopback-*)
    sed -i "s,^include .*/linux,include $sources/linux," "$sources/linux-headers-$kernel/Makefile"
    tool make -s -C "$sources/linux-headers-$kernel" M="$loopback" DEB_BUILD_ARCH=amd64 DEB_HOST_ARCH=arm64 \
        DEB_HOST_GNU_TYPE=aarch64-linux-gnu modules

    echo "== the system, as one archive"
    local modules=lib/modules/$kernel
    mkdir -p "$work/root/$modules" "$work/root/"{proc,sys,dev,tmp,run,root,opt}
    cp "$loopback/v4l2loopback.ko" "$work/kernel/$modules/kernel/"
    tool depmod -b "$work/kernel" "$kernel"
    for module in $drivers; do
        tool modprobe -d "$work/kernel" -S "$kernel" --show-depends $module
    done | sed -n 's/^insmod //p' | sort -u | while read -r path _; do
        install -D "$path" "$work/root/$modules/${path#"$work/kernel/$modules/"}"
    done
    cp "$work/kernel/$modules"/modules.{builtin,builtin.modinfo,order} "$work/root/$modules/"
    tool depmod -b "$work/root" "$kernel"
    rm -rf "$work/root/usr/share/"{doc,locale,man,info} "$work/root/opt/armhf/usr/share"
    # as Debian does on installing Python; otherwise every start would compile all imported modules
    "$python" -m compileall -q -s "$work/root" -p / "$work/root/"{usr/lib/python3.11,opt/site}
    archive "$work/root" "$work/system.cpio"
    cp "$work/kernel/boot/vmlinuz-$kernel" "$work/vmlinuz"
}

with_systemd() {
    local root=$work/systemd unit
    echo "== systemd for it, as another archive"
    unpack bookworm-arm64 "$root" systemd udev base-passwd
    # as Debian's packages do on installation
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    printf '%s:x:%d:\n' input 201 render 202 kvm 203 sgx 204 systemd-journal 205 >>"$root/etc/group"
    : >"$root/etc/machine-id"
    mkdir -p "$root/etc/systemd/system"
    for unit in serial-getty@ttyAMA0 systemd-firstboot systemd-random-seed systemd-update-utmp; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
    done
    archive "$root" "$work/systemd.cpio"
}

# the wheel, the checks, and the scripts that start them
under_test() {
    local check=$work/check units=$work/check/etc/systemd/system
    rm -rf "$check" "$work/wheel"
    mkdir -p "$check/opt/check" "$units/basic.target.wants"
    "$python" -m build --quiet --wheel --no-isolation --outdir "$work/wheel" edge_runtime >/dev/null
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$check/opt/spot" "$work/wheel/"*.whl
    cp tests/targets/camera/*.py examples/drawn-melanoma-001.jpg "$check/opt/check/"
    cp examples/kiosk/spot-edge-kiosk.service "$units/"
    cat >"$check/opt/spot/bin/spot-edge" <<'END'
#!/usr/bin/python3
import sys
sys.path[:0] = ["/opt/spot", "/opt/site"]
from spot_edge.cli import main
main()
END
    ln -s /lib/systemd/system/basic.target "$units/default.target"
    ln -s ../check.service "$units/basic.target.wants/check.service"
    cat >"$units/check.service" <<'END'
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
ExecStart=/check
StandardOutput=file:/dev/ttyAMA0
StandardError=file:/dev/ttyAMA0
END
    cat >"$check/check" <<END
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/opt/spot:/opt/site PYTHONDONTWRITEBYTECODE=1
echo "booted in \$(busybox cut -d' ' -f1 /proc/uptime) s"
cd /opt/check && python3 -m pytest --color=no -q -ra -p no:cacheprovider --durations=5 $checks
echo "the checks ended with \$?"
busybox poweroff -f
END
    cat >"$check/init" <<END
#!/bin/busybox sh
busybox mount -t proc proc /proc && busybox mount -t sysfs sys /sys && busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/shm && busybox ln -s /proc/self/fd /dev/fd
exec $init
END
    chmod +x "$check"/{init,check}
    archive "$check" "$work/check.cpio"
}

archive() { (cd "$1" && find . | tool cpio --quiet -o -H newc --owner 0:0 >"$2.part") && mv "$2.part" "$2"; }

# run a step that needs packages, outside of any condition, in which bash would ignore its errors
fetched() {
    set +e
    (
        set -e
        "$@"
    )
    local code=$?
    set -e
    [ $code = 0 ] || skip "packages are not available, see above"
}

start=$SECONDS
made=$(cat tests/targets/camera/vm.sh tests/targets/debian.sh | cksum)
if [ "$(cat "$work/made" 2>/dev/null)" != "$made" ]; then
    rm -rf "$work"
    mkdir -p "$work"
    fetched packages
    assemble
    echo "$made" >"$work/made"
fi
[ "${1-}" != unit ] || [ -e "$work/systemd.cpio" ] || fetched with_systemd
echo "== the wheel and its checks"
under_test
for name in $archives; do cat "$work/$name.cpio"; done >"$work/initrd"
echo "== boot ($((SECONDS - start)) s until here)"
tool timeout "$seconds" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 2000 -kernel "$work/vmlinuz" -initrd "$work/initrd" \
    -append "console=ttyAMA0 quiet panic=-1 systemd.show_status=0" -nographic -no-reboot -nic none -monitor none -serial stdio \
    </dev/null | tee "$work/log" || echo "the emulator ended with $?"
grep -q "^the checks ended with 0" "$work/log"
