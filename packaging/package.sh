#!/usr/bin/env bash
# Builds what is released into target/package, and tries it: a tarball of the programs and a Debian package of each crate.
#   make package
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
out=$target/package
cargo_deb_version=3.8.0

say() { echo "package: $*"; }

# A version of its own, so that a package does not change with the machine that builds it.
cargo_deb=$target/test-tools/cargo-deb/bin/cargo-deb
if ! "$cargo_deb" --version 2>/dev/null | grep -qx "cargo-deb $cargo_deb_version"; then
    # It runs twice: to optimise it would take longer than it does.
    say "installing cargo-deb"
    cargo install --quiet --debug --locked --root "$target/test-tools/cargo-deb" --version "=$cargo_deb_version" --force cargo-deb
fi

version=$(cargo metadata --no-deps --locked --format-version 1 | python3 -c \
    'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "sse-server"))')
name=sse-stack-$version-$(uname -m)-linux-gnu
rm -rf "$out"
mkdir -p "$out"

root=$out/$name
install -D -m 755 -t "$root/bin" "$target"/release/{sse-server,supervisord,supervisorctl}
install -D -m 644 -t "$root/share/man/man1" man/*.1
install -D -m 644 -t "$root/share/man/man5" man/*.5
install -D -m 644 -t "$root/share/man/man8" man/*.8
install -D -m 644 -t "$root/share/doc/sse-stack" README.md docs/*.md
install -D -m 644 -t "$root/etc" docs/sse-server.toml
install -D -m 644 -t "$root/stack" docker/nginx-sse.conf docker/supervisord.toml
install -m 755 -t "$root/stack" docker/nginx.sh docker/start.sh
install -D -m 644 -t "$root/systemd" packaging/sse-server/sse-server.{service,sysusers,toml}
install -m 644 -t "$root" LICENSE-MIT LICENSE-APACHE
# The same files give the same bytes.
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
    -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
rm -rf "$root"

for crate in sse-server supervisor; do
    "$cargo_deb" --quiet --no-build --locked --package "$crate" --output "$out/" >/dev/null
done
packaging/try.sh "$out" "$version"
say "built and tried:"
(cd "$out" && ls -l -- *.tar.gz *.deb | awk '{ print "  " $5, $9 }')
