"""Run the suite: ``python -m benchmarks [--quick] [--peers] [--name NAME] [--only GROUP]``."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from benchmarks import peers, sessions, table
from benchmarks.children import case, server
from benchmarks.data import write_walk
from benchmarks.measure import machine, unit_ns

HERE: Final = Path(__file__).parent


@define
class Suite:
    """One run of the suite: what to leave out, the data, and the figures so far."""

    quick: bool
    walk: Path
    rows: list[dict[str, str]] = field(factory=list)
    raw: dict[str, Any] = field(factory=dict)

    def add(self, key: str, raw: Any, *rows: dict[str, str]) -> None:
        """Keep figures, and show them at once."""
        self.raw[key] = raw
        self.rows.extend(rows)
        for one in rows:
            print(f"  {one['what']}: {one['figure']}; {one['u'] or '-'} u; {one['note']}", flush=True)

    # -- backtests ---------------------------------------------------------------------------------------------------

    def backtests(self) -> None:
        """Candles and quotes a second through ``lab backtest``'s own path, one process a run."""
        counts = ((100_000, 2),) if self.quick else ((100_000, 5), (1_000_000, 2))
        for count, runs in counts:
            for journal in (False, True):
                self._backtest(f"SMA 10/30, {count:,} candles", count, runs, strategy="sma", journal=journal)
        runs = 2 if self.quick else 5
        self._backtest("empty candle (no-op strategy), 100,000", 100_000, runs, strategy="idle", journal=False)
        quotes = 120_000 if self.quick else 600_000
        self._backtest(f"SMA 10/30, {quotes:,} quotes", quotes, runs, strategy="sma", journal=True, quotes=True)
        if csv := os.environ.get("LAB_BENCH_CSV"):
            results = [case("csv", path=str(Path(csv).resolve())) for _ in range(runs)]
            self._rate(f"SMA 10/30, {Path(csv).name}", results, "file, parsing included, journal on")

    def _backtest(
        self, what: str, count: int, runs: int, *, strategy: str, journal: bool, quotes: bool = False
    ) -> None:
        given = {"count": count, "strategy": strategy, "journal": journal, "quotes": quotes}
        results = [case("backtest", path=str(self.walk), **given) for _ in range(runs)]
        self._rate(what, results, f"journal {'on (file)' if journal else 'off (:memory:)'}")

    def _rate(self, what: str, results: list[dict[str, Any]], note: str) -> None:
        middle = statistics.median_low([result["seconds"] for result in results])
        one = next(result for result in results if result["seconds"] == middle)
        best = min(result["seconds"] for result in results)
        cpu = statistics.median(result["cpu_seconds"] for result in results) / one["inputs"]
        u = statistics.median(result["cpu_seconds"] / result["u_ns"] for result in results) * 1e9 / one["inputs"]
        share = f", {100 * one['orders'] / 2 / one['inputs']:.2f} % of candles with orders ({one['orders']:,})"
        more = f"{note}; CPU {cpu * 1e6:.2f} µs each; best {one['inputs'] / best:,.0f}/s; {one['peak_mib']:.0f} MiB"
        if one["orders"] and not one["quotes"]:
            more += share
        figure = f"{one['inputs'] / middle:,.0f}/s, {middle / one['inputs'] * 1e6:.2f} µs each"
        self.add(f"{what}, {note}", results, table.row(what, figure, u=u, note=more))

    def parts(self) -> None:
        """What a candle and an order cost in the engine alone."""
        for strategy, what in (
            ("idle", "empty candle, engine alone"),
            ("sma", "SMA candle without an order, engine alone"),
        ):
            one = case("step", path=str(self.walk), count=100_000, strategy=strategy)
            note = f"best of 5, nothing held; making a candle from columns: {one['making_ns']:.0f} ns"
            figure = f"{one['ns_each']:.0f} ns"
            self.add(what, one, table.row(what, figure, u=one["ns_each"] / one["u_ns"], note=note))
        for count, repeats in ((400, 9), (10_000 if self.quick else 40_000, 2 if self.quick else 3)):
            one = case("orders", path=str(self.walk), count=count, repeats=repeats)
            what = f"an order, submit to booked fill, of {count:,}"
            figure = f"{one['ns_each'] / 1000:.1f} µs"
            note = "engine, gates, broker, ledger; no journal"
            self.add(what, one, table.row(what, figure, u=one["ns_each"] / one["u_ns"], note=note))

    # -- live --------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Latency and throughput over a real socket from another process."""
        runs: list[dict[str, Any]] = []
        with server("--rate", "500") as port:
            wanted = 1 if self.quick else 3
            runs.extend(case("live", port=port, seconds=4 if self.quick else 10) for _ in range(wanted))
        middle = sorted(runs, key=lambda run: float(run["p99_us"]))[len(runs) // 2]
        figure = f"p50 {middle['p50_us']:.0f} µs, p99 {middle['p99_us']:.0f} µs, max {middle['max_us']:.0f} µs"
        note = (
            f"u of p50; {middle['samples']:,} quotes at 500/s, sent → on_quote, the first tenth (warming up) left out; "
            f"{middle['conflated']} conflated; median run of {len(runs)} by p99"
        )
        u = middle["p50_us"] * 1000 / middle["u_ns"]
        self.add("latency", runs, table.row("message to decision", figure, u=u, note=note))
        rate, seconds = 5_000, 4 if self.quick else 8
        with server("--rate", str(rate)) as port:
            fast = case("live", port=port, seconds=seconds)
        given = fast["quotes_decided"] + fast["conflated"]
        figure = f"{100 * fast['quotes_decided'] / given:.1f} % of {given:,} quotes"
        note = f"offered at up to {rate:,}/s; the others were conflated: a newer one came before the runner's turn"
        self.add("decided", fast, table.row("quotes that reached the strategy", figure, note=note))
        count = 20_000 if self.quick else 100_000
        with server("--flood", str(count)) as port:
            piped, typed, plain = [], [], []
            for _ in range(1 if self.quick else 3):
                typed.append(case("bare", port=port, decoder="typed"))
                piped.append(case("live", port=port, seconds=60, quotes_wanted=count))
                plain.append(case("bare", port=port, decoder="json"))
        self._flood(piped, typed, plain)

    def _flood(self, piped: list[Any], typed: list[Any], plain: list[Any]) -> None:
        raw = {"pipeline": piped, "bare_typed": typed, "bare_json": plain}
        whole, bare, text = (statistics.median(float(one["per_second"]) for one in raw[key]) for key in raw)
        one = piped[0]
        note = (
            "socket, decode, checks, sink; runner and engine for what is not conflated: "
            f"of {one['messages']:,} only {one['quotes_decided']:,} reached the strategy, the others replaced by a "
            f"newer one in the sink; {whole / text:.2f} of bare websockets + json.loads ({text:,.0f}/s), "
            f"{whole / bare:.2f} of bare websockets + typed msgspec ({bare:,.0f}/s)"
        )
        u = statistics.median(1e9 / run["per_second"] / run["u_ns"] for run in piped)
        self.add("flood", raw, table.row("messages taken in during a flood", f"{whole:,.0f}/s", u=u, note=note))

    # -- the command line --------------------------------------------------------------------------------------------

    def cli(self) -> None:
        """Start-up, memory, an idle session."""
        cost = sessions.help_cost(5 if self.quick else 15)
        figure = f"{cost['help_cpu_s'] * 1000:.0f} ms CPU"
        best, empty = cost["help_cpu_best_s"] * 1000, cost["python_cpu_s"] * 1000
        note = f"user + system; best {best:.0f} ms; an empty interpreter {empty:.0f} ms"
        self.add("help", cost, table.row("lab --help", figure, note=note))
        first = sessions.first_quote(1 if self.quick else 5)
        figure = f"{first['median_s']:.2f} s"
        note = f"best {first['best_s']:.2f} s; {first['source']}"
        self.add("first_quote", first, table.row("lab run to the first quote at the strategy", figure, note=note))
        with server("--rate", "3") as port:
            idle = sessions.idle(port, 3, 8 if self.quick else 33)
        figure = f"{idle['idle_percent']:.2f} % of a core, {idle['peak_mib']:.0f} MiB peak RSS"
        note = (
            f"bitunix at 3 quotes/s, default reporters, {idle['seconds']:.0f} s session, its start and end left out: "
            f"a session of 3 s takes {idle['session_cpu_s']:.2f} s CPU"
        )
        self.add("idle", idle, table.row("a quiet live session", figure, note=note))

    def peers(self) -> None:
        """Other engines on the same candles."""
        count = 20_000 if self.quick else 100_000
        ours = case("backtest", path=str(self.walk), count=count, strategy="sma", journal=False)
        self._rate(f"lab beside the peers, {count:,} candles", [ours], "journal off (:memory:)")
        for name in peers.PEERS:
            found = peers.measure(name, self.walk, count, 3)
            if "skipped" in found:
                self.add(
                    name, found, table.row(name, "skipped", note=found["skipped"].replace("\n", " ").replace("|", "/"))
                )
                continue
            figure = f"{found['inputs'] / found['seconds']:,.0f}/s"
            making = f"; making its bars {found['making_seconds']:.2f} s apart" if "making_seconds" in found else ""
            note = f"{peers.PEERS[name][0]}, {found['trades']:,} trades{making}"
            self.add(name, found, table.row(f"{name}, {count:,} candles", figure, note=note))


def main(arguments: Iterable[str]) -> int:
    """Run the suite; write results/NAME.json, and the README's figures where the whole of it ran."""
    groups: dict[str, Callable[[Suite], None]] = {
        "backtests": Suite.backtests, "parts": Suite.parts, "live": Suite.live, "cli": Suite.cli,
    }  # fmt: skip
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure lab on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: at most a minute")
    parser.add_argument(
        "--peers", action="store_true", help="also install and measure backtesting.py and nautilus_trader"
    )
    parser.add_argument("--only", action="append", choices=[*groups, "peers"], help="only this group; may be repeated")
    parser.add_argument("--name", help="name of the results file; default: full, quick or partial")
    given = parser.parse_args(list(arguments))
    wanted = given.only or [*groups]
    if given.peers or "peers" in wanted:
        groups["peers"] = Suite.peers
        wanted = [*dict.fromkeys([*wanted, "peers"])]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(given.quick, Path(folder) / "walk.f64")
        write_walk(suite.walk, 130_000 if given.quick else 1_000_000)
        for name in wanted:
            print(name, flush=True)
            partial(groups[name], suite)()
    found, u_ns = machine(), unit_ns()
    name = given.name or ("partial" if given.only else "quick" if given.quick else "full")
    seconds = round(time.monotonic() - began, 1)
    results = {
        "schema_version": 1,
        "machine": found,
        "u_ns": u_ns,
        "seconds": seconds,
        "rows": suite.rows,
        "raw": suite.raw,
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(
        json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"\n{table.plain(suite.rows)}\n\nu = {u_ns:.1f} ns; {seconds} s; benchmarks/results/{name}.json")
    if name == "full":
        table.put_into(HERE / "README.md", table.markdown(suite.rows, found, u_ns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
