from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs import base_image
from scratch_image.fs.base_image import BaseImage
from scratch_image.fs.root import Aspect, Root

IMAGE = BaseImage("image x:1", {"User": '"33"', "Env.A": '"b"'}, 3, 1 << 40, 0)


def test_image_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(IMAGE.text())

    assert base_image.read(os.fsencode(tmp_path / "x")) == IMAGE
    assert base_image.read(os.fsencode(tmp_path / "none")) == BaseImage()


WHOLE = '{"format":"scratch_image image 1","values":{"name":%s,"settings":%s,"sizes":%s}}'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(WHOLE % ("1", "{}", "[1,2,3]"), id="name"),
        pytest.param(WHOLE % ('"x"', '{"User":33}', "[1,2,3]"), id="setting"),
        pytest.param(WHOLE % ('"x"', "[]", "[1,2,3]"), id="settings"),
        pytest.param(WHOLE % ('"x"', "{}", "[1,2]"), id="sizes"),
        pytest.param(WHOLE % ('"x"', "{}", '[1,2,"3"]'), id="size"),
    ],
)
def test_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)

    with pytest.raises(InputError) as error:
        base_image.read(os.fsencode(path))

    assert str(error.value) == (
        f"cannot read image {path}: it is damaged; delete it and build again"
    )


def test_settings_that_are_looked_at_go_on_record() -> None:
    root = Root(b"/", image=IMAGE)

    assert (root.setting("User"), root.setting("Cmd")) == ('"33"', "")
    assert root.looked == {(b"User", Aspect.SETTING), (b"Cmd", Aspect.SETTING)}
    assert root.files.image == IMAGE
