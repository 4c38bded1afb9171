"""`lab.session` from a program: awaited, stopped, and left to a loop of its own."""

import asyncio
from pathlib import Path
from typing import Any

import lab as library
import pytest
from anyio import fail_after


def begin(folder: Path, **more: Any) -> library.Session:
    given = {"provider": "mock", "minutes": 120, "speed": "max", "state_dir": folder, "reporters": []}
    return library.session("sma", **{**given, **more})


async def test_a_session_is_awaited_beside_other_work_and_gives_what_the_command_writes(
    tmp_path: Path, lab: Any
) -> None:
    going = begin(tmp_path, reporters=["html"])
    assert going.running
    result = await going
    assert not going.running
    assert (result.report.status, result.report.candles) == ("completed", 120)
    assert result.equity[-1].equity == float(result.report.ending_equity)
    assert len(result.equity) > 100
    assert result.directory is not None
    assert result.plot(tmp_path / "page.html").read_bytes() == (result.directory / "summary.html").read_bytes()


async def test_stop_ends_a_session_in_order(tmp_path: Path) -> None:
    going = begin(tmp_path, minutes=60, speed=1)
    with pytest.raises(TimeoutError, match="goes on"):
        going.wait(0.01)
    going.stop()
    with fail_after(20):
        result = await going
    assert result.report.reason == "stopped"


async def test_who_cancels_the_wait_stops_the_session(tmp_path: Path) -> None:
    going = begin(tmp_path, minutes=60, speed=1)

    async def wait() -> library.Result:
        return await going

    waiting = asyncio.ensure_future(wait())
    with fail_after(20):
        while not list(tmp_path.glob("runs/*/journal.db")):  # it has begun
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert going.wait(20).report.reason == "stopped"


async def test_what_keeps_a_session_from_beginning_is_raised_where_it_is_awaited(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(library.LabError, match="runs"):
        await begin(tmp_path)


def test_a_session_of_nothing_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(library.ConfigError, match="is a class"):
        library.session(library.Strategy, provider="mock")  # type: ignore[arg-type]
