from __future__ import annotations

import pytest
from scratch_image.errors import InputError
from scratch_image.image.labels import check_labels
from scratch_image.image.settings import Settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(
            pytest.param(
                {key: ""},
                f"cannot annotate image by {key!r}: it is empty, or has a blank or a = in it; "
                "write it like org.example.key",
                id=f"key {key}",
            )
            for key in ("", "a b", "a=b", "a\0")
        ),
        pytest.param(
            {"org.opencontainers.image.ref.name": ""},
            "cannot annotate image by org.opencontainers.image.ref.name: that is its tag; set "
            "IMAGE_TAG instead",
            id="tag as a label",
        ),
        *(
            pytest.param(
                {key: ""},
                f"cannot annotate image by {key}: OCI reserves org.opencontainers. and has no such "
                "key; write org.opencontainers.image. and one of authors, base.digest, base.name, "
                "created, description, documentation, licenses, revision, source, title, url, "
                "vendor, version, or a domain of your own",
                id=f"key {key}",
            )
            for key in ("org.opencontainers.image.name", "org.opencontainers.title")
        ),
    ],
)
def test_key_that_no_image_can_have(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_labels(wrong)
    assert message == str(caught.value)


def test_settings_check_labels_and_labels_alike() -> None:
    with pytest.raises(InputError) as caught:
        Settings(annotations={"org.opencontainers.x": ""}).check()
    assert str(caught.value).startswith("cannot annotate image by org.opencontainers.x: OCI ")
    keys = ["org.opencontainers.image.title", "org.example/x", "maintainer"]
    Settings(annotations=dict.fromkeys(keys, ""), labels=dict.fromkeys(keys, "")).check()
