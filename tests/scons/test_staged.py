from __future__ import annotations

from scratch_image.scons.staged import StagedNode, StagedNodes


def test_text_holds_all_that_is_staged() -> None:
    one, two = StagedNode("a", 0o600, "app"), StagedNode("b")

    text = StagedNodes({b"/x": one, b"/y": two}).text

    assert text == StagedNodes({b"/y": two, b"/x": one}).text
    others = [{b"/x": two, b"/y": one}, {b"/x": one}, {b"/x": StagedNode("a", 0o600), b"/y": two}]
    assert text not in [StagedNodes(other).text for other in others]


def test_only_nodes_with_a_mode_or_an_owner_are_chosen() -> None:
    chosen = {b"/x": StagedNode("a", mode=0), b"/y": StagedNode("b", owner="app")}

    staged = StagedNodes({**chosen, b"/z": StagedNode("c")})

    assert staged.chosen == chosen
    assert staged.nodes == ["a", "b", "c"]
