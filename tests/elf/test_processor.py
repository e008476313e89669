from __future__ import annotations

import pytest
from elves import an_elf
from scratch_image.elf.machines import AARCH64, I386, X86_64
from scratch_image.elf.processor import LEVELS, Processor

V2 = "fpu sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} avx f16c fma abm movbe bmi1 bmi2 avx2"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "bits", "machine", "expected"),
    [
        pytest.param("AuthenticAMD", "fpu sse2", 64, X86_64, Processor((), b"x86_64"), id="v1"),
        pytest.param(
            "AuthenticAMD", V2, 64, X86_64, Processor((b"x86-64-v2",), b"x86_64"), id="v2"
        ),
        pytest.param(
            "AuthenticAMD",
            V3,
            64,
            X86_64,
            Processor((b"x86-64-v3", b"x86-64-v2"), b"x86_64"),
            id="v3",
        ),
        pytest.param("AuthenticAMD", V4, 64, X86_64, Processor(LEVELS, b"x86_64"), id="v4"),
        pytest.param("GenuineIntel", V4, 64, X86_64, Processor(LEVELS, b"haswell"), id="intel"),
        pytest.param("GenuineIntel", V4, 32, I386, Processor((), b"i686"), id="i386"),
        pytest.param("GenuineIntel", V4, 64, AARCH64, Processor((), b"aarch64"), id="foreign"),
    ],
)
def test_processor(vendor: str, flags: str, bits: int, machine: int, expected: Processor) -> None:
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\nbugs\t\t: x\n\n"
    assert expected == Processor.of((one * 2).encode(), an_elf(bits, machine))


def test_a_processor_without_flags_has_no_levels() -> None:
    assert Processor.of(b"", an_elf()) == Processor((), b"x86_64")
