"""Data of the system that other inputs need than the traced ones: each kind a finding.

The image has what the runs read. A time zone, a font or a terminal is chosen by a variable or an
argument, so another one than the traced one is just as ordinary.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from ..fs.paths import is_under, join, show
from .finding import Examined, Finding, Rank
from .own_code import OwnFile, glibc_version, libc
from .presets import BUNDLES, lacks_certificates

_ZONES = b"/usr/share/zoneinfo"
_LOCALES = b"/usr/lib/locale"
_FONTS = (b"/usr/share/fonts", b"/usr/local/share/fonts")
_FONT = re.compile(rb".*\.(ttf|ttc|otf|pfb|pcf|pcf\.gz|bdf)", re.IGNORECASE)
_TERMINALS = (b"/etc/terminfo", b"/lib/terminfo", b"/usr/share/terminfo")
_TERMINAL_LIBRARY = re.compile(rb"lib(tinfo|ncurses|curses)w?\.so\b.*")
_JVM = b"/libjvm.so"
"""The end of the path of a JVM, two levels below the directory with all that it has."""

_SERVICES = (b"/etc/services", b"/etc/protocols")

_ENOUGH = 0.9
"""The part of a kind of data that counts as all of it: files of notes and of indexes stay out."""

_HOSTS = (b"getaddrinfo", b"gethostbyname", b"gethostbyname_r")
_NAMES = (b"getservbyname", b"getservbyname_r", b"getprotobyname", b"getprotobyname_r")
_TIMES = (b"tzset", b"localtime", b"localtime_r", b"mktime")
_THREADS = (b"pthread_exit", b"pthread_cancel")
_TEMPORARY = (
    *(b"tmpfile", b"tmpfile64", b"tmpnam", b"tempnam", b"mkdtemp"),
    *(b"mkstemp", b"mkstemp64", b"mkstemps", b"mkostemp", b"mkostemp64"),
)
_TERMINAL_CALLS = (b"setupterm", b"tgetent", b"initscr", b"newterm")
_CHARACTERS = (b"towlower", b"towupper", b"btowc", b"wcscoll", b"wcwidth")
_CHARSETS = (
    *(b"ISO-8859-1", b"ISO8859-1", b"iso-8859-1", b"latin1", b"LATIN1", b"KOI8-R", b"koi8-r"),
    *(b"CP1252", b"cp1252", b"SHIFT_JIS", b"SJIS", b"EUC-JP", b"euc-jp", b"UTF-7", b"from-code"),
)
"""Character sets that glibc converts by modules only, and the option that takes any."""

WORDS = (
    *_HOSTS, *_NAMES, *_TIMES, *_THREADS, *_TEMPORARY, *_TERMINAL_CALLS, *_CHARSETS,
    *_CHARACTERS, b"iconv_open",
)  # fmt: skip
"""The words that the findings here look for in the image's own code."""


def find(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    """Yield the findings about the data of the system; `code` is the image's own, with `WORDS`."""
    for rule in _RULES:
        yield from rule(image, code)
    if libc(image.entries):
        for rule in _RULES_OF_GLIBC:
            yield from rule(image, code)


def _caller(code: Collection[OwnFile], functions: Collection[bytes]) -> str:
    """Return the first file that calls one of `functions`, as text; nothing if none does."""
    return next(
        (f"{show(f.path)} calls {f.calls(functions)}" for f in code if f.calls(functions)), ""
    )


# Rules of glibc


def _threads(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    caller = _caller(code, _THREADS)
    name = b"libgcc_s.so.1"
    if caller and name not in {os.path.basename(path) for path in image.paths}:
        directory = show(os.path.dirname(libc(image.entries)))
        yield Finding(
            Rank.LIKELY,
            "the end of a thread",
            f"{caller}, for which glibc loads {name.decode()} or aborts",
            f"list {directory}/{name.decode()}",
        )


def _hosts(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    caller = _caller(code, _HOSTS)
    if not caller or b"/etc/nsswitch.conf" in image.paths:
        return
    # From 2.35 on its own default is "files dns", and both modules are part of libc.
    if glibc_version(image.view, libc(image.entries)) < (2, 35):
        yield Finding(
            Rank.LIKELY,
            "a host name",
            f"{caller}, which needs /etc/nsswitch.conf and modules in a glibc before 2.35",
            "add the preset nss",
        )


def _character_sets(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    modules = os.path.join(os.path.dirname(libc(image.entries)), b"gconv")
    named = [file for file in code if file.words & {*_CHARSETS}]
    caller = _caller(named, [b"iconv_open"])
    if caller and not any(is_under(path, modules) for path in image.paths):
        yield Finding(
            Rank.POSSIBLE,
            "text in another character set, such as ISO-8859-1",
            f"{caller}, and the image has no {show(modules)}",
            f"list {show(modules)}",
        )


def _services(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    caller = _caller(code, _NAMES)
    absent = [path for path in _SERVICES if _is_left_behind(image, path)]
    if caller and absent:
        yield Finding(
            Rank.POSSIBLE,
            "the name of a service or protocol",
            f"{caller}, and the image has no {' and no '.join(map(show, absent))}",
            "add the preset nss",
        )


def _is_left_behind(image: Examined, path: bytes) -> bool:
    return not image.has(path) and image.view.walk(path).status is not None


# Rules of any program


def _zones(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    others = [file for file in code if not _has_own_zones(image, file)]
    has_looked = any(path == b"/etc/localtime" or is_under(path, _ZONES) for path in image.used)
    caller = _caller(others, _TIMES)
    if caller or (has_looked and len(others) == len(code)):
        listed, every = image.count(filter(_is_zone, image.files(_ZONES)))
        if listed < every * _ENOUGH:
            yield Finding(
                Rank.LIKELY if has_looked else Rank.POSSIBLE,
                f"TZ with {'another' if listed else 'a'} time zone",
                f"it means UTC, as the image has {listed} of {every} zones",
                "add the preset tzdata",
            )


def _has_own_zones(image: Examined, file: OwnFile) -> bool:
    """Tell whether `file` takes time zones from ICU, or from its JVM."""
    return file.has_zones or any(
        is_under(file.path, os.path.dirname(os.path.dirname(path)))
        for path in image.paths
        if path.endswith(_JVM)
    )


def _is_zone(path: bytes) -> bool:
    names = path.removeprefix(_ZONES + b"/").split(b"/")
    is_twice = names[0] in (b"posix", b"right")
    return not is_twice and names[-1][:1].isupper() and b"." not in names[-1]


def _locales(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    # Nearly every program calls setlocale: one that looks at characters needs more than ASCII.
    has_looked = any(is_under(path, _LOCALES) for path in image.used)
    names = image.names(_LOCALES)
    listed = [name for name in names if join(_LOCALES, name) in image.paths]
    is_user = has_looked or (_caller(code, _CHARACTERS) and not listed)
    if is_user and len(listed) < len(names):
        example = next(name for name in names if name not in listed)
        yield Finding(
            Rank.POSSIBLE,
            f"LANG with {'another' if listed else 'a'} locale, such as {show(example)}",
            f"it means C, as the image has {len(listed)} of {len(names)} locales",
            f"list {show(_LOCALES)}" if listed else "add the preset locale",
        )


def _fonts(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:  # noqa: ARG001
    if any(os.path.basename(path).startswith(b"libfontconfig.so") for path in image.paths):
        fonts = (path for place in _FONTS for path in image.files(place))
        listed, every = image.count(filter(_FONT.fullmatch, fonts))
        if listed < every * _ENOUGH:
            yield Finding(
                Rank.LIKELY,
                "text in another font or script",
                f"another font replaces it, as the image has {listed} of {every} fonts",
                f"list {show(_FONTS[0])}",
            )


def _terminals(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    uses_library = any(_TERMINAL_LIBRARY.fullmatch(os.path.basename(path)) for path in image.paths)
    caller = _caller(code, _TERMINAL_CALLS)
    if not uses_library and not caller:
        return
    counts = {place: image.count(image.files(place)) for place in _TERMINALS}
    listed, every = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    if listed < every * _ENOUGH:
        place = max(counts, key=lambda place: counts[place][1] - counts[place][0])
        yield Finding(
            Rank.LIKELY if caller else Rank.POSSIBLE,
            "a terminal, as TERM and docker run -t name it",
            f"the image has {listed} of {every} descriptions of terminals",
            f"list {show(place)}",
        )


def _temporary_files(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    caller = _caller(code, _TEMPORARY)
    if caller and b"/tmp" not in image.paths:
        yield Finding(
            Rank.LIKELY,
            "an input for which it makes a temporary file",
            f"{caller}, and the image has no /tmp",
            "add the preset tmp",
        )


def _certificates(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    user = lacks_certificates(image.view, image.entries)
    if user:
        yield Finding(
            Rank.LIKELY, "TLS", f"{user} finds no certificates", "add the preset ca-certificates"
        )
    yield from (
        Finding(Rank.LIKELY, "TLS", f"{show(user)} finds no certificates", fix)
        for user, fix in _own_stores(image, code)
    )


def _own_stores(image: Examined, code: Collection[OwnFile]) -> Iterator[tuple[bytes, str]]:
    """Yield the files that look for certificates of their own, and lack them, with the fix."""
    for path in sorted(image.paths):
        above = os.path.dirname(os.path.dirname(path))
        store = join(os.path.dirname(path), b"cacert.pem")
        if path.endswith(_JVM):
            store = join(above, b"security/cacerts")
        elif not path.endswith(b"/certifi/__init__.py"):
            continue
        if _is_left_behind(image, store):
            yield path, f"list {show(store)}"
    if not any(path in BUNDLES for path in image.paths):
        for file in code:
            if file.checks_certificates:
                yield file.path, "add the preset ca-certificates"
                return


_RULES = (
    _zones, _locales, _fonts, _terminals, _temporary_files, _certificates,
)  # fmt: skip
_RULES_OF_GLIBC = (_threads, _hosts, _character_sets, _services)
