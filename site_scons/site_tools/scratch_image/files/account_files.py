"""The account files of an image: those of the base, with the accounts that the image needs alone.

These are root, ``nobody``, the owners of listed files, the image's user, and the accounts that
listed files name:

* a program or library that looks accounts up by name (getpwnam(3)), and has the name of a system's
  account at the end of a string: ``sshd`` in sshd. Words of any program, as ``mail``, do not count.
* a file of settings, in a line whose first word is about users, groups or owners:
  ``user www-data;``, ``listen.owner = www-data``, ``export APACHE_RUN_USER=www-data``.

and those that a command or a variable of the image names.

Groups of these users come as well, as primary groups and by their lists of members. Passwords,
names of people, homes and shells stay out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator

from ..errors import InputError, ListError
from ..fs.accounts import ACCOUNTS, GROUP, NONROOT, PASSWD, Account, parse
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind, Status
from ..fs.overlay import OverlaidFiles, Overlay, Placed
from ..fs.paths import show
from ..fs.root import Aspect, Root
from .entry import Entry

_NOBODY = 65534
_NAME = os.fsencode(NONROOT[0])
_FIRST_PERSON = 1000
"""The lowest number that distributions give to people: login.defs(5)."""

_LOOKUPS = (b"getpwnam", b"getgrnam", b"initgroups")
"""The functions that look up accounts by name; a program has the names of those that it calls."""

_WORDS = frozenset(
    b"audio backup bin cdrom daemon dip disk fax floppy games input irc list lp mail man news "
    b"operator proxy render src staff sync sys tape users uucp video voice".split()
)
"""Accounts whose names are strings of many programs, as facilities of syslog(3) are."""

_SETTINGS = re.compile(rb"/etc/.*|.*\.(conf|cfg|cnf|ini|toml|ya?ml)", re.DOTALL)
_LARGEST_SETTINGS = 1 << 20
_COMMENT = re.compile(rb"\s*(#|;|//)")
_LIBC = re.compile(rb"(libc|ld)[.-]|libnss_")
_WORD = re.compile(rb"[\w.$+-]+")
_KEY = re.compile(rb"(?i:.*(user|group|owner|uid|gid|privs).*|su|chown)|-[ug]")
"""The first word of a line about accounts."""


def find_names(files: FileSystem, path: bytes, accounts: Iterable[Account]) -> tuple[bytes, ...]:
    """Return the sorted names of `accounts` that the regular file `path` (link-free) has."""
    with files.open(path) as stream:
        content = stream.read(4)
        is_program = content == b"\x7fELF"
        content += stream.read() if is_program else stream.read(_LARGEST_SETTINGS)
    if is_program:
        names = {each.name for each in accounts if _is_of_system(each)} - _WORDS
        return tuple(sorted(_named_in_program(content, names)))
    named = set() if b"\0" in content else {*_named_in_settings(content)}
    return tuple(sorted(named & {each.name for each in accounts}))


def _is_of_system(account: Account) -> bool:
    return account.number < _FIRST_PERSON or account.number == _NOBODY


def _named_in_program(content: bytes, names: Iterable[bytes]) -> Iterator[bytes]:
    if any(call in content for call in _LOOKUPS):
        # Linkers let a string begin within a longer one that ends alike.
        ends = rb"(?<![\w.-])(?:%b)(?=\0)" % b"|".join(map(re.escape, sorted(names, reverse=True)))
        yield from {*re.findall(ends, content)}


def _named_in_settings(content: bytes) -> Iterator[bytes]:
    for line in content.splitlines():
        first, *words = _WORD.findall(line) or [b""]
        if first in (b"export", b"set") and words:
            first, *words = words
        if _KEY.fullmatch(first) and not _COMMENT.match(line):
            yield from words


def all_accounts(files: FileSystem | Root) -> list[Account]:
    """Return the users and groups of `files`."""
    return [each for path in ACCOUNTS for each in read_accounts(files, path)]


def read_accounts(files: FileSystem | Root, path: bytes) -> list[Account]:
    """Return the accounts of the account file `path`; root alone where there is no such file.

    `NONROOT` is among them, whichever account of the machine has that name.
    """
    made_up = Account(_NAME, NONROOT[1], NONROOT[1])
    found = files.walk(path)
    if found.status is None:
        return [Account(b"root", 0, 0), made_up]
    with files.open(found.real) as stream:
        return [made_up, *(each for each in parse(stream.read()) if each.name != _NAME)]


def write_account_files(
    view: Overlay,
    entries: Collection[Entry],
    user: str,
    named: Collection[bytes],
    paths: Collection[bytes],
) -> Iterator[bytes]:
    """Place the account files `paths` with what an image of `entries` needs; yield their places.

    The image runs as `user`, and needs the accounts `named` if there are such. InputError for an
    unknown user, ListError for an account that is there twice.
    """
    users, groups = (read_accounts(view.below, path) for path in ACCOUNTS)
    name, _, group = user.partition(":")
    names = {*named, *_names_in_files(view, entries)}
    uids = {0, _NOBODY, *(each.uid for each in entries), *_number(name, users, "user")}
    kept = _pick(PASSWD, users, uids, names)
    gids = {0, *(each.gid for each in entries), *_number(group, groups, "group")}
    gids |= {account.group for account in kept}
    members = {account.name for account in kept} - {b"root"}
    names |= {each.name for each in groups if members & {*each.members}}
    texts = {
        PASSWD: b"".join(map(_user_line, kept)),
        GROUP: b"".join(_group_line(each, members) for each in _pick(GROUP, groups, gids, names)),
    }
    for path in paths:
        text = texts[path]
        yield view.place(path, Placed(Status(FileKind.FILE, 0o644, 0, 0, len(text)), text=text))


def _user_line(user: Account) -> bytes:
    return b"%s:x:%d:%d::/:/sbin/nologin\n" % (user.name, user.number, user.group)


def _group_line(group: Account, users: Collection[bytes]) -> bytes:
    members = b",".join(sorted({*users} & {*group.members}))
    return b"%s:x:%d:%s\n" % (group.name, group.number, members)


def _pick(
    path: bytes, accounts: Iterable[Account], numbers: Collection[int], names: Collection[bytes]
) -> list[Account]:
    """Return the accounts of these `numbers` or `names`, sorted by number."""
    first: dict[int, Account] = {}
    for account in accounts:
        first.setdefault(account.number, account)
    picked = {each.name: each for number, each in sorted(first.items()) if number in numbers}
    for account in accounts:
        if account.name in names or account.name in picked:
            known = picked.setdefault(account.name, account)
            if known.number != account.number:
                raise ListError(
                    f"write {show(path)}",
                    f"account {show(account.name)} is there twice, as {known.number} and as "
                    f"{account.number}",
                    "remove one of the lines, or map a file of the project to it",
                )
    return sorted(picked.values(), key=lambda each: each.number)


def _names_in_files(view: Overlay, entries: Iterable[Entry]) -> set[bytes]:
    names: set[bytes] = set()
    accounts = all_accounts(view.below)
    for path in _code_and_settings(entries):
        view.look(path, Aspect.ACCOUNTS)
        names.update(find_names(view.files, path, accounts))
    return names


def _names_in_settings(view: Overlay | OverlaidFiles, entries: Iterable[Entry]) -> set[bytes]:
    """Return the accounts that the listed settings name."""
    accounts = all_accounts(view.below)
    paths = filter(_SETTINGS.fullmatch, _code_and_settings(entries))
    return {name for path in paths for name in find_names(view.files, path, accounts)}


def _code_and_settings(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the listed programs, libraries and settings; the C library has names of its own."""
    for entry in entries:
        name = os.path.basename(entry.path)
        is_code = entry.mode & 0o111 or b".so" in name
        is_file = entry.kind == "file" and not entry.text and entry.path not in ACCOUNTS
        if is_file and (is_code or _SETTINGS.fullmatch(entry.path)) and not _LIBC.match(name):
            yield entry.path


def _number(name: str, accounts: Iterable[Account], what: str) -> list[int]:
    """Return the number of the account `name`, if any is named."""
    if not name or name.isdigit():
        return [int(name)] if name else []
    numbers = [each.number for each in accounts if each.name == os.fsencode(name)]
    if not numbers:
        raise InputError(
            f"find {what} {name} of IMAGE_USER",
            "this machine has no such one",
            "write a number, or map a file of the project to /etc/passwd",
        )
    return numbers[:1]


def kept_accounts(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the names in the account files of `entries` that were written for the image."""
    texts = [entry.text for entry in entries if entry.path in ACCOUNTS and entry.text]
    names = [line.split(b":")[0] for text in texts for line in text.splitlines()]
    return tuple(map(os.fsdecode, dict.fromkeys(names)))


def lost_accounts(
    view: Overlay | OverlaidFiles, entries: Collection[Entry]
) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each account file that a run read, and of which the image has fewer accounts.

    With it the names that are left. A file that the user has given is the user's business. So are
    settings that name an account: another name there makes a new list.
    """
    if _names_in_settings(view, entries) & {*map(os.fsencode, kept_accounts(entries))} - {b"root"}:
        return
    for entry in entries:
        by_run = any(reason.startswith("run:") for reason in entry.reasons)
        if entry.path in ACCOUNTS and entry.text and by_run:
            kept = [line.split(b":")[0] for line in entry.text.splitlines()]
            known = {account.name for account in read_accounts(view.below, entry.path)}
            if known - {_NAME, *kept}:
                yield entry.path, [os.fsdecode(name) for name in kept]
