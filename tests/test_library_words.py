"""What a program reads names the arguments of the call, where the same message of a command names its options."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import lab as library
import pytest
from lab.cli import backtest, run, sweep, walkforward
from lab.research.words import in_python
from refused_files import REFUSED

HEADER = "time,open,high,low,close,volume"
ROWS = [f"{1_704_067_200 + 3600 * n},{1000.5 + n},{1002 + n}.0,{999 + n}.0,{1001 + n}.0,10" for n in range(50)]
CALLS = (library.load, library.backtest, library.session, library.sweep, library.walkforward)
ARGUMENTS = {name for call in CALLS for name in inspect.signature(call).parameters}
NOT_OF_A_CALL = {  # what shows or keeps a run, or goes on with it, which a program does by other means
    "health-port", "json", "log-file", "no-write", "page", "resume", "set", "space", "start-timeout", "strict-state",
    "supervise", "verbose",
}  # fmt: skip


def table(folder: Path, *rows: str) -> Path:
    path = folder / "prices.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def doubtful_days(folder: Path) -> Any:
    (folder / "prices.csv").write_bytes(REFUSED["dates of either kind"].content)
    return library.load(folder / "prices.csv")


def a_shorter_interval(folder: Path) -> Any:
    return library.backtest("sma", table(folder, *ROWS), interval="5m")


def two_of_one_name(folder: Path) -> Any:
    return library.backtest(["sma", "sma"], table(folder, *ROWS))


def no_strategy(folder: Path) -> Any:
    return library.sweep([], table(folder, *ROWS), {"fast": [2, 3]})


def a_coarse_tick(folder: Path) -> Any:
    return library.walkforward(
        "sma", table(folder, *ROWS), {"fast": [2]}, in_sample=9, out_of_sample=9, settings={"replay.tick": 10}
    )


def a_folder_that_is_none(folder: Path) -> Any:
    (folder / "runs").write_text("no folder")
    return library.session("sma", provider="mock", minutes=1, speed="max", state_dir=folder).wait()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (doubtful_days, 'settings={"replay.dates": "day-first"} or settings={"replay.dates": "month-first"}'),
        (a_shorter_interval, 'give interval="1h", or a multiple of it'),
        (two_of_one_name, 'give one an alias: strategy="other=sma"'),
        (no_strategy, 'give strategy="NAME"'),
        (a_coarse_tick, 'give settings={"replay.tick": 0.1}'),
        (a_folder_that_is_none, "choose another with state_dir="),
    ],
)
def test_a_refusal_says_what_to_write_in_python(call: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    if call in (no_strategy, a_coarse_tick):
        pytest.importorskip("optuna")
    with pytest.raises(library.LabError) as raised:
        call(tmp_path)
    assert said in str(raised.value)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize("command", [backtest.command, run.command, sweep.command, walkforward.command])
def test_every_option_has_its_argument(command: click.Command) -> None:
    for option in (one for one in command.params if isinstance(one, click.Option)):
        name = option.opts[0].removeprefix("--")
        said = in_python(f"give --{name}, or leave it out")
        found = re.fullmatch(r"give (\w+)=(True)?, or leave it out", said)
        assert (found is None) is (name in NOT_OF_A_CALL - {"set"}), said
        assert found is None or found[1] in ARGUMENTS


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("give --leverage 50", "give leverage=50"),
        ("give --set x.on=true, or (--symbol=A) now", 'give settings={"x.on": True}, or (symbol="A") now'),
        ("leave --no-orders out: --seed -1.", "leave no_orders=True out: seed=-1."),
        ("start it without --resume; in a--name b", "start it without --resume; in a--name b"),
    ],
)
def test_a_message_is_changed_where_it_names_an_option_and_nowhere_else(message: str, said: str) -> None:
    assert in_python(message) == said
