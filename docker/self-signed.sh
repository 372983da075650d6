#!/bin/sh
# Makes the certificate of TLS_CERT=self-signed, with its key, in DATA_DIR/self-signed.pem; another one when it has a month left.
# By openssl, whose library nginx has brought anyway: a crate for it would bring a dozen others.
set -eu
umask 077

file=$DATA_DIR/self-signed.pem
if ! command -v openssl >/dev/null; then
    echo "TLS_CERT is \"self-signed\", but there is no openssl to make the certificate: install it (apt-get install openssl)" >&2
    exit 2
fi
if [ -s "$file" ] && openssl x509 -in "$file" -noout -checkend 2592000 >/dev/null 2>&1; then
    exit 0
fi

new=$(mktemp -d "$DATA_DIR/self-signed.XXXXXX")
trap 'rm -rf "$new"' EXIT
# No authority: whoever trusts it trusts this name and no other. 825 days are the most that all browsers accept.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -sha256 \
    -keyout "$new/key" -out "$new/cert" -config /dev/stdin 2>"$new/said" <<CONFIG || { cat "$new/said" >&2; exit 2; }
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = localhost
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,DNS:$(uname -n | tr -cd 'A-Za-z0-9.-'),IP:127.0.0.1,IP:::1
CONFIG
cat "$new/key" "$new/cert" >"$new/both"
mv "$new/both" "$file"
echo "made a self-signed certificate, $file, with this SHA-256 fingerprint:"
openssl x509 -in "$file" -noout -fingerprint -sha256 | cut -d= -f2
