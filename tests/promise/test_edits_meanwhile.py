"""Random edits while a build runs: the next build gives the clean result, byte for byte."""

from __future__ import annotations

import random
import re
import shutil
import threading
from pathlib import Path

import pytest
from edits import OUTPUTS, ROUNDS, WORLD_EDITS, Model, compile_program
from lab import Lab, Scons

_REFUSED = re.compile(r"^scons: \*\*\* \[[^]]+\] cannot .+; .+$", re.MULTILINE)
"""How a step ends that was disturbed: by one line."""


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
        compile_program(model, dice)
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
        dice.choice(WORLD_EDITS)(model, dice)
