"""The lines of a long job in a pipe."""

from __future__ import annotations

from openbook.core.progress import Lines


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_short_job_says_nothing_a_long_one_every_500_steps_a_slow_one_every_10_seconds() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(said.append, clock)
    lines("looking", 0, None, "/docs")
    for done in range(1, 1_101):
        lines("reading", done, 1_200, f"{done}.md")
    assert said == ["reading 500 of 1200: 500.md", "reading 1000 of 1200: 1000.md"]
    clock.now_s = 9.0
    lines("reading", 1_101, 1_200, "a.md")
    clock.now_s = 11.0
    lines("reading", 1_102, 1_200, "b.md")
    clock.now_s = 22.0
    lines("indexing", 0, None, "")
    assert said[2:] == ["reading 1102 of 1200: b.md", "indexing"]
