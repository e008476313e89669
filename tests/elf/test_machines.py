from __future__ import annotations

import os
import sys

import pytest
from scratch_image.elf import reader
from scratch_image.elf.machines import MACHINES, machine, native_machine, runs_here


@pytest.mark.parametrize(
    ("number", "expected"),
    [(62, "x86_64"), (183, "aarch64"), (3, "i386"), (0xFEED, "machine 65261")],
)
def test_name(number: int, expected: str) -> None:
    assert expected == machine(number).name


def test_native_machine_is_that_of_python() -> None:
    with open(sys.executable, "rb") as stream:
        assert reader.read(stream, b"python").machine == native_machine()
    assert os.uname().machine == machine(native_machine()).name


def test_a_kernel_runs_the_programs_of_its_smaller_machine() -> None:
    native = native_machine()

    assert runs_here(native)
    assert [row.number for row in MACHINES.values() if runs_here(row.number)] == [
        each for each in MACHINES if each in (native, machine(native).runs)
    ]
    assert not runs_here(0xFEED)
