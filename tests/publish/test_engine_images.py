from __future__ import annotations

import os
import subprocess
import sys

import pytest
from loads import ID, NAME
from scratch_image.errors import EngineError
from scratch_image.publish import engine_images
from scratch_image.publish.engine_images import LoadedImage


def test_an_image_that_goes_before_it_is_exported(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "sha256:" + "1" * 64
    monkeypatch.setattr(engine_images, "find", lambda *_: LoadedImage(gone, (), ()))

    with pytest.raises(EngineError) as caught:
        list(engine_images.export(address, NAME))

    assert str(caught.value) == (
        f"cannot export image {NAME}: engine at {address}: No such image: {gone}; "
        "look into the engine's log"
    )


def test_the_question_of_a_null_build_imports_no_sdk(address: str) -> None:
    program = (
        "import sys; from scratch_image.publish import engine_images, ping\n"
        f"assert engine_images.image_id({address!r}, 'none') is None\n"
        f"assert ping.answers({address!r})\n"
        "print(sorted({'docker', 'requests', 'tarfile', 'http', 'zstandard'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "[]\n"


LOADED = LoadedImage(ID, (), ()).text()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"%s\n" % ID.encode(),
        LOADED.replace(b"loaded 1", b"loaded 0"),
        LOADED.replace(ID.encode(), b"sha256:1"),
        LOADED.replace(b"[]", f'[["{ID}"]]'.encode()),
        LOADED.replace(b"[]", b"7"),
    ],
)
def test_text_of_no_image(text: bytes) -> None:
    assert LoadedImage.read(text) is None


def test_image_without_layers_is_read_again() -> None:
    loaded = LoadedImage(ID, (), ())

    assert LoadedImage.read(loaded.text()) == loaded
