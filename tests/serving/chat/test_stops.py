"""Stop strings end the text at the same place however it is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbook.serving.chat.stops import Stops

TEXTS = st.text(alphabet="ab\n", max_size=30)


@given(text=TEXTS, stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3), data=st.data())
def test_every_chunking_gives_the_text_before_the_first_stop(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    one = Stops(stops)
    got, ends = "", False
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += one.push(text[start:end])
        # The first stop that is complete counts, so a longer one that began earlier may come too late.
        ends = ends or any(stop in text[:end] for stop in stops)
        assert one.is_stopped == ends
    got += one.finish()
    first = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    if first is None:
        assert got == text
    else:
        assert text.startswith(got)
        assert not any(stop in got for stop in stops)
        assert len(got) < first


def test_what_could_begin_a_stop_is_held_back_and_given_when_it_does_not() -> None:
    one = Stops(["\n\nUser:"])
    assert one.push("Hello\n") == "Hello"
    assert one.push("\nUs") == ""
    assert one.push("ual") == "\n\nUsual"
    assert one.push("\n\nUser: next") == ""
    assert one.is_stopped
    assert one.push("more") == one.finish() == ""
