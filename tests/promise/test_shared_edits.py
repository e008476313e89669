"""Random edits in checkouts that share a cache: each result is that of a clean build without one.

``EDIT_ROUNDS`` in the environment sets how many rounds there are.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from edits import EDITS, OUTPUTS, ROUNDS, Model, read_outputs
from lab import Lab, Scons

FOLLOWING = ("images/reader/SConscript", "images/reader/reader.extra")
"""Files of the project that edits change."""


def test_checkouts_that_share_a_cache_make_what_a_clean_build_makes(
    newest: Scons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_CACHE", str(tmp_path / "cache"))
    lab = Lab(tmp_path, newest).make()
    model = Model(lab)
    second, fresh = tmp_path / "deep/below/second", tmp_path / "fresh"
    Lab.copy_project(lab.project, second)
    dice = random.Random(f"{ROUNDS}")
    steps = hits = 0
    for number in range(ROUNDS):
        for edit in dice.choices(EDITS, k=dice.randrange(3)):
            edit(model, dice)
        model.write_project()
        for name in FOLLOWING:
            shutil.copy(lab.project / name, second / name)
        shutil.rmtree(fresh, ignore_errors=True)
        Lab.copy_project(lab.project, fresh)
        lab.jobs = dice.choice([1, 8])

        order = [lab.project, second, fresh]
        dice.shuffle(order)
        built = [lab.build(project=each) for each in order]

        clean = tmp_path / f"clean{number}"
        Lab.copy_project(lab.project, clean)
        lab.build("--cache-disable", project=clean)
        for name in OUTPUTS:
            wanted = lab.out(name, clean).read_bytes()
            made = [lab.out(name, each).read_bytes() for each in order]
            assert made == [wanted] * 3, (number, name, [each.output for each in built])
        assert [lab.build(project=each).steps for each in order] == [[], [], []], number
        steps += sum(step[:3] in ("TRA", "LDD", "LIS") for each in built for step in each.steps)
        hits += sum(each.output.count(", from the cache, ") for each in built)
        shutil.rmtree(clean)
    assert hits
    assert read_outputs(lab)
    print(f"{ROUNDS} rounds, {hits} of {steps} steps from the cache")  # noqa: T201
