"""A live session on a venue whose clock is wrong for a while, or steps for good: it says so, and trades on."""

import itertools
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from checker_flow import FLOW
from checker_runs import TWO, checked, sets

pytestmark = pytest.mark.behaviour("T2")
SECOND_NS = 10**9

SKEWED = '''
"""The mock on a venue whose clock is wrong by ``by`` seconds, from ``since`` to ``until`` seconds after the start."""
from attrs import define, field
from lab import hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True, eq=False)
class Skewed(MockProvider):
    by: int = field(default=600, metadata={"help": "seconds"})
    since: float = field(default=30, metadata={"help": "seconds"})
    until: float = field(default=42, metadata={"help": "seconds"})

    async def stream(self, wanted, sink):
        await super().stream(wanted, Skewing(self, sink))

class Skewing:
    def __init__(self, provider, sink):
        import anyio
        self.provider, self.sink, self.now = provider, sink, anyio.current_time
        self.feed, self.malformed, self.began = sink.feed, sink.malformed, anyio.current_time()

    def put(self, event):
        one = self.provider
        if one.since <= self.now() - self.began < one.until:
            by_ns = one.by * 10**9
            event = event._replace(time_ns=event.time_ns + by_ns)
            if hasattr(event, "open_ns"):
                if one.by % 60:
                    return
                event = event._replace(open_ns=event.open_ns + by_ns)
        self.sink.put(event)

@hookimpl
def lab_providers():
    return {"skewed": Skewed}
'''


@pytest.fixture
def skewed(lab: Any, site: Any) -> Any:
    """Give what runs a session with the provider ``skewed``, two strategies that trade and one order in three rests."""
    site.install("their_flow", FLOW)
    site.install("their_skewed", SKEWED)

    def run(*, minutes: float = 4, **settings: Any) -> Any:
        command = ("run", "--provider", "skewed", "--speed", "max", "--minutes", str(minutes), *TWO)
        busy = {"flow__every": 8, "second__every": 8}
        made = lab(*command, *sets(**busy, **{f"skewed__{name}": value for name, value in settings.items()}))
        assert made.code == 0, made.err
        return lab.run()

    return run


def reasons(run: Any) -> list[list[str]]:
    return [body[1] for _, _, body in run.rows("trading_state")]


def fills(run: Any) -> list[int]:
    return [body["fill"]["time_ns"] for _, _, body in run.rows("order_filled")]


def sound(lab: Any, run: Any) -> None:
    """Recompute a run in every way there is: by the engine, by the audit, and by who shares no code with either."""
    assert lab("verify", str(run.folder)).code == 0
    assert lab("audit", str(run.folder)).code == 0
    assert checked(run.folder)[0] == []


@pytest.mark.parametrize("by", [600, -600, 45, -45])
def test_a_clock_that_is_wrong_for_twelve_seconds_is_told_twice_and_trading_resumes_by_itself(
    lab: Any, skewed: Any, by: int
) -> None:
    run = skewed(by=by)
    steps = [body for _, _, body in run.rows("clock_stepped")]
    assert [(body[1] // SECOND_NS, body[2]) for body in steps] == [(by, "venue"), (-by, "venue")]
    assert ["clock"] in reasons(run)
    assert reasons(run)[-1] == []
    ended = [body for _, _, body in run.rows("order_ended") if body["reason"] == "the venue's clock stepped"]
    assert {body["outcome"] for body in ended} == {"expired"}
    assert f"clock_stepped venue 2 times, by {abs(by)} s at most" in run.report()["degradations"]
    numbers = [number for number, kind, _ in run.rows() if kind == "clock_stepped"]
    assert [number for number, kind, _ in run.rows() if kind == "order_filled" and number > numbers[-1] + 50]
    late = [one for one in run.report()["degradations"] if one.startswith("late_quotes")]
    assert not late or int(late[0].split()[1]) <= 10
    sound(lab, run)


@pytest.mark.parametrize("by", [3600, -30])
def test_a_clock_that_steps_for_good_is_followed_within_ten_seconds(lab: Any, skewed: Any, by: int) -> None:
    run = skewed(by=by, until=10**6)
    [step] = [body for _, _, body in run.rows("clock_stepped")]
    [number] = [number for number, kind, _ in run.rows() if kind == "clock_stepped"]
    opened = next(body for at, _, body in run.rows("trading_state") if at > number and body[1] == [])
    assert opened[0] - step[0] <= 2 * SECOND_NS
    assert reasons(run)[-1] == []
    assert max(fills(run)) >= step[0] + 60 * SECOND_NS
    sound(lab, run)


def test_a_clock_that_is_wrong_over_midnight_and_a_funding_window_begins_no_second_day(lab: Any, skewed: Any) -> None:
    run = skewed(by=600, begin="2024-01-01T23:55:00Z", minutes=8)
    assert len(run.rows("clock_stepped")) == 2
    assert len(run.rows("day_ended")) == 1
    paid = [(body["strategy"], body["window_ns"]) for _, _, body in run.rows("funding_paid")]
    assert len(paid) == len(set(paid))
    sound(lab, run)


def test_candles_of_a_time_that_was_wrong_leave_the_history_and_the_true_ones_are_decided_on(
    lab: Any, skewed: Any
) -> None:
    run = skewed(by=600, since=100, until=200, minutes=8)
    opened = [body[1] for _, _, body in run.rows("candle")]
    assert len(opened) == len(set(opened))
    times = [row[1] for row in run.raw()]
    assert any(after < before for before, after in itertools.pairwise(times)), "the engine went back"
    assert run.report()["decisions"] >= 5
    assert not [one for one in run.report()["degradations"] if one.startswith("ignored_candles")]
    sound(lab, run)


def test_one_wrong_frame_is_no_step(lab: Any, skewed: Any) -> None:
    run = skewed(by=600, until=31)
    assert run.rows("clock_stepped") == []
    assert ["clock"] not in reasons(run)


LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (apt install libfaketime)")
def test_an_hour_either_way_on_the_machines_clock_is_told_and_nothing_else_comes_of_it(lab: Any) -> None:
    """A process of its own whose wall clock is set while it trades; the monotonic one goes on."""
    offset = lab.folder / "offset"
    offset.write_text("+0", encoding="ascii")
    faked = {
        "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
    }  # fmt: skip
    command = lab.command("run", "--provider", "mock", "--strategy", "sma", "--reporter", "none", "--minutes", "0.15")
    with subprocess.Popen(command, cwd=lab.folder, env=lab.environment | faked) as process:
        try:
            until = time.monotonic() + 20
            while not list(lab.folder.glob("runs/*/tape-*")) and time.monotonic() < until:
                time.sleep(0.05)
            for set_to in ("+1h", "+0"):
                time.sleep(2.5)
                offset.write_text(set_to, encoding="ascii")
            assert process.wait(30) == 0
        finally:
            process.kill()
    run = lab.run()
    steps = [body for _, _, body in run.rows("clock_stepped")]
    assert [round(body[1] / SECOND_NS / 60) for body in steps if abs(body[1]) > 60 * SECOND_NS] == [60, -60]
    assert {body[2] for body in steps} == {"wall"}
    assert ["clock"] not in reasons(run)
    assert run.report()["status"] == "completed"
    assert abs(run.report()["duration_seconds"] - 9) < 3
    assert time.time() - run.folder.joinpath("final_report.json").stat().st_mtime < 60
    assert lab("verify", str(run.folder)).code == 0
