#!/bin/sh
# Captures the ldd texts beside it (written.ldd is written by hand). Needs gcc and musl-gcc.
set -eu
cd "$(dirname "$0")"
work=/tmp/captured
mkdir -p "$work/l i b"
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
echo 'int x(void) { return 1; }' >"$work/x.c"
echo 'int y(void) { return 1; }' >"$work/y.c"
echo 'int x(void), y(void); int main(void) { return x() + y(); }' >"$work/p.c"
gcc -shared -fPIC -o "$work/l i b/libx.so" "$work/x.c" -Wl,-soname,libx.so
gcc -shared -fPIC -o "$work/l i b/slash.so" "$work/y.c"
gcc -o "$work/a b" "$work/p.c" "$work/l i b/libx.so" "$work/l i b/slash.so" \
    -Wl,--enable-new-dtags,-rpath,'$ORIGIN/l i b'
ldd /usr/bin/ls >one.ldd
ldd /usr/bin/cat /usr/bin/ldd /sbin/ldconfig "$work/a b" >several.ldd 2>&1 || true
mv "$work/l i b/libx.so" "$work/elsewhere"
ldd "$work/a b" >missing.ldd
ldd /sbin/ldconfig >static.ldd 2>&1 || true
ldd /usr/bin/ldd >script.ldd 2>&1 || true
echo 'int main(void) { return 0; }' >"$work/m.c"
musl-gcc -o "$work/m" "$work/m.c"
# musl's loader is an ldd when it is called by that name.
ln -s /lib/ld-musl-x86_64.so.1 "$work/ldd"
"$work/ldd" "$work/m" >musl.ldd
