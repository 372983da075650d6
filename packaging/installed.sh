#!/bin/sh
# Inside a Debian of its own: installs the packages of /package, upgrades them and takes them away again.
set -eu

fail() { echo "package: installed: $*" >&2; exit 1; }
conf=/etc/sse-stack/sse-server.toml

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update >/dev/null
apt-get -qq install -y --no-install-recommends systemd-standalone-sysusers /package/*.deb >/tmp/apt 2>&1 || { cat /tmp/apt; fail "apt-get says the above"; }
getent passwd sse-server | grep -q ':/var/lib/sse-server:.*nologin$' || fail "the user sse-server is not as it should be"
! grep -qs sse-server /proc/[0-9]*/comm || fail "it started something"
! find /etc/systemd -name 'sse-server.service' | grep -q . || fail "it enabled something"
[ "$(stat -c %U:%a $conf)" = root:644 ] || fail "$conf is not root's"

# As its user, with its configuration, it serves; the first start says how to publish.
install -d -o sse-server -g sse-server -m 0700 /var/lib/sse-server
setpriv --reuid sse-server --regid sse-server --clear-groups sse-server --config $conf >/tmp/access 2>/tmp/log &
pid=$!
tries=0
until sse-server --config $conf healthcheck 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat /tmp/log; fail "it does not serve"; }
    sleep 0.1
done
[ "$(stat -c %U:%a /var/lib/sse-server/publish.token)" = sse-server:600 ] || fail "the token is not its own"
grep -q '^curl .*/sse/publish' /tmp/log || fail "the first start says no line to publish with"
kill $pid
wait $pid || fail "it did not end in order"
supervisord --version >/dev/null
supervisorctl --help >/dev/null

# An upgrade keeps what was changed, and the data.
echo '# mine' >>$conf
token=$(cat /var/lib/sse-server/publish.token)
dpkg -i --force-confold /package/*.deb >/dev/null
grep -qx '# mine' $conf || fail "an upgrade lost the configuration"
[ "$(cat /var/lib/sse-server/publish.token)" = "$token" ] || fail "an upgrade lost the data"

# Removed: the programs go, the rest stays. Purged: nothing stays.
dpkg -r sse-server sse-supervisor >/dev/null
[ ! -e /usr/bin/sse-server ] || fail "a removal left the program"
[ -e $conf ] && [ -e /var/lib/sse-server/publish.token ] || fail "a removal took more than the programs"
dpkg -P sse-server sse-supervisor >/dev/null 2>&1
[ ! -e /etc/sse-stack ] && [ ! -e /var/lib/sse-server ] || fail "a purge left something"
echo "package: installed, upgraded, removed and purged on Debian $(cat /etc/debian_version)"
