"""Another future is as sound as the one it stands for, at the same times, and the past before it is the same bytes."""

import gzip
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab.backtesting.apart import each_apart
from lab.backtesting.changed_file import NotChangeableError, change_csv, rows_known
from lab.backtesting.changed_future import FUTURES, changed_inputs, draw_of
from lab.domain.control import Notice
from lab.domain.inputs import Input
from lab.domain.market import (
    BACKFILLED,
    Backfill,
    Candle,
    Depth,
    Funding,
    Quote,
    Trade,
    check_candle,
    check_depth,
    check_quote,
    check_trade,
)
from lab.domain.orders import Side
from lab.domain.time import MINUTE_NS
from lab.errors import ConfigError, RunError
from lab.exit_codes import EndReason

START_NS = 1_704_067_200 * 10**9


def _inputs() -> list[Input]:
    made: list[Input] = []
    for n in range(60):
        at, price = START_NS + n * MINUTE_NS, 100.0 + n * 1.7
        made += [
            Quote("BTCUSDT", at, price, 1.0 + n, price + 0.1, 2.0),
            Trade("BTCUSDT", at, price, 0.5 + n, Side.BUY if n % 2 else Side.SELL),
            Depth("BTCUSDT", at, ((price, 1.0), (price - 0.1, 2.0)), ((price + 0.1, 1.0), (price + 0.2, 3.0))),
            Funding("BTCUSDT", at, 0.0001 * (n % 5), at + MINUTE_NS, price),
            Notice(at, "feed", {"n": str(n)}),
            Candle("BTCUSDT", at, at + MINUTE_NS, price, price + 2, price - 2, price + 1, 3.0 + n),
        ]
    old = Candle("BTCUSDT", START_NS, START_NS + MINUTE_NS, 100.0, 102.0, 98.0, 101.0, 3.0, BACKFILLED)
    return [*made, Backfill("BTCUSDT", START_NS + 61 * MINUTE_NS, (old,))]


CHECKS: dict[type, Callable[[Any], str | None]] = {
    Candle: check_candle, Quote: check_quote, Trade: check_trade, Depth: check_depth,
}  # fmt: skip


@pytest.mark.parametrize("how", FUTURES)
def test_another_future_is_sound_and_at_the_same_times(how: Any) -> None:
    future = _inputs()
    made = changed_inputs(future, how, draw_of(1, "x"))
    if how == "ended":
        assert made == []
        return
    assert [type(event) for event in made] == [type(event) for event in future]
    assert [event.time_ns for event in made] == [event.time_ns for event in future]
    assert [CHECKS[type(event)](event) for event in made if type(event) in CHECKS] == [None] * 240
    kept = [event for event in future if isinstance(event, Notice)]
    assert [event for event in made if isinstance(event, Notice)] == kept, "what the session said stays"
    changed = sum(now != was for was, now in zip(future, made, strict=True) if type(was) in CHECKS)
    assert changed > 220
    assert made == changed_inputs(future, how, draw_of(1, "x")), "one seed, one future"
    assert made != changed_inputs(future, how, draw_of(2, "x"))


def test_of_scaled_and_mirrored_prices_one_is_higher_and_one_lower_by_as_much() -> None:
    future, draw = _inputs()[:1], draw_of(3, "x")
    ((up,), (down,)) = (changed_inputs(future, how, draw) for how in ("scaled", "mirrored"))
    assert isinstance(up, Quote)
    assert isinstance(down, Quote)
    was = future[0]
    assert isinstance(was, Quote)
    assert up.bid + down.bid == pytest.approx(2 * was.bid)
    assert abs(up.bid - was.bid) > 0.001
    assert 50 <= min(up.bid, down.bid) < max(up.bid, down.bid) <= 150


def test_shuffled_values_are_the_same_values() -> None:
    future = _inputs()
    made = changed_inputs(future, "shuffled", draw_of(1, "x"))
    for kind, begin, end in ((Candle, 3, 8), (Quote, 2, 6), (Trade, 2, 5)):
        assert sorted(e[begin:end] for e in made if type(e) is kind) == sorted(
            e[begin:end] for e in future if type(e) is kind
        )


def _candles(path: Path) -> list[str]:
    rows = [f"{1704067200 + 60 * n},{100 + n}.5,{103 + n}.25,{98 + n},{101 + n},{n + 1}" for n in range(30)]
    lines = ["Time,Open,High,Low,Close,Volume", *rows]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return lines


@pytest.mark.parametrize("how", FUTURES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_copy_of_a_file_has_the_same_past_and_another_sound_future(tmp_path: Path, how: Any, packed: bool) -> None:
    path, copy = tmp_path / "prices.csv", tmp_path / "copy" / "prices.csv"
    lines = _candles(path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    change_csv(path, copy, 12, how, draw_of(1, "x"))
    data = copy.read_bytes()
    made = (gzip.decompress(data) if packed else data).decode().splitlines()
    assert made[:13] == lines[:13]
    if how == "ended":
        assert len(made) == 13
        return
    assert len(made) == len(lines)
    assert [row.split(",")[0] for row in made] == [row.split(",")[0] for row in lines]
    assert sum(now != was for was, now in zip(lines[13:], made[13:], strict=True)) >= 16
    for row in made[1:]:
        _, *figures = row.split(",")
        price, high, low, close, volume = map(float, figures)
        assert check_candle(Candle("", 0, 0, price, high, low, close, volume)) is None


def test_rows_are_known_when_their_candle_has_closed_and_ticks_at_once(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    _candles(path)
    cuts = [START_NS, START_NS + MINUTE_NS, START_NS + 5 * MINUTE_NS + 1, START_NS + 500 * MINUTE_NS]
    assert rows_known(path, cuts, MINUTE_NS) == [0, 1, 5, 30]
    ticks = [f"{1704067200000 + 500 * n},100.1,1,100.2,2" for n in range(10)]
    path.write_text("\n".join(["venue_ms,bid,bid_size,ask,ask_size", *ticks, ""]), encoding="utf-8")
    assert rows_known(path, [START_NS, START_NS + 1_700_000_000], MINUTE_NS) == [1, 4]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a,b\n1,2\n", "no column of times"),
        (b"time,close\nsoon,2\n", "not a time"),
        (b"\xff\xfe\x00", "decode"),
        (b"\x1f\x8b\x08 broken", "prices.csv: "),
    ],
    ids=["no times", "no time", "no text", "no gzip"],
)
def test_what_is_no_table_of_prices_is_named_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(data)
    with pytest.raises(NotChangeableError, match=r"prices\.csv: ") as caught:
        rows_known(path, [START_NS], MINUTE_NS)
    assert why in str(caught.value)


# -- calls in processes of their own ----------------------------------------------------------------------------------

LEFT: list[int] = []


def _leave(number: int) -> tuple[int, int]:
    LEFT.append(number)
    print("nobody sees this")
    return number, len(LEFT)


def _refuse() -> None:
    raise ConfigError("that is wrong")


def _die() -> None:
    os._exit(9)


def _dawdle(path: str) -> None:
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)


def test_each_call_finds_what_none_before_has_left_and_answers_come_in_order(capfd: Any) -> None:
    answers = list(each_apart("a run", [partial(_leave, n) for n in range(5)], at_once=3))
    assert answers == [(n, 1) for n in range(5)]
    assert LEFT == []
    assert capfd.readouterr() == ("", "")


def test_what_a_call_raises_is_raised_with_its_reason_and_a_process_that_ends_is_told() -> None:
    with pytest.raises(RunError, match="that is wrong") as caught:
        list(each_apart("a run", [_refuse]))
    assert caught.value.reason is EndReason.CONFIG
    with pytest.raises(RunError, match=r"^a run: a component ended the process it ran in \(exit code 9\)") as caught:
        list(each_apart("a run", [_die]))
    assert caught.value.reason is EndReason.PLUGIN


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def stopped() -> bool:
        return file.exists() and bool(file.read_text(encoding="utf-8"))

    with pytest.raises(RunError, match=r"^a run: interrupted; nothing is proved") as caught:
        list(each_apart("a run", [partial(_dawdle, str(file))], stopped=stopped))
    assert caught.value.reason is EndReason.INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text(encoding="utf-8")), 0)
