#!/bin/sh
# need.sh PROGRAM:PACKAGE... - makes sure that programs (or files, by their path) are there. As root on
# a Debian machine it installs the packages that are missing; otherwise it names the command that would.
missing=
for pair; do
	thing=${pair%:*}
	case $thing in
	/*) [ -e "$thing" ] && continue ;;
	*) command -v "$thing" >/dev/null 2>&1 && continue ;;
	esac
	missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "libhv: missing:$missing; install with: sudo $install" >&2
	exit 1
fi
echo "libhv: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && $install; } >"$log" 2>&1 </dev/null; then
	cat "$log" >&2
	echo "libhv: could not install$missing" >&2
	exit 1
fi
