"""Presets: files that programs use and traces do not show, by name.

===================  =============================================================================
``ca-certificates``  the bundle of public certificates, OpenSSL's configuration, and the name under
                     which OpenSSL looks for the bundle
``locale``           C.utf8, and the locales that the image's environment names
``nss``              an nsswitch.conf for files and DNS, glibc's modules for it, /etc/services,
                     /etc/protocols, and the resolver's own settings
``passwd``           /etc/passwd and /etc/group with root, `nobody`, the owners of listed files and
                     the image's user, without homes and shells; the user ``nonroot`` is made up
``tmp``              /tmp and /var/tmp, which anybody may write to
``tzdata``           the time zones, and the machine's /etc/localtime
===================  =============================================================================

Two come by default. A list without certificates, in which some file would load those of the system
into its TLS library, gets ``ca-certificates``. And a passwd or group file that only runs asked for
is written again as ``passwd`` would, since it names the people of the build machine; so are both
where the image's user has a name to be looked up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..errors import InputError, ListError
from ..fs.overlay import OverlaidFiles, Overlay, Placed
from ..fs.owners import NONROOT
from ..fs.paths import is_under, show
from ..fs.status import FileKind, Status
from .entry import Entry
from .extra_files import tree
from .request import Request

BUNDLES = (
    b"/etc/ssl/certs/ca-certificates.crt",
    b"/etc/pki/tls/certs/ca-bundle.crt",
    b"/etc/ssl/ca-bundle.pem",
    b"/etc/ssl/cert.pem",
)
"""Where distributions have the bundle."""

_CERTIFICATES = b"/etc/ssl/certs"

_TLS = re.compile(rb"lib(ssl|crypto|gnutls)(-[\d.]+)?\.so(\..*)?")
"""Names of libraries that check certificates where their user asks for it."""

_OPENSSL = b"/usr/lib/ssl"
"""OpenSSL's own directory on Debian: there it looks for cert.pem and openssl.cnf."""

_ZONES = b"/usr/share/zoneinfo"
_LOCALES = b"/usr/lib/locale"
_ACCOUNTS = (b"/etc/passwd", b"/etc/group")
_NOBODY = 65534
_NAME = os.fsencode(NONROOT[0])

_NSSWITCH = b"""passwd: files
group: files
hosts: files dns
networks: files
protocols: files
services: files
"""
_NSS_LIBRARIES = (b"libnss_files.so.2", b"libnss_dns.so.2", b"libresolv.so.2")
_NSS_FILES = (b"/etc/services", b"/etc/protocols", b"/etc/host.conf", b"/etc/gai.conf")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """The facts about an image that presets depend on."""

    entries: tuple[Entry, ...]
    """The paths that are listed so far."""
    user: str = ""
    """As in ``USER`` of a Dockerfile; empty where account files need not have it."""
    locales: tuple[str, ...] = ()
    """Values of LANG and LC variables."""

    @property
    def paths(self) -> frozenset[bytes]:
        """The paths that are listed."""
        return frozenset(entry.path for entry in self.entries)


def requests(view: Overlay, image: ListedImage, names: Collection[str]) -> Iterator[Request]:
    """Yield the files that the presets `names`, and the default ones, bring for `image`.

    Files that they write are placed in `view`. InputError for an unknown user; ListError when the
    machine does not have what a preset is made of.
    """
    for name in sorted(names):
        found = [*_PRESETS[name](view, image)]
        if not found:
            raise ListError(
                f"use preset {name}",
                "this machine does not have its files",
                "install their package, or take the preset away",
            )
        yield from (Request(path, f"preset:{name}", required=False) for path in found)
    yield from _defaults(view, image, names)


def presets_with(view: Overlay, image: ListedImage, path: bytes) -> Iterator[str]:
    """Yield the presets that would bring `path`; what they make is placed in `view`."""
    for name, paths in _PRESETS.items():
        with suppress(ListError):
            if path in paths(view, image):
                yield name


def lacks_certificates(view: Overlay | OverlaidFiles, entries: Iterable[Entry]) -> str:
    """Return a file that looks for certificates in a list that has none; nothing otherwise."""
    files = [entry.path for entry in entries if entry.kind == "file" and not entry.text]
    if any(path in BUNDLES or os.path.dirname(path) == _CERTIFICATES for path in files):
        return ""
    libraries = {path for path in files if _TLS.fullmatch(os.path.basename(path))}
    users = (path for path in files if libraries and path not in libraries)
    return show(next(filter(view.trusts, users), b""))


def lost_accounts(
    view: Overlay | OverlaidFiles, entries: Iterable[Entry]
) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each account file that a run read, and of which the image has fewer accounts.

    With it the names that are left. A file that the user has given is the user's business.
    """
    for entry in entries:
        by_run = any(reason.startswith("run:") for reason in entry.reasons)
        if entry.path in _ACCOUNTS and entry.text and by_run:
            kept = [line.split(b":")[0] for line in entry.text.splitlines()]
            if {row[0] for row in _accounts(view, entry.path).values()} - {_NAME, *kept}:
                yield entry.path, [os.fsdecode(name) for name in kept]


def _defaults(view: Overlay, image: ListedImage, names: Collection[str]) -> Iterator[Request]:
    if "ca-certificates" not in names and lacks_certificates(view, image.entries):
        for path in _ca_certificates(view):
            yield Request(path, "preset:ca-certificates", required=False)
    if "passwd" not in names:
        for path in [path for path in _ACCOUNTS if _is_to_write(view, image, path)]:
            yield Request(_write_accounts(view, image, path), "preset:passwd")


def _is_to_write(view: Overlay, image: ListedImage, path: bytes) -> bool:
    """Tell whether the image needs an account file `path` and has none of its own."""
    reasons = [reason for each in image.entries if each.path == path for reason in each.reasons]
    given = any(reason.startswith(("extra:", "staged")) for reason in reasons)
    return bool(reasons or image.user) and not given and not view.files.is_own(path)


def _present(view: Overlay, paths: Iterable[bytes]) -> list[bytes]:
    return [path for path in paths if view.walk(path).status is not None]


def _ca_certificates(view: Overlay) -> list[bytes]:
    bundles = _present(view, BUNDLES)
    if not bundles:
        return []
    name = _OPENSSL + b"/cert.pem"
    if _present(view, [_OPENSSL]) and not _present(view, [name]):
        view.place(name, Placed(Status(FileKind.LINK, 0o777, 0, 0, target=bundles[0])))
    return bundles + _present(view, [name, _OPENSSL + b"/openssl.cnf", b"/etc/ssl/openssl.cnf"])


def _tzdata(view: Overlay) -> list[bytes]:
    if not _present(view, [_ZONES]):
        return []
    # Each zone is there three times: as it is, and below these two.
    twice = (_ZONES + b"/posix", _ZONES + b"/right")
    zones = [path for path in tree(view, _ZONES) if not is_under(path, *twice)]
    return zones + _present(view, [b"/etc/localtime"])


def _tmp(view: Overlay) -> list[bytes]:
    everybodys = Placed(Status(FileKind.DIR, 0o1777, 0, 0))
    return [view.place(path, everybodys) for path in (b"/tmp", b"/var/tmp")]


def _nss(view: Overlay, image: ListedImage) -> list[bytes]:
    switch = Placed(Status(FileKind.FILE, 0o644, 0, 0, len(_NSSWITCH)), text=_NSSWITCH)
    homes = [path for path in image.paths if os.path.basename(path) == b"libc.so.6"]
    libraries = [
        os.path.join(os.path.dirname(home), name) for home in homes for name in _NSS_LIBRARIES
    ]
    return [view.place(b"/etc/nsswitch.conf", switch), *_present(view, [*libraries, *_NSS_FILES])]


def _locale(view: Overlay, image: ListedImage) -> list[bytes]:
    found = _present(view, [_LOCALES + b"/C.utf8"])
    for name in sorted(set(image.locales) - {"", "C", "POSIX"}):
        found.append(_place_of_locale(view, name))
    return [path for place in found for path in tree(view, place)]


def _place_of_locale(view: Overlay, name: str) -> bytes:
    """Return the directory of the locale `name`, or the archive that is to have it."""
    language, _, codeset = name.partition(".")
    plain = codeset.lower().replace("-", "")
    directory = os.path.join(_LOCALES, os.fsencode(f"{language}.{plain}" if plain else language))
    for path in _present(view, [directory, _LOCALES + b"/locale-archive"]):
        return path
    raise ListError(
        f"find locale {name}",
        f"there is no {show(directory)}",
        "install or generate it, or name C.UTF-8",
    )


def _write_accounts(view: Overlay, image: ListedImage, path: bytes) -> bytes:
    """Place a passwd or group file with the accounts that `image` needs at `path`."""
    users, groups = (_accounts(view, each) for each in _ACCOUNTS)
    name, _, group = image.user.partition(":")
    uids = {0, _NOBODY, *(entry.uid for entry in image.entries), *_number(name, users, "user")}
    gids = {0, *(entry.gid for entry in image.entries), *_number(group, groups, "group")}
    gids |= {int(users[uid][3]) for uid in uids if uid in users}
    if path == _ACCOUNTS[0]:
        form, chosen, kept = b"%s:x:%d:%s::/:/sbin/nologin", users, uids
    else:
        form, chosen, kept = b"%s:x:%d:%.0s", groups, gids
    numbers = sorted(kept & chosen.keys())
    lines = [form % (chosen[number][0], number, chosen[number][3]) for number in numbers]
    text = b"\n".join([*lines, b""])
    return view.place(path, Placed(Status(FileKind.FILE, 0o644, 0, 0, len(text)), text=text))


def _accounts(view: Overlay | OverlaidFiles, path: bytes) -> dict[int, list[bytes]]:
    """Return the fields of each line of the machine's passwd or group file `path` by number.

    `NONROOT` is among them, whomever the machine calls so.
    """
    number = b"%d" % NONROOT[1]
    accounts = {NONROOT[1]: [_NAME, b"x", number, number]}
    found = view.below.walk(path)
    if found.status is None:
        return {0: [b"root", b"x", b"0", b"0"], **accounts}
    with view.below.open(found.real) as stream:
        rows = [line.split(b":") for line in stream.read().splitlines()]
    for row in rows:
        sound = len(row) >= 4 and row[2].isdigit() and (path == _ACCOUNTS[1] or row[3].isdigit())
        if sound and row[0] != _NAME:
            accounts.setdefault(int(row[2]), row)
    return accounts


def _number(name: str, accounts: dict[int, list[bytes]], what: str) -> list[int]:
    """Return the number of the account `name`, if any is named."""
    if not name or name.isdigit():
        return [int(name)] if name else []
    numbers = [number for number, row in accounts.items() if row[0] == os.fsencode(name)]
    if not numbers:
        raise InputError(
            f"find {what} {name} of IMAGE_USER",
            "this machine has no such one",
            "write a number, or map a file of the project to /etc/passwd",
        )
    return numbers


_PRESETS: dict[str, Callable[[Overlay, ListedImage], list[bytes]]] = {
    "ca-certificates": lambda view, _: _ca_certificates(view),
    "locale": _locale,
    "nss": _nss,
    "passwd": lambda view, image: [_write_accounts(view, image, path) for path in _ACCOUNTS],
    "tmp": lambda view, _: _tmp(view),
    "tzdata": lambda view, _: _tzdata(view),
}
"""Returns the files of each of `settings.PRESETS`."""
