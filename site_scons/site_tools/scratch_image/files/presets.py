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

from ..errors import ListError
from ..fs.accounts import ACCOUNTS
from ..fs.lookup import FileKind, Status
from ..fs.overlay import OverlaidFiles, Overlay, Placed
from ..fs.paths import is_under, show
from .account_files import write_account_files
from .entry import Entry
from .request import Request, tree

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
    accounts: tuple[str, ...] = ()
    """Names of accounts that it needs if there are such."""

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


def _defaults(view: Overlay, image: ListedImage, names: Collection[str]) -> Iterator[Request]:
    if "ca-certificates" not in names and lacks_certificates(view, image.entries):
        for path in _ca_certificates(view):
            yield Request(path, "preset:ca-certificates", required=False)
    if "passwd" not in names:
        paths = [path for path in ACCOUNTS if _is_to_write(view, image, path)]
        for path in _write_accounts(view, image, paths):
            yield Request(path, "preset:passwd")


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


def _write_accounts(
    view: Overlay, image: ListedImage, paths: Collection[bytes] = ACCOUNTS
) -> Iterable[bytes]:
    accounts = frozenset(map(os.fsencode, image.accounts))
    return write_account_files(view, image.entries, image.user, accounts, paths) if paths else ()


_PRESETS: dict[str, Callable[[Overlay, ListedImage], list[bytes]]] = {
    "ca-certificates": lambda view, _: _ca_certificates(view),
    "locale": _locale,
    "nss": _nss,
    "passwd": lambda view, image: [*_write_accounts(view, image)],
    "tmp": lambda view, _: _tmp(view),
    "tzdata": lambda view, _: _tzdata(view),
}
"""Returns the files of each of `settings.PRESETS`."""
