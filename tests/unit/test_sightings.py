"""Who is alive is told by what moves, on one steady clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.propagation.sightings import Sightings, Sign

Told = Sightings[str, int]


def sign(of: str = "a", mark: int = 0, lasts: float = 30) -> Sign[str, int]:
    return Sign(of, mark, lasts)


def test_a_sign_that_has_not_moved_for_its_length_has_lapsed_and_not_a_moment_before() -> None:
    sightings: Told = Sightings()
    assert sightings.lapsed([sign()], 100) == []
    assert sightings.lapsed([sign()], 129.9) == []
    assert sightings.lapsed([sign()], 130) == [sign()]
    assert sightings.lapsed([sign()], 131) == [sign()]  # until somebody acts on it


def test_a_sign_that_moves_never_lapses() -> None:
    sightings: Told = Sightings()
    for beat in range(100):
        assert sightings.lapsed([sign(mark=beat)], 29.0 * beat) == []


def test_a_sign_that_was_gone_begins_anew() -> None:
    sightings: Told = Sightings()
    sightings.lapsed([sign()], 0)
    assert sightings.lapsed([], 20) == []
    assert sightings.lapsed([sign()], 40) == []
    assert sightings.lapsed([sign()], 69) == []
    assert sightings.lapsed([sign()], 70) == [sign()]


def test_each_sign_has_its_own_length() -> None:
    sightings: Told = Sightings()
    signs = [sign("a", lasts=10), sign("b", lasts=20)]
    sightings.lapsed(signs, 0)
    assert sightings.lapsed(signs, 10) == signs[:1]
    assert sightings.lapsed(signs, 20) == signs


LOOKS = st.lists(
    st.tuples(st.floats(0, 20), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)), max_size=30
)


@given(LOOKS)
def test_a_sign_lapses_when_every_look_for_its_length_saw_it_the_same(
    looks: list[tuple[float, dict[str, int]]],
) -> None:
    sightings: Told = Sightings()
    past: list[tuple[float, dict[str, int]]] = []
    now = 0.0
    for gap, marks in looks:
        now += gap
        past.append((now, marks))
        lapsed = {each.of for each in sightings.lapsed([sign(of, mark) for of, mark in marks.items()], now)}
        expected = set()
        for of, mark in marks.items():
            same_since = now
            for then, earlier in reversed(past):
                if earlier.get(of) != mark:
                    break
                same_since = then
            if now - same_since >= 30:
                expected.add(of)
        assert lapsed == expected
