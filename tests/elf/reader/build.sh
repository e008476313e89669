#!/bin/sh
# Makes the golden ELF files beside it: every dynamic tag that is read, and a dlopen note.
# Needs gcc with -m32 (Debian: gcc-multilib).
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/note.s" <<'END'
	.section .note.dlopen,"a",%note
	.balign 4
	.long 4, 2f - 1f, 0x407c0c0a
	.asciz "FDO"
1:	.ascii "[{\"soname\":[\"libzstd.so.1\",\"libz.so.1\"],\"feature\":\"compression\","
	.ascii "\"description\":\"Packs\",\"priority\":\"suggested\"},{\"soname\":[\"libx.so\"]}]"
	.byte 0
2:	.balign 4
	.section .note.GNU-stack,"",%progbits
END
echo 'int one(void) { return 1; }' >"$work/one.c"
link() {
    gcc "$1" -nostdlib -shared -fPIC -s -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 \
        -Wl,--build-id=none -Wl,--no-as-needed "$@"
}
for bits in 64 32; do
    link -m$bits -o "$work/libneeded.so" "$work/one.c" -Wl,-soname,libneeded.so.1
    link -m$bits -o library.$bits.so "$work/one.c" "$work/note.s" "$work/libneeded.so" \
        -Wl,-soname,liball.so.2 -Wl,-rpath,'$ORIGIN/../lib:/opt/lib' -Wl,--enable-new-dtags \
        -Wl,-z,nodefaultlib -Wl,--audit,libaudit.so -Wl,--depaudit,libdep1.so:libdep2.so \
        -Wl,-F,libfilter.so -Wl,-f,libauxiliary.so
done
