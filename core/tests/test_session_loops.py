"""Real time runs on uvloop where that can be used, on asyncio's loop everywhere else, and the user is told which."""

import asyncio
import sys
import time
from types import ModuleType

import anyio
import pytest
from lab.live.checks import check_loop
from lab.live.loops import loop_options
from lab.simulation.clocks import LoopClock


@pytest.fixture
def uvloop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Install what looks like uvloop."""
    module = ModuleType("uvloop")
    module.__version__ = "9.9"  # type: ignore[attr-defined]
    module.new_event_loop = asyncio.SelectorEventLoop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvloop", module)
    monkeypatch.delenv("LAB_UVLOOP", raising=False)
    return module


def test_real_time_runs_on_uvloop_where_it_is_installed(uvloop: ModuleType) -> None:
    assert loop_options(1.0, 0) == {"loop_factory": uvloop.new_event_loop}
    assert [(one.ok, one.detail) for one in check_loop()] == [(True, "uvloop 9.9")]


@pytest.mark.parametrize("speed", [2.0, "max"])
def test_another_pace_has_a_loop_of_its_own(uvloop: ModuleType, speed: object) -> None:
    assert loop_options(speed, 0)["loop_factory"] is not uvloop.new_event_loop  # type: ignore[arg-type]


def test_the_environment_can_choose_asyncios_loop(uvloop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_UVLOOP", "0")
    assert loop_options(1.0, 0) == {}
    assert [(one.ok, one.detail) for one in check_loop()] == [(True, "asyncio (LAB_UVLOOP=0)")]


def test_without_uvloop_real_time_runs_on_asyncios_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_UVLOOP", raising=False)
    monkeypatch.setattr("lab.live.loops.import_module", _failing(ModuleNotFoundError(name="uvloop")))
    assert loop_options(1.0, 0) == {}
    assert [(one.ok, one.detail) for one in check_loop()] == [(True, "asyncio (uvloop is not installed)")]


@pytest.mark.parametrize(
    "error", [ImportError("libuv.so"), ModuleNotFoundError("typing_x", name="typing_x"), AttributeError("loop")]
)
def test_a_uvloop_that_cannot_be_imported_is_left_alone_and_named(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_UVLOOP", raising=False)
    monkeypatch.setattr("lab.live.loops.import_module", _failing(error))
    assert loop_options(1.0, 0) == {}
    (found,) = check_loop()
    assert not found.ok
    assert "uvloop is installed and can't be used" in found.detail
    assert str(error) in found.detail


def _failing(error: Exception) -> object:
    def fail(name: str) -> ModuleType:
        raise error

    return fail


def test_the_sessions_clock_goes_on_within_a_turn_of_the_loop_that_real_time_runs_on() -> None:
    async def main() -> tuple[float, float]:
        clock = LoopClock()
        began = clock.monotonic()
        time.sleep(0.02)
        return clock.monotonic() - began, abs(clock.monotonic() - asyncio.get_running_loop().time())

    passed, apart = anyio.run(main, backend_options=dict(loop_options(1.0, 0)))
    assert passed >= 0.019  # uvloop counts whole milliseconds
    assert apart < 0.5
