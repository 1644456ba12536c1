# Sourced by checks that need another Debian than this machine's. Unpacks packages from this machine's apt sources and
# wheels from its package index into $work, for any suite and architecture. Installs nothing and needs no root.
# $python names a Python with pip.

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null | grep -m1 '/debian/*$' || true)

# in_apt SUITE-ARCHITECTURE COMMAND…: run a command with separate lists and state of apt
in_apt() {
    local suite=${1%-*} architecture=${1#*-} apt=$work/apt-$1
    if [ ! -e "$apt/ready" ]; then
        mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
        : >"$apt/status"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
        cat >"$apt/apt.conf" <<END
APT { Architecture "$architecture"; Architectures { "$architecture"; }; Install-Recommends "false"; Sandbox::User ""; };
Dir { State "$apt/state"; State::status "$apt/status"; Cache "$apt/cache"; };
Dir::Etc { SourceList "$apt/sources.list"; SourceParts "/dev/null"; };
Acquire::Languages "none"; Debug::NoLocking "true";
END
        APT_CONFIG=$apt/apt.conf apt-get -qq update || return
        touch "$apt/ready"
    fi
    APT_CONFIG=$apt/apt.conf "${@:2}"
}

# unpack SUITE-ARCHITECTURE FOLDER PACKAGE…: unpack packages and their dependencies, except files that match $without
unpack() {
    local archives=$work/apt-$1/cache/archives package
    in_apt "$1" apt-get -qq -y --download-only install "${@:3}" >/dev/null || return
    mkdir -p "$2"
    for package in "$archives"/*.deb; do
        [[ ${package##*/} =~ ^(perl|libperl|iso-codes_|dpkg_|tar_|debconf|tzdata_|.*-locales_) ]] && continue # never run here
        [[ -n ${without-} && ${package##*/} =~ $without ]] && continue
        dpkg -x "$package" "$2" || return
    done
    rm "$archives"/*.deb
}

# unpack_only SUITE-ARCHITECTURE FOLDER PACKAGE…: unpack packages without their dependencies
unpack_only() {
    local debs
    debs=$(mktemp -d "$work/debs-XXXX")
    mkdir -p "$2"
    (cd "$debs" && in_apt "$1" apt-get -qq download "${@:3}" && for deb in *.deb; do dpkg -x "$deb" "$2" || exit; done) || return
    rm -r "$debs"
}

# tool COMMAND…: run a command that finds the programs unpacked into $work/tools
tool() {
    local libraries=$work/tools/usr/lib/x86_64-linux-gnu:$work/tools/lib/x86_64-linux-gnu
    PATH=$work/tools/usr/bin:$work/tools/bin:$PATH LD_LIBRARY_PATH=$libraries "$@"
}

# wheels FOLDER PYTHON MACHINE CONSTRAINTS PACKAGE…: install wheels for another system with this machine's pip
wheels() {
    local platforms=(--platform "manylinux2014_$3") glibc
    for glibc in 17 27 28 34; do platforms+=(--platform "manylinux_2_${glibc}_$3"); done
    "$python" -m pip install --quiet --quiet --disable-pip-version-check --no-warn-conflicts --no-compile --only-binary=:all: \
        --implementation cp --python-version "$2" "${platforms[@]}" --target "$work/$1" -c "constraints/$4.txt" "${@:5}"
}

# finish PROCESS…: wait for background processes; fails if one of them failed
finish() {
    local step failed=
    for step in "$@"; do wait "$step" || failed=1; done
    [ -z "$failed" ]
}
