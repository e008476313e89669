"""Random edits: the incremental result is the clean one, byte for byte, by the least set of steps.

`edits.Model` decides, apart from the plugin, which traces have to run again. ``EDIT_ROUNDS`` in the
environment sets how many rounds there are.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from edits import EDITS, OUTPUTS, ROUNDS, Model, read_outputs
from lab import Lab, Scons


def _expected(
    model: Model, before: dict[str, object], outputs: dict[str, bytes], gone: set[str]
) -> set[str]:
    """Return the least set of steps for what lies between `before` and now, after the build."""
    after, now = _inputs(model), read_outputs(model.lab)
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
        before, outputs = _inputs(model), read_outputs(lab)
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
