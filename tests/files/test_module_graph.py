from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from examined import examine
from scratch_image.errors import ListError
from scratch_image.files import module_graph
from scratch_image.files.module_graph import follow


class Words:
    """A language of which each word is the path of a module."""

    def programs(self) -> list[bytes]:
        return [b"/program"]

    def imports(self, path: bytes, source: bytes) -> Iterator[bytes]:
        yield from source.split()

    def is_standard(self, path: bytes) -> bool:
        return path.startswith(b"/lib")

    def companions(self, path: bytes) -> Iterator[bytes]:
        return iter(())

    def always(self) -> Iterator[bytes]:
        return iter(())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "program").write_text("/lib1 /own")
    (tmp_path / "lib1").write_text("/lib2 /program")
    (tmp_path / "lib2").write_text("/lib1")
    (tmp_path / "own").write_text("/large /gone")
    (tmp_path / "large").write_text("/never")
    return tmp_path


def test_imports_are_followed_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_graph, "LARGEST_SOURCE", 14)
    (base / "large").write_text("/never" * 9)

    found = follow(examine(base), Words())

    assert found.programs == (b"/program",)
    assert found.modules == (b"/gone", b"/large", b"/lib1", b"/lib2", b"/own", b"/program")
    assert found.direct == {b"/lib1", b"/own", b"/large", b"/gone"}
    assert found.unread == 2


def test_too_many_modules_are_an_error(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_graph, "MOST_MODULES", 3)

    with pytest.raises(ListError) as error:
        follow(examine(base), Words())

    assert str(error.value) == (
        "cannot follow the imports of /program: it imports more than 3 modules; "
        "name their directories in an extra list, and take the preset away"
    )
