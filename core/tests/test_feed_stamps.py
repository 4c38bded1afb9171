"""A frame is used by the time it is stamped with: one of now, by the venue's own clock."""

from typing import Any

import pytest
from lab.domain.market import UNCONFIRMED, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.domain.venue_clock import VenueClock
from lab.feed import CandleAssembler, CandleChain, Stamps
from lab.testing import RecordingSink, simulate

T0 = 29_800_000 * MINUTE_NS


def stamped(frames: list[tuple[float, float]]) -> tuple[list[bool], list[str], list[str], CandleAssembler]:
    """Judge frames, each with its monotonic time and by how much its stamp is off; return answers, words and faults."""

    async def main() -> Any:
        said: list[str] = []
        sink, now = RecordingSink(), [0.0]
        clock = VenueClock(lambda: now[0])
        assembler = CandleAssembler("BTC", MINUTE_NS)
        chain = CandleChain(assembler=assembler, rows=None, sink=sink, venue_ns=lambda: 0, say=said.append)  # type: ignore[arg-type]
        stamps = Stamps(clock=clock, sink=sink, chains={("BTC", "candles"): chain}, say=said.append)
        answers = []
        for at, off_s in frames:
            now[0] = at
            time_ns = T0 + int((at + off_s) * SECOND_NS)
            answers.append(stamps.timely(time_ns, b"x" * 1_000, at))
            if answers[-1]:
                chain.push(
                    Candle("BTC", time_ns - time_ns % MINUTE_NS, time_ns, 1.0, 1.0, 1.0, 1.0, 1.0, UNCONFIRMED), at
                )
        return answers, said, sink.faults, assembler

    return simulate(main)


def test_frames_of_now_are_used_and_late_ones_left_out_and_told_once_a_minute() -> None:
    frames = [(0.0, 0.0), (1.0, -0.5), (2.0, 1.5), (20.0, -19.0), (21.0, -15.0), (22.0, 0.0), (90.0, -30.0)]
    answers, said, faults, _ = stamped(frames)
    assert answers == [True, True, True, False, False, True, False]
    assert said == [f"frames left out because they came more than 5 s late: {count} so far" for count in (1, 3)]
    assert faults == []


@pytest.mark.behaviour("F13")
def test_a_frame_ahead_of_the_venues_clock_is_malformed() -> None:
    answers, said, faults, _ = stamped([(0.0, 0.0), (1.0, 60.0), (2.0, 0.0)])
    assert answers == [True, False, True]
    assert len(faults) == 1
    assert faults[0].endswith("is more than 5 s ahead of the venue's clock")
    assert said == []


@pytest.mark.behaviour("T2")
def test_where_all_stamps_agree_on_another_time_the_clock_follows_and_candles_close_by_it() -> None:
    wrong = [(0.0, 3_600.0)]
    right = [(step / 2, 0.0) for step in range(1, 300)]
    answers, said, _, assembler = stamped(wrong + right)
    assert answers[:13] == [True, *[False] * 10, True, True]
    assert [words for words in said if "clock now says" in words] == [
        "the venue's clock now says 2026-08-29T10:40:05.500Z: open candles are judged anew"
    ]
    assert [one.open_ns for one in assembler.tick(1e9, 0)] == [T0, T0 + MINUTE_NS], "not waiting for the hour to come"
