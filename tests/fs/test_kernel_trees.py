from __future__ import annotations

import pytest
from scratch_image.fs.kernel_trees import is_in_kernel_tree


@pytest.mark.parametrize("path", [b"/proc", b"/proc/self/maps", b"/sys/x", b"/dev/null"])
def test_path_in_a_kernel_tree(path: bytes) -> None:
    assert is_in_kernel_tree(path)


@pytest.mark.parametrize("path", [b"/", b"/develop", b"/srv/proc"])
def test_path_in_no_kernel_tree(path: bytes) -> None:
    assert not is_in_kernel_tree(path)
