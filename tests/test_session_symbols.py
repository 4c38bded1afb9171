"""A live session of two symbols: each has a gate, a warm-up and gaps of its own, and one page, report and journal."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from lives import lives
from steady import RUN, proved, resumptions

BTC, ETH = "BTCUSDT", "ETHUSDT"
BOTH = ("--symbol", BTC, "--symbol", ETH)
SECOND_NS = 10**9
BEGIN_NS = 1_704_067_200 * SECOND_NS

UNEVEN = '''
"""The mock, where one symbol's market data, history or description is not what the other's is."""
from attrs import define, field
from lab import Backfill, Candle, ProviderError, ProviderUnavailable, Quote, hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True, eq=False)
class Uneven(MockProvider):
    symbol: str = field(default="ETHUSDT", metadata={"help": "the one that is not as the other"})
    silent: list[int] = field(factory=list, metadata={"help": "from which second to which it says nothing"})
    refused: int = field(default=0, metadata={"help": "calls of its history that fail"})
    unknown: int = field(default=0, metadata={"help": "calls for its description that fail"})
    missing: bool = field(default=False, metadata={"help": "whether there is no such symbol"})
    _calls: dict = field(init=False, factory=dict)

    def _fails(self, call, symbol, most):
        if symbol != self.symbol:
            return
        count = self._calls[call] = self._calls.get(call, 0) + 1
        if count <= most:
            raise ProviderUnavailable(f"{call}: HTTP 503 from example.test")

    async def instrument(self, symbol):
        if self.missing and symbol == self.symbol:
            raise ProviderError(f"uneven: no symbol {symbol!r}; did you mean 'BTCUSDT'?")
        self._fails("instrument", symbol, self.unknown)
        return await super().instrument(symbol)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        self._fails("history", symbol, self.refused)
        return await super().history(symbol, interval_ns, end_ns=end_ns, count=count)

    async def stream(self, wanted, sink):
        provider, put = self, sink.put

        class Part:
            feed, malformed = sink.feed, sink.malformed

            @staticmethod
            def put(event):
                at = (event.time_ns - 1704067200 * 10**9) / 10**9
                first, last = provider.silent or (0, 0)
                if event.symbol != provider.symbol or not first <= at < last:
                    put(event)

        await super().stream(wanted, Part)

@hookimpl
def lab_providers():
    return {"uneven": Uneven}
'''


@pytest.fixture
def uneven(trader: Any) -> Any:
    trader.install("their_uneven", UNEVEN)
    return trader


def run(lab: Any, *options: str, minutes: int = 6, code: int = 0, symbols: tuple[str, ...] = BOTH) -> dict[str, Any]:
    command = ("run", "--provider", "uneven", "--speed", "max", "--minutes", str(minutes), "--reporter", "none")
    result = lab(*command, "--strategy", "trader", "--gate", "none", *symbols, *options)
    assert result.code == code, result
    report: dict[str, Any] = lab.run().report()
    return report


def gates(lab: Any, symbol: str = "") -> list[tuple[float, list[str]]]:
    """Return the second and the reasons of each state of the session, or of a symbol."""
    kind = "symbol_state" if symbol else "trading_state"
    rows = [body for _, _, body in lab.run().rows(kind) if not symbol or body[1] == symbol]
    return [((body[0] - BEGIN_NS) / SECOND_NS if body[0] else 0.0, body[-1]) for body in rows]


def entries(lab: Any, symbol: str) -> list[float]:
    """Return the seconds at which entries of a symbol were accepted."""
    rows = [body for _, _, body in lab.run().rows("order_accepted") if not body["reduce_only"]]
    return [(body["placed_ns"] - BEGIN_NS) / SECOND_NS for body in rows if body["symbol"] == symbol]


@pytest.mark.behaviour("V1", "S13")
def test_a_symbol_whose_quotes_stop_is_shut_by_itself_and_the_other_trades_on(lab: Any, uneven: Any) -> None:
    report = run(lab, "--set", "uneven.silent=90,210", minutes=8)
    assert [reasons for _, reasons in gates(lab)][-1] == []
    assert [reasons for _, reasons in gates(lab, BTC)][-1] == []
    states = gates(lab, ETH)
    place = next(place for place, (_, reasons) in enumerate(states) if reasons == ["quote stale"])
    shut = states[place : place + 2]
    assert 94.0 <= shut[0][0] <= 95.5
    assert shut[-1][1] == []
    assert 210.0 <= shut[-1][0] <= 212.0
    assert not [at for at in entries(lab, ETH) if shut[0][0] <= at < shut[-1][0]]
    assert len([at for at in entries(lab, BTC) if shut[0][0] <= at < shut[-1][0]]) >= 1
    assert not [text for text in report["degradations"] if text.startswith("trading_shut")], "one was always open"
    proved(lab)


@pytest.mark.behaviour("F10", "S13")
def test_candles_that_one_symbol_missed_are_fetched_for_it_alone(lab: Any, uneven: Any) -> None:
    run(lab, "--set", "uneven.silent=90,210", minutes=8)
    fetched = [body[2] for _, _, body in lab.run().rows("notice") if body[1] == "backfill"]
    assert {one["symbol"] for one in fetched} == {ETH}
    assert [one["state"] for one in fetched] == ["done"]
    opens = {symbol: [] for symbol in (BTC, ETH)}
    for _, _, body in lab.run().rows("candle"):
        opens[body[0]].append(body[1])
    assert sorted(opens[BTC]) == sorted(opens[ETH])


@pytest.mark.behaviour("F9", "S13")
def test_a_symbol_whose_history_fails_at_first_is_warm_later_than_the_other(lab: Any, uneven: Any) -> None:
    report = run(lab, "--set", "uneven.refused=6", "--set", "trader.need=5", minutes=8)
    assert gates(lab, BTC)[-1][1] == []
    warmed = gates(lab, ETH)
    assert warmed[0][1][-2:] == ["warm-up", "warming 0/5"]
    assert warmed[-1][1] == []
    opened = warmed[-1][0]
    assert entries(lab, BTC)[0] < opened <= entries(lab, ETH)[0]
    assert f"history_failures {ETH} 6" in report["degradations"]
    assert report["reason"] == "completed"
    proved(lab)


def test_a_symbol_that_never_warms_up_is_named_and_the_run_is_that_of_the_other(lab: Any, uneven: Any) -> None:
    report = run(lab, "--set", "uneven.refused=100000", "--set", "trader.need=20")
    assert f"seed_incomplete {ETH} 6/20" in report["degradations"]
    assert report["reason"] == "completed"
    assert {body["symbol"] for _, _, body in lab.run().rows("order_filled")} == {BTC}


def test_an_instrument_that_is_not_described_at_first_is_asked_for_again_and_no_other(lab: Any, uneven: Any) -> None:
    report = run(lab, "--set", "uneven.unknown=2")
    assert report["error_count"] == 2
    assert ETH in {body["symbol"] for _, _, body in lab.run().rows("order_filled")}
    assert list(report["instruments"]) == [BTC, ETH]


@pytest.mark.behaviour("S13")
def test_a_symbol_that_is_none_among_several_is_named_before_anything_is_written(
    lab: Any, uneven: Any, one_line: Any
) -> None:
    options = ("--speed", "max", "--set", "uneven.missing=true", *BOTH)
    one_line(lab("run", "--provider", "uneven", *options), 78, "no symbol 'ETHUSDT'")
    assert lab.files() == []


def test_the_order_of_symbols_is_that_in_which_they_were_given(lab: Any, uneven: Any) -> None:
    report = run(lab, symbols=("--symbol", ETH, "--symbol", BTC), minutes=2)
    assert report["symbol"] == "ETHUSDT, BTCUSDT"
    assert [body["symbol"] for _, _, body in lab.run().rows("order_accepted")][:2] == [ETH, BTC]
    proved(lab)


@pytest.mark.behaviour("S13")
def test_a_run_of_one_symbol_has_no_row_of_a_symbols_state(lab: Any, uneven: Any) -> None:
    run(lab, "--set", f"uneven.symbol={BTC}", "--set", "uneven.silent=90,210", symbols=(), minutes=5)
    assert lab.run().rows("symbol_state") == []
    assert ["quote stale"] in [reasons for _, reasons in gates(lab)]


WARM = "ETHUSDT: history for the warm-up is there"


@pytest.mark.behaviour("V6", "S13")
def test_terminal_and_page_say_of_which_symbol_they_speak(lab: Any, uneven: Any) -> None:
    reporters = ("--reporter", "terminal", "--reporter", "html", "--reporter", "jsonl", "--set", "html.charts=plain")
    command = ("run", "--provider", "uneven", "--speed", "max", "--minutes", "6", "--strategy", "trader", *BOTH)
    result = lab(*command, *reporters, "--set", "uneven.silent=90,210")
    assert result.code == 0, result
    for words in (
        "BTCUSDT, ETHUSDT, 1m", "  Instruments  BTCUSDT: tick", "ETHUSDT halted: quote stale", "ETHUSDT open",
        "by symbol",
    ):  # fmt: skip
        assert words in result.out, words
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    for words in (
        "BTCUSDT: price and fills",
        "ETHUSDT: price and fills",
        "Symbols (2)",
        "ETHUSDT halted: quote stale",
        WARM,
    ):
        assert words in page, words
    lines = [json.loads(line) for line in (lab.run().folder / "events.jsonl").read_text().splitlines()]
    [state] = [
        one["body"]
        for one in lines
        if one["kind"] == "symbol_state" and one["body"]["halted_by"][:1] == ["quote stale"]
    ]
    assert state["symbol"] == ETH


PAIR = '''
"""A strategy that trades each symbol on some of its quotes."""
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Pair(Strategy):
    lookback = 0
    seen: dict = field(init=False, factory=dict)

    def on_candle(self, candle, view):
        return []

    def on_quote(self, quote, view):
        seen = self.seen[quote.symbol] = self.seen.get(quote.symbol, 0) + 1
        if seen % 8 == 0:
            return [OrderRequest.buy(quote.symbol, Decimal("0.001"), reason=f"quote {seen}")]
        held = view.position(quote.symbol).quantity
        if seen % 8 == 4 and held > 0:
            return [OrderRequest.sell(quote.symbol, held, reduce_only=True, reason=f"quote {seen}")]
        return []

@hookimpl
def lab_strategies():
    return {"pair": Pair}
'''


@pytest.fixture
def life(lab: Any, steady: Any) -> Iterator[Any]:
    steady.install("their_pair", PAIR)
    with lives(lab, steady) as live:
        yield live


@pytest.mark.behaviour("S11", "S13")
def test_killed_again_and_again_a_session_of_two_symbols_is_still_one_run_and_proved(lab: Any, life: Any) -> None:
    start = [word if word != "counter" else "pair" for word in RUN]
    assert life(*start, *BOTH, "--minutes", "9", killed_after=0.4).code == -signal.SIGKILL
    for _ in range(6):
        assert life("run", "--resume", "--reporter", "none", killed_after=0.15, trading=True).code == -signal.SIGKILL
    assert life("run", "--resume", "--reporter", "none", killed_after=0.2, signalled=signal.SIGTERM).code == 0
    proved(lab)
    report = lab.run().report()
    assert resumptions(lab.run()) >= 4
    for symbol in (BTC, ETH):
        reasons = [body["reason"] for _, _, body in lab.run().rows("order_accepted") if body["symbol"] == symbol]
        counted = [int(text.split()[1]) for text in reasons if text.startswith("quote")]
        assert counted == sorted(set(counted))
        assert len(counted) > 2
        assert report["books"]["pair"]["positions"] == {}
