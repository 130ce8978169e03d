#!/usr/bin/env bash
# The real parts the tests talk to: a broker, a database server, a browser, servers of another make. Installs what is
# missing where it can (Debian or Ubuntu, as root or with sudo), and says plainly what is missing where it cannot.
set -euo pipefail
missing=()
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v chromium >/dev/null || missing+=(chromium)
command -v openssl >/dev/null || missing+=(openssl)
fc-list 2>/dev/null | grep -qi 'cjk' || missing+=(fonts-noto-cjk fontconfig)
{ command -v gcc && command -v pkg-config && pkg-config --exists libmodbus; } >/dev/null 2>&1 ||
  missing+=(gcc libc6-dev pkg-config libmodbus-dev)
command -v mbpoll >/dev/null || missing+=(mbpoll)
command -v socat >/dev/null || missing+=(socat)
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(faketime)
# Link faults in the kernel need root anyway; elsewhere the stack campaign uses its proxy and says so.
[ "$(id -u)" -ne 0 ] || command -v nft >/dev/null || missing+=(nftables iproute2)
command -v npm >/dev/null || missing+=(nodejs npm)
if [ ${#missing[@]} -gt 0 ]; then
  run=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && run=(sudo) || { echo "tests need: ${missing[*]}; install them and run again" >&2; exit 1; }
  fi
  command -v apt-get >/dev/null || { echo "tests need: ${missing[*]}; install them and run again" >&2; exit 1; }
  echo "installing for the tests: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${run[@]}" apt-get update -qq
  # The tests start their own servers on free ports; the packages' own services are not wanted.
  "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
# node-opcua and modbus-serial, as locked in tests/node.
cd "$(dirname "$0")/node"
if [ ! -e node_modules/.installed ] || [ package-lock.json -nt node_modules/.installed ]; then
  npm ci --silent --no-audit --no-fund
  touch node_modules/.installed
fi
