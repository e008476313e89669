"""Random edits: the incremental result is the clean one, byte for byte, by the least set of steps.

`Model` says in a few lines what the lab's program looks at. It decides, apart from the plugin,
which traces have to run again. ``EDIT_ROUNDS`` in the environment sets how many rounds there are.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab import Lab, Scons

ROUNDS = int(os.environ.get("EDIT_ROUNDS", "12"))
OUTPUTS = (".first.trace", ".second.trace", ".ldd", ".files", ".tar", ".oci.tar")


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


def _compile(model: Model, dice: random.Random) -> None:
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
    _chmod, _relink, _compile, _library, _words, _label, _extra, _touch, _delete_output,
]  # fmt: skip


EDITS_MEANWHILE = [
    *EDITS[:4],
    _relink,
    _compile,
    _library,
    _touch,
]
"""Edits of the world alone: what SCons reads itself has to be at rest while it does."""

_REFUSED = re.compile(r"^scons: \*\*\* \[[^]]+\] cannot .+; .+$", re.MULTILINE)
"""How a step ends that was disturbed: by one line."""


def _bytes(lab: Lab) -> dict[str, bytes]:
    return {name: lab.out(name).read_bytes() for name in OUTPUTS}


def _expected(
    model: Model, before: dict[str, object], outputs: dict[str, bytes], gone: set[str]
) -> set[str]:
    """Return the least set of steps for what lies between `before` and now, after the build."""
    after, now = _inputs(model), _bytes(model.lab)
    changed = {name for name in OUTPUTS if outputs[name] != now[name]}
    differ = {key for key in after if after[key] != before[key]}
    steps = {
        f"TRACE {run}" for run in ("first", "second") if {run, f".{run}.trace"} & (differ | gone)
    }
    if {"libraries", ".ldd"} & (differ | gone):
        steps.add("LDD")
    lists = {".first.trace", ".second.trace", ".ldd"} & changed or {"extra", "listed"} & differ
    if lists or ".files" in gone:
        steps.add("LIST")
    if ".files" in changed or "packed" in differ or ".tar" in gone:
        steps.add("TAR")
    if ".tar" in changed or "label" in differ or ".oci.tar" in gone:
        steps.add("IMAGE")
    return steps


def _inputs(model: Model) -> dict[str, object]:
    return {
        "first": model.traced("first"),
        "second": model.traced("second"),
        "libraries": [model.state("reader"), *model.libraries()],
        "extra": list(model.extra),
        "listed": model.listed(),
        "packed": model.packed(),
        "label": model.label,
    }


@pytest.mark.parametrize("jobs", [1, 8], ids=["j1", "j8"])
def test_incremental_build_is_the_clean_one(scons: Scons, jobs: int, tmp_path: Path) -> None:
    lab = Lab(tmp_path, scons, jobs).make()
    lab.build()
    model = Model(lab)
    dice = random.Random(f"{scons.version} {jobs}")
    edits = steps = 0
    for number in range(ROUNDS):
        before, outputs = _inputs(model), _bytes(lab)
        if dice.random() < 0.5:
            lab.seal()
        chosen = dice.choices(EDITS, k=dice.randrange(1, 4))
        for edit in chosen:
            edit(model, dice)
        model.write_project()
        gone = {name for name in OUTPUTS if not lab.out(name).exists()}

        built = lab.build()

        clean = tmp_path / f"clean{number}"
        Lab.copy_project(lab.project, clean)
        lab.build(project=clean)
        for name in OUTPUTS:
            assert lab.out(name).read_bytes() == lab.out(name, clean).read_bytes(), (number, name)
        assert set(built.steps) == _expected(model, before, outputs, gone), (number, built.output)
        assert lab.build().steps == []
        edits, steps = edits + len(chosen), steps + len(built.steps)
    print(f"{ROUNDS} rounds, {edits} edits, {steps} steps run")  # noqa: T201


@pytest.mark.parametrize("jobs", [1, 8], ids=["j1", "j8"])
def test_edit_while_a_step_runs_is_seen_by_the_next_build(
    scons: Scons, jobs: int, tmp_path: Path
) -> None:
    lab = Lab(tmp_path, scons, jobs).make()
    lab.build()
    model = Model(lab)
    dice = random.Random(f"meanwhile {scons.version} {jobs}")
    refused = 0
    for number in range(ROUNDS):
        # Something to do for each step, and edits from before it begins until after it has ended.
        EDITS[5](model, dice)
        model.extra = dice.sample(["extra1.txt", "extra2.txt", "dir"], 2)
        model.write_project()
        ended = threading.Event()
        editor = threading.Thread(target=_edit_until, args=(ended, model, dice))
        editor.start()
        try:
            disturbed = lab.build(status=None)
        finally:
            ended.set()
            editor.join()
        if disturbed.status:
            assert _REFUSED.search(disturbed.output), disturbed.output
            refused += 1

        lab.build()

        clean = tmp_path / f"clean{number}"
        Lab.copy_project(lab.project, clean)
        lab.build(project=clean)
        for name in OUTPUTS:
            assert lab.out(name).read_bytes() == lab.out(name, clean).read_bytes(), (number, name)
        assert lab.build().steps == []
        shutil.rmtree(clean)
    print(f"{ROUNDS} rounds, {refused} builds refused")  # noqa: T201


def _edit_until(ended: threading.Event, model: Model, dice: random.Random) -> None:
    """Edit the world every few milliseconds until the build has `ended`."""
    while not ended.wait(dice.random() * 0.3):
        dice.choice(EDITS_MEANWHILE)(model, dice)
