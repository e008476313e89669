"""Files that are a key or a key store as a whole, by their first bytes.

The formats are those of RFC 7292, RFC 5958 and RFC 9580, the key stores of Java and Bouncy Castle,
and the file_ccache and keytab formats of MIT Kerberos.
"""

from __future__ import annotations

import re

_DER = (
    rb"(?s)\x30(?:[\x00-\x7f]|\x81.|\x82..)(?:"
    rb"\x02\x01[\x00\x01]\x30[\x05-\x7f]\x06|"  # PKCS#8
    rb"\x30[\x0d-\x7f]\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05|"  # PKCS#8, by PKCS#5
    rb"\x30[\x0d-\x7f]\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01|"  # PKCS#8, by PKCS#12
    rb"\x02\x01\x00\x02(?:[\x40\x41]|\x81.|\x82..)\x00?[\x80-\xff]|"  # PKCS#1, and of DSA
    rb"\x02\x01\x01\x04[\x10-\x48])"  # SEC 1
)
_PKCS12 = (
    rb"(?s)\x30(?:\x80|\x82..|\x83...|\x81.)\x02\x01\x03\x30"
    rb"(?:\x80|\x82..|\x83...|\x81.|[\x00-\x7f])\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x01\x02]"
)  # fmt: skip
_KEY_BAGS = (
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02",
)
_SECRET_PACKET = (
    rb"(?s)(?:[\x94]..?|\x95..|\x97|\xc5(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....))"
    rb"[\x03-\x06][\x25-\x7f]...(?:\x00[\x00-\x20])?[\x01-\x03\x10-\x13\x16\x19-\x1c]"
)  # fmt: skip
_KEYTAB = rb"(?s)\x05\x02\x00\x00[\x00-\x0f].\x00[\x01-\x08]\x00[\x01-\x7f][A-Za-z0-9][\w.-]*\x00"
_CCACHE = (
    rb"(?s)\x05(?:\x03|\x04\x00(?:\x00|[\x01-\x40].{4,64}?))\x00\x00\x00[\x00-\x0b]"
    rb"\x00\x00\x00[\x01-\x08]\x00\x00\x00[\x01-\x7f][A-Za-z0-9][\w.-]*\x00"
)  # fmt: skip
MAGICS = (
    ("KeePass database", b"\x03\xd9\xa2\x9a"),
    ("GNOME keyring", b"GnomeKeyring\n\r\0\n"),
    ("KDE wallet", b"KWALLET\n\r\0\r\n"),
    ("Password Safe database", b"PWS3"),
    ("macOS keychain", b"kych\0\x01"),
    ("git-crypt key", b"\0GITCRYPTKEY"),
    ("Tor key", b"== ed25519v1-secret:"),
    ("SSH key", b"SSH PRIVATE KEY FILE FORMAT 1.1\n"),
    ("Windows private key", b"\x1e\xf1\xb5\xb0"),
    ("Windows private key", b"\x07\x02\0\0\0\xa4\0\0RSA2"),
    ("strong name key", b"\x07\x02\0\0\0\x24\0\0RSA2"),
)
"""First bytes of files that hold only keys."""


_SQLITE = b"SQLite format 3"
_X_COOKIE = b"MIT-MAGIC-COOKIE-1\0\x10"


def key_file_kind(content: bytes) -> str:
    """Return the kind of the key or key store that begins with `content`; nothing if it is none."""
    tests = (
        ("private key", _is_der_key),
        ("PKCS#12 key store", _is_pkcs12),
        ("Java key store", _is_java_store),
        ("Bouncy Castle key store", _is_bouncy_castle_store),
        ("OpenPGP secret key", lambda head: re.match(_SECRET_PACKET, head) is not None),
        ("Kerberos keytab", lambda head: re.match(_KEYTAB, head) is not None),
        ("Kerberos tickets", lambda head: re.match(_CCACHE, head) is not None),
        ("NSS key database", lambda head: head[:15] == _SQLITE and b"nssPrivate" in head),
        ("browser logins", lambda head: head[:15] == _SQLITE and b"password_value" in head),
        ("X cookie", lambda head: head[:1] in b"\0\1" and _X_COOKIE in head[:300]),
    )  # fmt: skip
    magics = (kind for kind, magic in MAGICS if content.startswith(magic))
    return next(magics, "") or next((kind for kind, test in tests if test(content)), "")


def _is_der_key(content: bytes) -> bool:
    if not re.match(_DER, content):
        return False
    first = content[1]
    count = first - 0x80 if first > 0x80 else 0
    length = int.from_bytes(content[2 : 2 + count], "big") if count else first
    return 0 <= len(content) - (2 + count + length) <= 2


def _is_pkcs12(content: bytes) -> bool:
    """Tell whether a PKCS#12 file has a key: bags of keys are encrypted, their types are not."""
    return bool(re.match(_PKCS12, content)) and any(bag in content for bag in _KEY_BAGS)


def _is_java_store(content: bytes) -> bool:
    """Tell whether a JKS or JCEKS file has more than the certificates that are trusted."""
    if content[:4] not in (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"):
        return False
    at = 12
    for _ in range(int.from_bytes(content[8:12], "big")):
        if content[at : at + 4] != b"\0\0\0\2":
            return at < len(content)
        at = _after(content, at + 4, 2) + 8
        at = _after(content, _after(content, at, 2), 4)
    return False


def _is_bouncy_castle_store(content: bytes) -> bool:
    """Tell whether a BKS file has more than certificates."""
    if content[:8] not in (b"\0\0\0\1\0\0\0\x14", b"\0\0\0\2\0\0\0\x14"):
        return False
    at = 32
    while content[at : at + 1] == b"\1":
        at = _after(content, at + 1, 2) + 8 + 4
        at = _after(content, _after(content, at, 2), 4)
    return content[at : at + 1] in (b"\2", b"\3", b"\4")


def _after(content: bytes, at: int, width: int) -> int:
    """Return where the field ends that begins with its length, of `width` bytes, at `at`."""
    return at + width + int.from_bytes(content[at : at + width], "big")
