"""The access of an image's user to its files, by path_resolution(7) and inode(7).

A run is traced by root, or by who owns the files. In a container another user may lack what the run
had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..fs.lookup import FileKind, Status
from ..fs.paths import parents, show
from .rootfs import GROUPS, USERS, Contents

if TYPE_CHECKING:
    from ..trace.record import Record
    from .settings import Settings

_READ, _EXECUTE = 4, 1
"""Bits of each digit of a mode; for a directory to execute is to search."""

_BITS = {"read": _READ, "list": _READ, "exec": _EXECUTE}
"""By use: the bit that the path itself has to have. All others need no more than the way to it."""

_NAMED = 5
"""Paths that the message names."""


@dataclass(frozen=True, slots=True)
class User:
    """The account that runs a program in a container."""

    uid: int
    gid: int
    groups: frozenset[int]
    """All of them, `gid` as well."""

    @classmethod
    def find(cls, contents: Contents, named: str) -> User:
        """Return the user `named` in an image's config, by the account files of `contents`.

        As runc does: a number need not be known, and has group 0 then; who is named without a
        group is in all that have the name as a member.
        """
        name, _, group = named.partition(":")
        rows = [row for row in contents.accounts(USERS) if name.encode() in (row[0], row[2])]
        uid = int(name) if name.isdigit() else int(rows[0][2]) if rows else 0
        groups = contents.accounts(GROUPS)
        if group:
            known = (int(row[2]) for row in groups if row[0] == group.encode())
            gid = int(group) if group.isdigit() else next(known, 0)
            return cls(uid, gid, frozenset({gid}))
        gid = int(rows[0][3]) if rows and rows[0][3].isdigit() else 0
        member = rows[0][0] if rows else b""
        more = (int(row[2]) for row in groups if member in row[3].split(b",") and member)
        return cls(uid, gid, frozenset({gid, *more}))

    def may(self, status: Status, bit: int) -> bool:
        """Tell whether `status` gives the user the `bit` of a mode."""
        if self.uid == status.uid:
            return bool(status.mode >> 6 & bit)
        return bool(status.mode >> 3 * (status.gid in self.groups) & bit)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An access that the user lacks and a program needs."""

    verb: str
    path: bytes
    status: Status
    bit: int
    actor: str

    def __str__(self) -> str:
        mode, uid, gid = self.status.mode, self.status.uid, self.status.gid
        access = f"(mode {mode:04o}, owner {uid}:{gid}) for {self.actor}"
        return f"{self.verb} {show(self.path)} {access}"

    def line(self, user: User) -> str:
        """Return the line of an extra list that gives it to `user`."""
        mode, owner = self.status.mode, f"owner={user.uid}:{user.gid}"
        is_directory = self.status.kind is FileKind.DIR
        start = f"dir {show(self.path)}" if is_directory else show(self.path)
        if not mode >> 6 & self.bit:
            return f"{start} mode={mode | self.bit:04o}"
        return f"{start} mode={mode:04o} {owner}" if is_directory else f"{start} {owner}"


def require(contents: Contents, settings: Settings, runs: Mapping[str, Record]) -> None:
    """Raise InputError when the image's user may not do what `runs` did with what `contents` has.

    Nor start its programs. `runs` are records by the name of the run.
    """
    user = User.find(contents, settings.document().get("User", ""))
    if user.uid == 0:
        return
    refusals: dict[bytes, _Refusal] = {}
    for path, use, actor in _uses(contents, settings, runs):
        for refusal in _error(contents, user, path, use, actor):
            refusals.setdefault(refusal.path, refusal)
    if refusals:
        found = list(refusals.values())
        paths = [*map(str, found[:_NAMED])]
        if len(found) > _NAMED:
            paths.append(f"and {len(found) - _NAMED} paths more")
        raise InputError(
            f"run the image as {settings.user!r}",
            f"it may not {', '.join(paths)}",
            f"add to an extra list: {found[0].line(user)}, or leave it out: !{show(found[0].path)}",
        )


def _uses(
    contents: Contents, settings: Settings, runs: Mapping[str, Record]
) -> Iterator[tuple[bytes, str, str]]:
    """Yield each path that is used, with the use and the actor."""
    for variable, name in settings.programs.items():
        yield contents.program(name, settings), "exec", variable
    for run, record in sorted(runs.items()):
        for use in record.uses:
            if use.kind not in ("absent", "write"):
                yield use.path, use.kind, f"run {run}"


def _error(contents: Contents, user: User, path: bytes, use: str, actor: str) -> Iterator[_Refusal]:
    """Yield what stands in the way of `use`; nothing of a path that the image does not have."""
    found = contents.walk(path, follow=use != "link")
    if found.status is None:
        return
    for above in _directories((*found.links, found.real)):
        status = contents.status(above)
        if status is not None and not user.may(status, _EXECUTE):
            yield _Refusal("search", above, status, _EXECUTE, actor)
    bit = _BITS.get(use, 0)
    if bit and not user.may(found.status, bit):
        yield _Refusal("execute" if use == "exec" else use, found.real, found.status, bit, actor)


def _directories(paths: Iterable[bytes]) -> list[bytes]:
    """Return the directories above `paths`, each once."""
    return list(dict.fromkeys(above for path in paths for above in parents(path)))
