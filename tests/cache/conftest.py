"""Real caches: one nginx and one buildbox-casd for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import caches
import pytest
from caches import Casd, Nginx


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Give an nginx that is a cache for everybody."""
    with caches.nginx(tmp_path_factory.mktemp("nginx") / "cache") as made:
        yield made


@pytest.fixture(scope="package")
def casd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casd]:
    """Give a buildbox-casd that is a cache for everybody."""
    with caches.casd(tmp_path_factory.mktemp("casd") / "cache") as made:
        yield made


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with certificates of a server, a client and others."""
    place = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "other"):
        caches.certify(place, name)
    return place
