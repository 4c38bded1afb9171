"""Compiled wheels do what plain Python does, to the last byte. CI builds, installs and tests them."""

import json
from typing import Any, Final

import pytest
from lab.compiled import SWITCH, forms

pytestmark = pytest.mark.skipif(
    not forms()["lab"].compiled, reason="lab runs in plain Python here: tools/compile_wheels.py builds compiled wheels"
)

RUNS: Final = {
    "candles": ("backtest", "btcusd-1m", "--strategy", "sma", "--set", "sma.confirmation=1"),
    "ticks": (
        "backtest", "btcusdt-ticks", "--interval", "5s", "--strategy", "sma", "--set", "sma.fast=2", "--set",
        "sma.slow=3",
    ),
    "a live session": (
        "run", "--provider", "mock", "--strategy", "sma", "--strategy", "second=sma", "--gate", "margin", "--gate",
        "max_daily_loss", "--set", "sma.confirmation=1", "--speed", "max", "--minutes", "300",
    ),
    "a live session on the local venue": (
        "run", "--provider", "bitunix", "--set", "bitunix.venue=local", "--strategy", "sma", "--set",
        "sma.confirmation=1", "--speed", "max", "--minutes", "60",
    ),
}  # fmt: skip


def common(raw: list[Any]) -> list[Any]:
    """Return what two runs of the same inputs have in common: all but how long the wall clock says they took."""
    *rows, last = raw
    ended = json.loads(last[5])
    del ended["session"]["duration_seconds"]
    return [*rows, (*last[:5], ended)]


@pytest.mark.parametrize("name", RUNS)
def test_a_compiled_run_writes_the_rows_of_plain_python_byte_for_byte(lab: Any, name: str) -> None:
    made = []
    for switch in ("1", "0"):
        done = lab.process(*RUNS[name], "--reporter", "none", env={SWITCH: switch})
        assert done.code == 0, done.err
        made.append(common(lab.run().raw()))
    compiled, plain = made
    assert any(row[3] == "order_filled" for row in plain)
    assert compiled == plain


def test_a_compiled_run_is_proved_by_plain_python_and_the_other_way_round(lab: Any) -> None:
    for run, proof in (("1", "0"), ("0", "1")):
        assert lab.process(*RUNS["a live session"], "--reporter", "none", env={SWITCH: run}).code == 0
        verified = lab.process("verify", "latest", env={SWITCH: proof})
        assert verified.code == 0, verified.err


def test_the_version_says_which_of_the_two_runs(lab: Any) -> None:
    assert "(compiled)" in lab.process("--version").out
    assert "(plain Python)" in lab.process("--version", env={SWITCH: "0"}).out
