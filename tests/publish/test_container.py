from __future__ import annotations

import os
from pathlib import Path

import pytest
from engines import podman
from loads import NAME, capable, effective
from scratch_image.publish import engine
from scratch_image.sysroot.unpack import Unpacking


@pytest.mark.parametrize("program", ["/app/status", "/app/twin"])
def test_program_has_its_capabilities(
    address: str, tmp_path: Path, status: bytes, program: str
) -> None:
    engine.load(address, capable(tmp_path, status), [])

    assert effective(address, program) == ["CapEff:", f"{1 << 13:016x}"]


def test_program_has_its_capabilities_in_a_newer_engine(
    newer: tuple[str, bool], tmp_path: Path, status: bytes
) -> None:
    engine.load(newer[0], capable(tmp_path, status), [])

    for program in ("/app/status", "/app/twin"):
        assert effective(newer[0], program) == ["CapEff:", f"{1 << 13:016x}"]
    system = Unpacking(os.fsencode(tmp_path / "exported"), whole_system=True)
    system.unpack(engine.export(newer[0], NAME))
    assert system.capabilities == dict.fromkeys((b"/app/status", b"/app/twin"), "cap_net_raw=ep")


def test_program_has_its_capabilities_in_podman(tmp_path: Path, status: bytes) -> None:
    with podman(tmp_path) as address:
        engine.load(address, capable(tmp_path, status), [])
        for program in ("/app/status", "/app/twin"):
            assert effective(address, program) == ["CapEff:", f"{1 << 13:016x}"]
