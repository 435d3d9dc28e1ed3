"""A link's life: what may follow what, told once for each change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_whisperer.link.states import LEGAL, LinkChanged, LinkLife, LinkState


@given(st.lists(st.sampled_from(LinkState)))
def test_only_legal_changes_happen_and_each_is_told(wanted: list[LinkState]) -> None:
    told: list[LinkChanged] = []
    life = LinkLife(1, told.append)
    path = [life.state]
    for state in wanted:
        if state is not life.state and state not in LEGAL[life.state]:
            with pytest.raises(AssertionError, match=f"link 1 cannot go from {life.state.value} to {state.value}"):
                life.go(state, "x")
            continue
        if state is not life.state:
            path.append(state)
        life.go(state, f"because {state.value}")
        assert life.reason == f"because {state.value}"
    assert [change.before for change in told] == path[:-1]
    assert [change.after for change in told] == path[1:]


def test_every_state_can_be_left_and_reached() -> None:
    assert set(LEGAL) == set(LinkState)
    assert all(LEGAL.values())
    assert set().union(*LEGAL.values()) == set(LinkState)


def test_since_counts_from_the_change_not_from_a_new_reason() -> None:
    now = [100.0]
    life = LinkLife(1, lambda change: None, lambda: now[0])
    life.go(LinkState.CONNECTING, "first attempt")
    now[0] = 103.0
    life.go(LinkState.CONNECTING, "still")
    assert life.seconds == 3.0
    assert not life.live
