"""Random edits of a lab, and a model that says in a few lines what the lab's program looks at."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab import Lab

ROUNDS = int(os.environ.get("EDIT_ROUNDS", "4"))
OUTPUTS = (".first.trace", ".second.trace", ".ldd", ".files", ".tar", ".oci.tar")


def read_outputs(lab: Lab) -> dict[str, bytes]:
    """Return the content of each output of the lab's project."""
    return {name: lab.out(name).read_bytes() for name in OUTPUTS}


@dataclass
class Model:
    """The state of the lab after the edits."""

    lab: Lab
    version: str = "1"
    data: str = "data.txt"
    words: dict[str, str] = field(default_factory=lambda: {"first": "one", "second": "two"})
    label: str = "reader"
    extra: list[str] = field(default_factory=lambda: ["extra1.txt"])

    def state(self, name: str) -> str:
        """Return kind, mode and content of the world's `name`, or its absence."""
        path = self.lab.world / name
        if path.is_symlink():
            return f"link {path.readlink()}"
        if not path.exists():
            return "absent"
        return f"{path.stat().st_mode:o} {path.read_bytes()!r}"

    def size(self, name: str) -> str:
        """Return kind, mode and size of `name`, or its absence."""
        path = self.lab.world / name
        return f"{path.stat().st_mode:o} {path.stat().st_size}" if path.exists() else "absent"

    def libraries(self) -> list[str]:
        """Return what the loader looks at: the second directory only when the first has none."""
        first = self.state("lib1/libgreet.so")
        return [first, self.state("lib2/libgreet.so")] if first == "absent" else [first]

    def traced(self, run: str) -> list[object]:
        """Return all that decides over the trace of `run`."""
        link = os.readlink(self.lab.world / "link")
        return [
            self.words[run],
            *(self.state(name) for name in ("reader", self.data, "link", link, "maybe")),
            self.size("only-stat.txt"),
            sorted(os.listdir(self.lab.world / "dir")),
            *self.libraries(),
            self.state("stdin.txt") if run == "second" else "",
        ]

    def listed(self) -> list[str]:
        """Return kind, mode and target of every file of the world that is listed."""
        states = []
        for line in self.lab.out(".files").read_text().splitlines():
            path = Path(line.split(" ")[3]) if line[0] in "fl" else self.lab.project
            if path.is_relative_to(self.lab.world):
                state = self.state(str(path.relative_to(self.lab.world)))
                states.append(state if line[0] == "l" else state.split(" ")[0])
        return states

    def packed(self) -> list[str]:
        """Return the content of every file of the world that is listed."""
        lines = self.lab.out(".files").read_text().splitlines()
        paths = [Path(line.split(" ")[3]) for line in lines if line[0] == "f"]
        return [
            self.state(str(path.relative_to(self.lab.world)))
            for path in paths
            if path.is_relative_to(self.lab.world)
        ]

    def write_project(self) -> None:
        """Write SConscript and extra list as the model has them."""
        text = self.lab.sconscript()
        for word in ("one", "two"):
            run = "first" if word == "one" else "second"
            text = text.replace(f"reader {word}", f"reader {self.words[run]}")
        text = text.replace('"kind": "reader"', f'"kind": "{self.label}"')
        image = self.lab.project / "images/reader"
        Lab.write(image / "SConscript", text)
        lines = "".join(f"{self.lab.world}/{name}\n" for name in self.extra)
        Lab.write(image / "reader.extra", lines)


def _write(*names: str) -> Callable[[Model, random.Random], None]:
    def edit(model: Model, dice: random.Random) -> None:
        path = model.lab.world / dice.choice(names)
        path.write_text(str(dice.randrange(10 ** dice.randrange(1, 4))))

    return edit


def _remove_or_write(*names: str) -> Callable[[Model, random.Random], None]:
    def edit(model: Model, dice: random.Random) -> None:
        path = model.lab.world / dice.choice(names)
        if path.exists():
            path.unlink()
        else:
            path.write_text("new")

    return edit


def _chmod(model: Model, dice: random.Random) -> None:
    name = dice.choice(["same1.txt", "same2.txt", "data.txt", "extra1.txt", "other.txt"])
    (model.lab.world / name).chmod(dice.choice([0o644, 0o600, 0o755]))


def _relink(model: Model, dice: random.Random) -> None:
    link = model.lab.world / "link"
    link.unlink()
    link.symlink_to(dice.choice(["same1.txt", "same2.txt"]))


def compile_program(model: Model, dice: random.Random) -> None:
    model.version, model.data = dice.choice("12"), dice.choice(["data.txt", "other.txt"])
    model.lab.compile_reader(model.version, model.data)


def _library(model: Model, dice: random.Random) -> None:
    first = model.lab.world / "lib1/libgreet.so"
    if first.exists():
        first.unlink()
    else:
        model.lab.compile_library(dice.choice(["lib1", "lib2"]), 0)


def _words(model: Model, dice: random.Random) -> None:
    model.words[dice.choice(["first", "second"])] = dice.choice(["a", "b c", "d"])


def _label(model: Model, dice: random.Random) -> None:
    model.label = dice.choice(["x", "y"])


def _extra(model: Model, dice: random.Random) -> None:
    model.extra = dice.sample(["extra1.txt", "extra2.txt", "link", "dir"], dice.randrange(4))


def _touch(model: Model, dice: random.Random) -> None:
    os.utime(model.lab.world / dice.choice(["reader", "data.txt", "extra1.txt", "dir"]))


def _delete_output(model: Model, dice: random.Random) -> None:
    model.lab.out(dice.choice(OUTPUTS)).unlink(missing_ok=True)


EDITS: list[Callable[[Model, random.Random], None]] = [
    _write("same1.txt", "same2.txt", "data.txt", "other.txt", "stdin.txt"),
    _write("only-stat.txt", "extra1.txt", "extra2.txt", "dir/one", "unread.txt"),
    _remove_or_write("maybe", "dir/two", "only-stat.txt"),
    _chmod, _relink, compile_program, _library, _words, _label, _extra, _touch, _delete_output,
]  # fmt: skip

WORLD_EDITS = [*EDITS[:4], _relink, compile_program, _library, _touch]
"""Edits of the world alone: files that SCons reads itself stay as they are during a build."""
