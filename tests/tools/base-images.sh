#!/usr/bin/env bash
# Makes stand-ins for the base images that docker/Dockerfile names, where no image registry can be reached.
#   tests/tools/base-images.sh      quick when the images are there already; otherwise about two minutes
# The Debian image comes from debootstrap, the Rust image from that one, a C linker and this machine's toolchain.
# Needs root, a Debian machine and a Docker daemon (tests/tools/dockerd.sh). Packages come from this machine's own mirrors.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dockerfile=${1:-$here/../../docker/Dockerfile}
pull_seconds_max=${PULL_SECONDS_MAX:-600}

say() { echo "base-images.sh: $*"; }
fail() { echo "base-images.sh: $*" >&2; exit 1; }
there() { docker image inspect "$1" >/dev/null 2>&1; }

# The images that the Dockerfile starts from, without its own stages.
base_images() {
    awk 'toupper($1) == "FROM" {
        if (!($2 in stage) && $2 != "scratch") print $2
        if (toupper($3) == "AS") stage[$4] = 1
    }' "$dockerfile" | sort -u
}

# The mirrors from which this machine gets a suite, one `deb` line each.
mirrors() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        awk -v suite="$1" '$2 == suite || $2 == suite "-updates" || $2 == suite "-security" { print "deb", $1, $2, "main" }'
}

need_debian_root() {
    [ "$(id -u)" = 0 ] || fail "$1 is missing and cannot be pulled; only root can make a stand-in"
    [ -r /etc/debian_version ] || fail "$1 is missing and cannot be pulled; a stand-in can be made on Debian only"
    if ! command -v debootstrap >/dev/null; then
        say "installing debootstrap"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    fi
}

work=
cleanup() { [ -z "$work" ] || rm -rf --one-file-system "$work"; }
trap cleanup EXIT

# debian:SUITE-slim, as the official one: minbase, no services started, no manuals, no package lists.
make_debian() {
    local image=$1 suite root mirror
    suite=${image#debian:}
    suite=${suite%-slim}
    need_debian_root "$image"
    mirror=$(mirrors "$suite" | awk -v suite="$suite" '$3 == suite { print $2; exit }')
    [ -n "$mirror" ] || fail "$image is missing and cannot be pulled, and apt here knows no mirror of $suite to make it from"
    say "$image: debootstrap $suite (about half a minute)"
    work=$(mktemp -d "${TMPDIR:-/tmp}/base-images.XXXXXX")
    root=$work/root
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        fail "debootstrap could not make $image; its last lines are above"
    }
    mirrors "$suite" >"$root/etc/apt/sources.list"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' 'path-exclude /usr/share/man/*' \
        'path-exclude /usr/share/info/*' 'path-exclude /usr/share/locale/*' >"$root/etc/dpkg/dpkg.cfg.d/docker"
    printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' \
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        >"$root/etc/apt/apt.conf.d/docker"
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/* \
        "$root"/usr/share/{man,info,locale}/* "$root"/etc/{hostname,resolv.conf}
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    tar -C "$root" --numeric-owner -c . |
        docker import --change 'CMD ["bash"]' --message "stand-in for $image, made by debootstrap" - "$image" >/dev/null
    cleanup
    work=
}

# rust:VERSION-slim-SUITE: the Debian stand-in, a C linker, and the Rust toolchain of this machine.
make_rust() {
    local image=$1 tag version suite debian sysroot
    tag=${image#rust:}
    version=${tag%%-*}
    suite=${tag##*-}
    debian=debian:$suite-slim
    need_debian_root "$image"
    command -v rustc >/dev/null || fail "$image is missing, and this machine has no Rust toolchain to make it from"
    case $(rustc --version) in
        "rustc $version".*) ;;
        *) fail "$image is asked for, but this machine has $(rustc --version): rustup default $version" ;;
    esac
    there "$debian" || make "$debian"
    sysroot=$(rustc --print sysroot)
    say "$image: $debian, gcc and the toolchain of this machine (about a minute)"
    work=$(mktemp -d "${TMPDIR:-/tmp}/base-images.XXXXXX")
    cat >"$work/Dockerfile" <<DOCKERFILE
FROM $debian
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev ca-certificates && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
DOCKERFILE
    # Packages come through whatever this machine trusts, so the builder trusts the same.
    cp -L /etc/ssl/certs/ca-certificates.crt "$work/ca-certificates.crt"
    tar -C "$work" -c Dockerfile ca-certificates.crt >"$work/context.tar"
    tar -C "$sysroot" --append -f "$work/context.tar" --transform 's,^,toolchain/,' \
        --exclude 'lib/rustlib/src' --exclude 'lib/rustlib/wasm*' bin/cargo bin/rustc lib
    docker build --quiet --tag "$image" - <"$work/context.tar" >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        fail "could not build $image; the last lines are above"
    }
    cleanup
    work=
}

make() {
    case $1 in
        debian:*-slim) make_debian "$1" ;;
        rust:*-slim-*) make_rust "$1" ;;
        *) fail "$1 cannot be pulled, and there is no recipe for a stand-in: add one here" ;;
    esac
}

exec 9>"${TMPDIR:-/tmp}/base-images.lock"
flock 9
docker version >/dev/null 2>&1 || fail "no Docker daemon answers: run tests/tools/dockerd.sh first"
images=$(base_images)
[ -n "$images" ] || fail "$dockerfile names no base image"
for image in $images; do
    started=$SECONDS
    if there "$image"; then
        say "$image: there already"
    elif timeout "$pull_seconds_max" docker pull --quiet "$image" >/dev/null 2>&1; then
        say "$image: pulled ($((SECONDS - started)) s)"
    else
        make "$image"
        say "$image: stand-in made ($((SECONDS - started)) s)"
    fi
done
