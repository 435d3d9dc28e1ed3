"""Whose connections may stay where a user is to have one session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_whisperer.link.instances import Instance, Seat, seat, surplus
from tunnel_whisperer.users.grants import SingleSession

SEATS = st.lists(st.builds(Seat, st.sampled_from("ABC"), st.booleans()), max_size=8)
ONE_ONLY: st.SearchStrategy[SingleSession] = st.sampled_from(["refuse", "takeover"])


def left(seats: list[Seat], policy: SingleSession) -> list[Seat]:
    gone = {number for number, _ in surplus(seats, policy)}
    return [one for number, one in enumerate(seats) if number not in gone]


@given(SEATS)
def test_all_may_stay_where_nobody_minds(seats: list[Seat]) -> None:
    assert left(seats, "off") == seats


@given(SEATS, ONE_ONLY)
def test_one_instance_stays_with_all_its_connections(seats: list[Seat], policy: SingleSession) -> None:
    staying = left(seats, policy)
    assert len({one.instance for one in staying}) == min(1, len(seats))
    assert all(one in staying for one in seats if one.instance == staying[0].instance)
    assert left(staying, policy) == staying


@given(SEATS)
def test_the_first_one_stays_where_others_are_refused(seats: list[Seat]) -> None:
    assert all(one.instance == seats[0].instance for one in left(seats, "refuse"))
    assert {why for _, why in surplus(seats, "refuse")} <= {"elsewhere"}


@given(SEATS)
def test_the_last_one_that_claims_stays_where_it_takes_over(seats: list[Seat]) -> None:
    claiming = [one for number, one in enumerate(seats) if number == 0 or one.claims]
    assert all(one.instance == claiming[-1].instance for one in left(seats, "takeover"))


@given(SEATS.filter(bool), st.sampled_from("ABC"), ONE_ONLY)
def test_one_that_only_comes_back_takes_nobodys_place(seats: list[Seat], instance: str, policy: SingleSession) -> None:
    before = left(seats, policy)
    after = left([*before, Seat(instance, claims=False)], policy)
    assert after[: len(before)] == before
    assert len(after) == len(before) + (instance == before[0].instance)


def test_who_has_to_go_is_told_why() -> None:
    a, b, again = Seat("A", claims=True), Seat("B", claims=True), Seat("A", claims=False)
    assert list(surplus([a, b], "refuse")) == [(1, "elsewhere")]
    assert list(surplus([a, a, b], "takeover")) == [(0, "taken over"), (1, "taken over")]
    assert list(surplus([b, again], "takeover")) == [(1, "elsewhere")]


def test_our_client_is_known_by_its_greeting() -> None:
    mine, other = Instance(), Instance()
    assert mine.version != other.version
    first, second = seat(f"SSH-2.0-{mine.version}"), seat(f"SSH-2.0-{mine.version}")
    assert first == second == Seat(mine.id, claims=True)
    mine.answered = True
    assert seat(f"SSH-2.0-{mine.version}") == Seat(mine.id, claims=False)
    assert seat(f"SSH-2.0-{Instance(known_as=mine.id).version}") == Seat(mine.id, claims=False)
    assert len(mine.version) < 100, "a greeting has 255 characters at most"


@pytest.mark.parametrize(
    "greeting",
    [
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
        "SSH-2.0-tw",
        "",
        "SSH-2.0-tw_0.1.0_0123",
        "SSH-2.0-tw_0.1.0_0123456789ABCDEF",
        "SSH-2.0-tw_0.1.0_0123456789abcdef_again ",
        "SSH-2.0-tw_" + "1" * 200 + "_0123456789abcdef",
    ],
)
def test_every_other_connection_is_a_session_of_its_own(greeting: str) -> None:
    assert seat(greeting) != seat(greeting)
    assert seat(greeting).claims
