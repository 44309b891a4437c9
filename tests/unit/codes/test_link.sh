#!/bin/sh
# A program of 20 lines is built against libsmtpcodes with what pkg-config says, shared and static, and run; the library
# exports nothing but smtpcodes_* and needs nothing but libc.
# usage: test_link.sh BUILD_ROOT SOURCE CC...
set -eu

build=$1
source=$2
shift 2
command -v pkg-config >/dev/null || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH="$build/meson-uninstalled"
lib="$build/src/codes"
reply='550 5.1.1 <x@y>: Recipient address rejected: User unknown in local recipient table'

check() {
	"$1" "$reply" >"$work/out"
	head -n 1 "$work/out" | grep -qx '550 5\.1\.1 bad-mailbox permanent sender'
	sed -n 2p "$work/out" | grep -q 'RFC 5321'
	sed -n 3p "$work/out" | grep -q '^Correct the address'
}

# shellcheck disable=SC2046 # flags are words
"$@" -Wall -Werror -o "$work/shared" "$source" $(pkg-config --cflags --libs smtpcodes)
LD_LIBRARY_PATH=$lib check "$work/shared"

# shellcheck disable=SC2046
"$@" -Wall -Werror -o "$work/static" "$source" $(pkg-config --cflags smtpcodes) "$lib/libsmtpcodes.a"
check "$work/static"

nm -D --defined-only "$lib/libsmtpcodes.so" | awk '{ print $3 }' | sort >"$work/symbols"
grep -q '^smtpcodes_explain$' "$work/symbols"
# A build for fuzzing counts what it runs, and those counters are seen.
if grep -vE '^smtpcodes_[a-z]|^__(start|stop)___sancov_' "$work/symbols"; then
	echo "the library exports more than smtpcodes_*" >&2
	exit 1
fi
readelf -d "$lib/libsmtpcodes.so" | grep -q 'SONAME.*\[libsmtpcodes\.so\.[0-9]*\]'
