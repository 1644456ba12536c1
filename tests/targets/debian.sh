# Sourced by checks that need a Debian other than this machine's: packages from this machine's own apt sources, and wheels
# from its package index, unpacked below $work for any suite and architecture. Nothing is installed here, and nobody needs
# to be root. $python is one that has pip.

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null | grep -m1 '/debian/*$' || true)

# apt with lists and a state of its own: in_apt SUITE-ARCHITECTURE COMMAND…
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

# every package of a list and what it needs, but those whose file names match $without: unpack SUITE-ARCHITECTURE FOLDER PACKAGE…
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

# these packages alone, unpacked: unpack_only SUITE-ARCHITECTURE FOLDER PACKAGE…
unpack_only() {
    local debs
    debs=$(mktemp -d "$work/debs-XXXX")
    mkdir -p "$2"
    (cd "$debs" && in_apt "$1" apt-get -qq download "${@:3}" && for deb in *.deb; do dpkg -x "$deb" "$2" || exit; done) || return
    rm -r "$debs"
}

# one of the programs that were unpacked into $work/tools, or one that runs them: tool COMMAND…
tool() {
    local libraries=$work/tools/usr/lib/x86_64-linux-gnu:$work/tools/lib/x86_64-linux-gnu
    PATH=$work/tools/usr/bin:$work/tools/bin:$PATH LD_LIBRARY_PATH=$libraries "$@"
}

# wheels for another system, chosen by this machine's pip: wheels FOLDER PYTHON MACHINE CONSTRAINTS PACKAGE…
wheels() {
    local platforms=(--platform "manylinux2014_$3") glibc
    for glibc in 17 27 28 34; do platforms+=(--platform "manylinux_2_${glibc}_$3"); done
    "$python" -m pip install --quiet --quiet --disable-pip-version-check --no-warn-conflicts --no-compile --only-binary=:all: \
        --implementation cp --python-version "$2" "${platforms[@]}" --target "$work/$1" -c "constraints/$4.txt" "${@:5}"
}

# wait for all of these, that were begun in the background; fails where one has: finish PROCESS…
finish() {
    local step failed=
    for step in "$@"; do wait "$step" || failed=1; done
    [ -z "$failed" ]
}
