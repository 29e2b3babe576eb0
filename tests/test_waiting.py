"""What long steps say in a log: seldom, how far, and how long yet."""

from __future__ import annotations

import pytest

from click_free import xinc
from xinc.waiting import EVERY, Spoken, spoken_time


def test_lines_come_now_and_then_with_the_time_left() -> None:
    lines, now = list[str](), [0.0]
    spoken = Spoken("Fitting", lines.append, lambda: now[0])
    for second in range(101):
        now[0] = float(second)
        spoken("30.00 dB", second, 400)
    assert [line.split(",")[0] for line in lines] == [
        "Fitting: 2 % (30.00 dB)", "Fitting: 10 % (30.00 dB)", "Fitting: 18 % (30.00 dB)", "Fitting: 25 % (30.00 dB)",
    ]  # fmt: skip
    assert lines[1].endswith("about 6 min left")  # 40 of 400 seconds
    assert EVERY == 30


def test_a_step_of_unknown_length_says_what_it_does() -> None:
    lines, now = list[str](), [0.0]
    spoken = Spoken("Analysing", lines.append, lambda: now[0])
    now[0] = 11.0
    spoken("block3", 0, 0)
    assert lines == ["Analysing: 0 % (block3)"]


@pytest.mark.parametrize(("seconds", "said"), [(4, "4 s"), (89, "89 s"), (200, "3 min"), (7800, "2 h 10 min")])
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert spoken_time(seconds) == said


def test_completion_for_shells_can_be_installed() -> None:
    assert "--install-completion" in xinc("--help").out
