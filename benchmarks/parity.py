"""Prove that lab trades as others do on the same candles: ``python -m benchmarks.parity [FILE ...]``.

Each trade of ``lab backtest``, without latency and with 200 ms, is held against the plain rules (`benchmarks.trades`)
and against those of backtesting.py and vectorbt; the profit of NautilusTrader, which fills at closes, is explained.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lab_recordings import RecordingError, infer_interval, locate, read_candles

from benchmarks import ours
from benchmarks.data import FAST, SLOW, walk, write_candles
from benchmarks.fills import Fill, explain
from benchmarks.forms import CACHE, outside, why
from benchmarks.measure import cost, machine
from benchmarks.peers import PEERS, Peer, installed
from benchmarks.trades import (
    AT_OPEN,
    EQUITY,
    FEE,
    LATER,
    MONEY,
    ONE_A_CANDLE,
    QUANTITY,
    STOP_FIRST,
    TOUCH,
    Bar,
    Trade,
    decide,
    read,
    simulate,
    tick_of,
)
from benchmarks.verdicts import Case, lines, of_trades, table, to_the_cent

LATENCIES: Final = (0, 200)
RULES: Final = {"crossings": (Decimal(0), Decimal(0)), "brackets": (Decimal("0.1"), Decimal("0.2"))}
"""What is traded: stop and target in %, 0 for none."""
SETTINGS: Final = (
    "run.broker=paper", "run.gates=none", "run.reporters=none", f"run.equity={EQUITY}", f"sma.fast={FAST}",
    f"sma.slow={SLOW}", "sma.confirmation=1", f"sma.quantity={QUANTITY}", f"paper.taker_fee={FEE}",
    f"paper.maker_fee={FEE}", "paper.slippage_bps=0", "paper.liquidity=unlimited", "paper.jitter_ms=0",
)  # fmt: skip
DEPARTURES: Final = {
    "backtesting.py": ("trades_backtesting_py", (TOUCH, AT_OPEN, STOP_FIRST)),
    "vectorbt": ("trades_vectorbt", (LATER, TOUCH, AT_OPEN, STOP_FIRST, ONE_A_CANDLE)),
}
"""By peer: the module that runs it, and what it does otherwise where there are stops and targets."""
BEHIND: Final = {0: 0, 200: 1}
"""By latency: how many candles after the decision's the close is that NautilusTrader fills at."""
_MINUTE_NS: Final = 60_000_000_000


def main(arguments: Sequence[str]) -> int:
    """Compare, print and store; return 1 where a difference is not explained, or a peer could not be asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity", description="Hold lab's trades against others'."
    )
    what = "one-minute candles without gaps; default: the recording btcusd-1m and a random walk"
    parser.add_argument("files", nargs="*", default=["btcusd-1m", ""], metavar="FILE", help=what)
    parser.add_argument("--candles", type=int, default=20_000, help="of the random walk; default 20,000")
    given = parser.parse_args(arguments)
    found, began, measured = machine(), time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        try:
            cases = [case for name in given.files for case in _cases(here, name, given.candles)]
        except (RecordingError, ValueError) as error:
            parser.error(str(error))
        peers, lacking = _peers(here)
        rows = []
        for row in (row for case in cases for row in _rows(here, case, peers)):
            rows.append(row)
            print("\n".join(lines(row)), flush=True)
    results = {
        "schema_version": 1, "measured": measured, "seconds": round(time.monotonic() - began, 1), "machine": found,
        "peers": [peer.title for peer in peers.values()], "not_compared": lacking, "rows": rows,
    }  # fmt: skip
    path = Path(__file__).parent / "results" / "parity.json"
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for requirement, reason in lacking.items():
        print(f"not compared: {requirement}: {reason}", file=sys.stderr)
    wrong = sum(not row["holds"] for row in rows)
    print(f"\n{table(rows)}\n\n{len(rows)} comparisons, {wrong} of them not explained; results/{path.name}")
    return 1 if wrong or lacking else 0


def _peers(folder: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    ready, lacking = {}, {}
    for name in (*DEPARTURES, "nautilus_trader"):
        try:
            ready[name] = installed(folder, PEERS[name])
        except RuntimeError as error:
            lacking[PEERS[name].requirement] = why(error)
    return ready, lacking


def _cases(folder: Path, name: str, count: int) -> Iterator[Case]:
    """Write the candles where every engine reads them, and decide. Raises ``ValueError`` for candles with gaps."""
    path = folder / f"{Path(name or 'walk').name.partition('.')[0]}.csv"
    if name:
        _copy(locate(name), path)
    else:
        write_candles(path, list(walk(count)))
    bars = read(path)
    tick = tick_of(bars)
    for rule, levels in RULES.items():
        yield Case(name or f"random walk, {count:,} candles", rule, path, bars, tick, decide(bars, tick, *levels))


def _copy(source: Path, path: Path) -> None:
    interval_ns = infer_interval(source)
    lines, last_ns = ["time,open,high,low,close,volume"], 0
    for batch in read_candles(source, "BTCUSDT", interval_ns):
        for one in batch:
            if interval_ns != _MINUTE_NS or (last_ns and one.open_ns != last_ns + _MINUTE_NS):
                raise ValueError(f"{source.name}: not one-minute candles without a gap (at {one.open_ns} ns)")
            last_ns = one.open_ns
            figures = ",".join(map(repr, (one.open, one.high, one.low, one.close, one.volume)))
            lines.append(f"{one.open_ns // 1_000_000},{figures}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


# -- running ---------------------------------------------------------------------------------------------------------


def _rows(folder: Path, case: Case, peers: Mapping[str, Peer]) -> Iterator[dict[str, Any]]:
    """Run everybody on a case; yield a row for each comparison."""
    work = folder / "work.json"
    work.write_text(json.dumps(case.work()), encoding="ascii")
    booked = {latency_ms: _lab(folder, case, latency_ms) for latency_ms in LATENCIES}
    trades = {latency_ms: ours.round_trips(each, case.bars) for latency_ms, each in booked.items()}
    plain = simulate(case.bars, case.decisions)
    for latency_ms, mine in trades.items():
        yield of_trades(case, f"lab at {latency_ms} ms and the plain rules", mine, plain, ())
    for name, (module, departures) in DEPARTURES.items():
        if name not in peers:
            continue
        found, _ = peers[name].tell(module, str(case.path), str(work))
        theirs = [_trade(values, case.bars) for values in found["trades"]]
        for latency_ms, mine in trades.items():
            yield of_trades(case, f"lab at {latency_ms} ms and {peers[name].title}", mine, theirs, departures)
    if "nautilus_trader" in peers and case.rule == "crossings":
        for latency_ms in LATENCIES:
            found, _ = peers["nautilus_trader"].tell("trades_nautilus", str(case.path), str(work), str(latency_ms))
            yield _explained(case, latency_ms, booked[latency_ms], trades[latency_ms], found)


def _explained(
    case: Case, latency_ms: int, booked: Sequence[ours.Booked], trades: Sequence[Trade], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of NautilusTrader's profit, which both have at the same latency."""
    theirs = {number: Fill(*map(Decimal, figures)) for number, *figures in found["fills"]}
    profits = sum((trade.profit for trade in trades), Decimal(0)), Decimal(found["profit"])
    behind = BEHIND[latency_ms]
    one = explain(case.bars, ours.by_decision(booked), theirs, profits, behind)
    what = f"lab at {latency_ms} ms and {PEERS['nautilus_trader'].title} at the same"
    close = "the close that decided them" if not behind else "the close of the candle after"
    return to_the_cent(case, what, close, profits, one)


def _lab(folder: Path, case: Case, latency_ms: int) -> list[ours.Booked]:
    """Run ``lab backtest``. Raises ``RuntimeError`` where its report is not the sum of its trades."""
    stop, target = RULES[case.rule]
    own = (f"replay.tick={case.tick}", f"sma.stop_percent={stop}", f"sma.target_percent={target}")
    with tempfile.TemporaryDirectory(dir=folder) as state:
        command = [
            str(Path(sys.executable).with_name("lab")),
            "backtest",
            str(case.path),
            "--strategy",
            "sma",
            "--json",
        ]
        command += ["--state-dir", state, "--latency-ms", str(latency_ms)]
        command += [word for setting in (*SETTINGS, *own) for word in ("--set", setting)]
        report = json.loads(cost(command, folder, outside() | {CACHE: state}, 600).output)
        found = ours.booked(Path(state) / "runs" / "latest")
    profit = sum(trade.profit for trade in ours.round_trips(found, case.bars))
    if Decimal(report["pnl_absolute"]) != profit or report["candles"] != len(case.bars) or report["refusals"]:
        raise RuntimeError(f"lab's report is not the sum of its trades: {report['pnl_absolute']}, trades {profit}")
    return found


def _trade(values: Sequence[Any], bars: Sequence[Bar]) -> Trade:
    """Read a peer's trade: its figures are floating point, exact to `MONEY` and beyond."""
    entry, size, price, left, out, fees, profit = values
    left_ms, price_out = (None, None) if left is None else (bars[left].time_ms, _exact(out))
    return Trade(
        bars[entry].time_ms,
        1 if size > 0 else -1,
        _exact(abs(size)),
        _exact(price),
        left_ms,
        price_out,
        _exact(fees),
        _exact(profit),
    )


def _exact(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(MONEY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
