"""Other people's engines, each in an environment of its own, at the same work on the same file."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from benchmarks.data import Expected
from benchmarks.forms import environment, outside, why
from benchmarks.measure import ROOT, Cost, cost
from benchmarks.suite import Suite

_TOLERANCE: Final = {"trades": 0.0005, "fees": 0.01}
"""Of the trades: averages that are equal but for rounding are told apart by some. Of the fees: other prices."""
_CANDLES: Final = frozenset({"candles", "orders"})


@frozen
class Peer:
    """One engine: what is installed, the module that runs it, the kinds of files it takes, and how it differs."""

    title: str
    requirement: str
    module: str
    files: frozenset[str]
    differs: str
    """What it does not do, or does otherwise; part of the note."""
    also: Mapping[str, str] = field(factory=dict)
    """What else it reports, in words."""
    python: str = ""
    caches: str = ""
    before: dict[str, dict[str, float]] = field(factory=dict)
    """What the run before the first one on a file came to."""

    def race(self, suite: Suite, name: str) -> dict[str, Any]:
        """Run it once. Raises ``RuntimeError`` where it did not do the work that the data demands.

        An engine that compiles runs once more before, as often in one process as is needed to see what a second run
        costs there (``again_s``); where it keeps what it compiled, later processes find it (``cold_s`` is the first).
        """
        if "again_s" in self.also and name not in self.before:
            first = self._run(suite, name, "again")
            cold = {} if self.before else {"cold_s": first["cpu_s"] - first["again_s"]}
            self.before[name] = {"again_s": first["again_s"], **cold}
        return {**self._run(suite, name), **self.before.get(name, {})}

    def _run(self, suite: Suite, name: str, *more: str) -> dict[str, Any]:
        kind = name.partition("-")[0]
        found, taken = self.tell(self.module, kind, str(suite.folder / name), *more)
        agree(found, suite.expected[name], kind)
        rows = int(name.partition("-")[2].removesuffix(".csv"))
        return {**found, "rows": rows, "wall_s": taken.wall_s, "cpu_s": taken.cpu_s, "peak_mib": taken.peak_mib}

    def tell(self, module: str, *words: str) -> tuple[dict[str, Any], Cost]:
        """Run one of the modules beside this one in the peer's environment; return what it found, and what it took."""
        command = [self.python, "-m", f"benchmarks.peer_engines.{module}", *words]
        variables = outside() | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": self.caches, "PYTHONWARNINGS": "ignore"}
        with tempfile.TemporaryDirectory() as folder:
            taken = cost(command, Path(folder), variables, 600)
        return json.loads(taken.output.splitlines()[-1]), taken


def agree(found: Mapping[str, Any], expected: Expected, kind: str) -> None:
    """Raise ``RuntimeError`` unless a peer saw all rows and came to the same trades and fees, but for its prices."""
    wanted = expected.quotes if kind == "quotes" else expected.candles
    fees, spare = float(expected.fees), max(2.0, _TOLERANCE["trades"] * expected.trades)
    if (
        found["rows"] != wanted
        or abs(found["trades"] - expected.trades) > spare
        or abs(found["fees"] - fees) > _TOLERANCE["fees"] * fees
    ):
        raise RuntimeError(f"other work than ours: {found}, ours {expected.trades} trades, fees {fees}")


_FLOATS: Final = "money as floats, no journal, no gates"
PEERS: Final = {
    "backtesting.py": Peer(
        "backtesting.py 0.6.6", "backtesting==0.6.6", "backtesting_py", _CANDLES,
        "signals computed at once before the run, its own way of closing (exclusive_orders); fills at the next open, "
        f"{_FLOATS}",
        {"run_s": "its run alone"},
    ),
    "nautilus_trader": Peer(
        "NautilusTrader 1.221", "nautilus_trader==1.221.0", "nautilus", _CANDLES | {"quotes"},
        "BacktestEngine with a prepared list, log and statistics off, risk engine bypassed, a crossing is one order of "
        "double size, closed orders purged (without that it takes twice as long at 1,000,000); no journal",
        {"run_s": "its run alone"},
    ),
    "vectorbt": Peer(
        "vectorbt 1.2", "vectorbt==1.2.0", "vectorbt_", _CANDLES,
        "Portfolio.from_orders over whole arrays, no strategy that is asked at each candle; a crossing is one order of "
        f"double size, filled at the close; {_FLOATS}",
        {"cold_s": "its first process, which compiles,", "run_s": "its run alone", "again_s": "again in that process"},
    ),
    "hftbacktest": Peer(
        "hftbacktest 2.4.4", "hftbacktest==2.4.4", "hftbacktest_", frozenset({"quotes"}),
        "the quotes as depth events, a Numba function that looks at every one, a crossing is one order of double size; "
        f"it models queues, which is not asked for here; {_FLOATS}",
        {"run_s": "its run alone, compiling included,", "again_s": "again in that process"},
    ),
}  # fmt: skip


def installed(folder: Path, peer: Peer) -> Peer:
    """Install a peer in an environment of its own in a folder. Raises ``RuntimeError`` where that fails."""
    options = ["--only-binary", ":all:", "--compile-bytecode"]
    python = environment(folder / f"peer-{peer.module}", [peer.requirement], None, *options)
    return evolve(peer, python=str(python), caches=str(folder / "numba"), before={})


def prepared(suite: Suite) -> tuple[dict[str, Peer], dict[str, str]]:
    """Install the peers; return those that are ready, by name, and why the others are not."""
    ready, lacking = {}, {}
    for name, peer in PEERS.items():
        try:
            ready[name] = installed(suite.folder, peer)
        except RuntimeError as error:
            lacking[peer.requirement] = why(error)
    return ready, lacking
