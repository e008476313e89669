#!/bin/sh
# Makes the golden ld.so.cache beside it: one library in all glibc-hwcaps levels, and one name
# for two architectures. Needs gcc with -m32 (Debian: gcc-multilib) and ldconfig.
set -eu
cd "$(dirname "$0")"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
echo 'int one(void) { return 1; }' >"$root/one.c"
library() {
    mkdir -p "$(dirname "$root$2")"
    gcc "$1" -nostdlib -shared -fPIC -o "$root$2" "$root/one.c" -Wl,-soname,"$(basename "$2")"
}
library -m64 /opt/v/libv.so.1
for level in 2 3 4; do
    library -m64 /opt/v/glibc-hwcaps/x86-64-v$level/libv.so.1
done
library -m64 /opt/both/libboth.so.1
library -m32 /opt/both32/libboth.so.1
mkdir "$root/etc"
printf '/opt/v\n/opt/both\n/opt/both32\n' >"$root/etc/ld.so.conf"
/sbin/ldconfig -r "$root" -X -C /cache
cp "$root/cache" ld.so.cache
/sbin/ldconfig -r "$root" -X -c compat -C /compat
cp "$root/compat" compat.ld.so.cache
