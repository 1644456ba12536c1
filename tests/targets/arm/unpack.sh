#!/usr/bin/env bash
# Unpack what `make check TARGET=arm` runs into build/arm: emulators, Debian for arm64 and armhf, two newer Debians for
# this processor, wheels for each of them, and the device package's wheel with its tests. Packages come from this
# machine's own apt and pip sources. If this machine cannot do that, print one line and exit with 75.
set -euo pipefail
cd "$(dirname "$0")/../../.."
: "${VENV:=.venv}"
python="$PWD/$VENV/bin/python"
work=$PWD/build/arm
. tests/targets/debian.sh

cannot() { echo "$1" && exit 75; }

# newer SUITE PACKAGE…: a newer Debian for this processor. Its packages expect that /bin and /lib are links.
newer() {
    local folder
    for folder in bin sbin lib lib64; do
        mkdir -p "$work/$1/usr/$folder"
        ln -sfn "usr/$folder" "$work/$1/$folder"
    done
    unpack "$1-amd64" "$work/$1" "${@:2}"
}

emulators() {
    without='^(libc6|libc-bin)_' unpack bookworm-amd64 "$work/tools" qemu-user && # counts with a plugin; uses this machine's libc
        unpack_only bookworm-amd64 "$work/tools" qemu-user-static                  # needs no library in another root
}

packages() {
    local steps=()
    emulators & steps+=($!)
    unpack bookworm-arm64 "$work/arm64" python3 libstdc++6 busybox-static & steps+=($!)
    unpack bookworm-armhf "$work/armhf" python3 python3-numpy python3-pil libatomic1 libstdc++6 busybox-static & steps+=($!)
    newer trixie python3.13 libstdc++6 busybox-static & steps+=($!)
    newer forky python3.14 libstdc++6 busybox-static & steps+=($!)
    wheels arm64/opt/litert 3.11 aarch64 dev ai-edge-litert numpy pillow click pytest & steps+=($!)
    wheels arm64/opt/tflite 3.11 aarch64 bookworm tflite-runtime numpy pillow click pytest & steps+=($!)
    # numpy and Pillow are Debian's here: the package index has none for 32 bits
    wheels armhf/opt/tflite 3.11 armv7l bookworm --no-deps tflite-runtime click pytest iniconfig packaging pluggy pygments & steps+=($!)
    wheels trixie/opt/litert 3.13 x86_64 newer ai-edge-litert numpy pillow click pytest & steps+=($!)
    wheels forky/opt/litert 3.14 x86_64 newer ai-edge-litert numpy pillow click pytest & steps+=($!)
    finish "${steps[@]}"
}

complete() {
    local root name
    for root in arm64 armhf trixie forky; do
        mkdir -p "$work/$root"/{proc,sys} # mount points
        for name in sh cat head; do ln -sf /bin/busybox "$work/$root/bin/$name"; done
    done
    for name in pi2 pi3 pi4 pi5; do "$python" tests/targets/arm/board.py $name "$work/boards/$name"; done
    ${CC:-cc} -O2 -shared -fPIC -o "$work/count.so" tests/targets/arm/count.c
    touch "$work/ready"
}

under_test() {
    local root
    rm -rf "$work/wheel"
    "$python" -m build --quiet --wheel --no-isolation --outdir "$work/wheel" edge_runtime >/dev/null
    for root in arm64 armhf trixie forky; do
        rm -rf "$work/$root/opt/"{spot,check}
        mkdir -p "$work/$root/opt/check/tests"
        "$python" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --no-deps --no-compile \
            --target "$work/$root/opt/spot" "$work/wheel/"*.whl
        cp pyproject.toml "$work/$root/opt/check"
        cp -r tests/conftest.py tests/edge_runtime "$work/$root/opt/check/tests"
        cp -r examples "$work/$root/opt/check"
    done
    # Debian and pip do this at installation. Without it every start would compile all imported modules.
    for root in arm64 armhf; do
        "$python" -m compileall -q -s "$work/$root" -p / "$work/$root/"{usr/lib/python3.11,usr/lib/python3,opt}
    done
    tests/targets/arm/inside.sh "$work/trixie" /usr/bin/python3.13 -m compileall -q /usr/lib/python3.13 /opt
    tests/targets/arm/inside.sh "$work/forky" /usr/bin/python3.14 -m compileall -q /usr/lib/python3.14 /opt
}

[ "$(uname -sm)" = "Linux x86_64" ] || cannot "it needs Linux on x86-64, this is $(uname -sm)"
for name in apt-get dpkg unshare ${CC:-cc}; do command -v "$name" >/dev/null || cannot "this machine has no $name"; done
[ -n "$mirror" ] || cannot "apt has no Debian archive configured here"
unshare --user --map-root-user --mount sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && test -w /proc/sys/fs/binfmt_misc/register' ||
    cannot "a namespace cannot register an emulator here (needs Linux 6.7 and user namespaces)"
if [ ! -e "$work/ready" ]; then
    rm -rf "$work"
    mkdir -p "$work"
    packages || cannot "some packages could not be downloaded, see above"
    complete
fi
under_test
