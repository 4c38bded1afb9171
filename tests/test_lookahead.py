"""`lab lookahead` convicts what peeks at the future, whatever way it takes, and nobody else."""

import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from lab.runs.previous import running

PEEKERS = '''
"""Strategies that know what comes, each in its own way."""
import csv
import os, subprocess, sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from attrs import define, field
from lab import Candle, OrderRequest, Strategy, hookimpl

AVERAGES = {}
HARD_CODED = Path(__file__).with_name("where.txt")


def closes(path):
    with open(path, newline="") as file:
        return parsed(file)


def parsed(lines):
    return {int(row["time"]) * 10**9: float(row["close"]) for row in csv.DictReader(lines)}


@define(kw_only=True)
class Base(Strategy):
    path: str = field(default="", metadata={"help": "a file of prices"})

    def knows(self, candle, view):
        """Return the next close, or None."""

    def on_candle(self, candle, view):
        held = view.position(candle.symbol).quantity
        following = self.knows(candle, view)
        if following is None:
            return []
        if following > candle.close and not held:
            return [OrderRequest.buy(candle.symbol, Decimal("0.01"))]
        if following < candle.close and held:
            return [OrderRequest.sell(candle.symbol, held, reduce_only=True)]
        return []


@define(kw_only=True)
class File(Base):
    """Reads the file of prices at every candle, one row further than it may."""

    def knows(self, candle, view):
        return closes(self.path).get(candle.open_ns + 60 * 10**9)


@define(kw_only=True)
class Fixed(Base):
    """Knows the file's path without any setting."""

    def knows(self, candle, view):
        return closes(HARD_CODED.read_text()).get(candle.open_ns + 60 * 10**9)


@define(kw_only=True)
class Child(Base):
    """Has another program read the file."""

    def knows(self, candle, view):
        if not AVERAGES:
            shown = subprocess.run(["cat", HARD_CODED.read_text()], capture_output=True, text=True, check=True).stdout
            AVERAGES.update(parsed(shown.splitlines()))
        return AVERAGES.get(candle.open_ns + 60 * 10**9)


@define(kw_only=True)
class Linked(Base):
    """Reads the file by another name: by a link, from an open folder, and in a thread of a pool."""

    how: str = field(default="link", metadata={"help": "the way"})

    def knows(self, candle, view):
        if not AVERAGES:
            AVERAGES.update(parsed(self._text(Path(HARD_CODED.read_text())).splitlines()))
        return AVERAGES.get(candle.open_ns + 60 * 10**9)

    def _text(self, prices):
        link = prices.with_name("other.csv")
        if self.how == "thread":
            with ThreadPoolExecutor() as pool:
                return pool.submit(Path.read_text, prices).result()
        if self.how == "link":
            return link.read_text()
        folder = os.open(link.parent, os.O_RDONLY)
        with os.fdopen(os.open(link.name, os.O_RDONLY, dir_fd=folder)) as file:
            return file.read()


@define(kw_only=True)
class Whole(Base):
    """Takes averages of the whole file once, in the middle of which each candle lies; the module keeps them."""

    def knows(self, candle, view):
        if not AVERAGES:
            found = sorted(closes(self.path).items())
            for place in range(2, len(found) - 2):
                AVERAGES[found[place][0]] = sum(close for _, close in found[place - 2 : place + 3]) / 5
        return AVERAGES.get(candle.open_ns)


@define(kw_only=True)
class Memory(Base):
    """Looks for candles in the local variables of whoever calls it."""

    def knows(self, candle, view):
        frame = sys._getframe()
        while frame is not None:
            for value in list(frame.f_locals.values()):
                if isinstance(value, Sequence) and not isinstance(value, str | bytes):
                    for one in value:
                        if type(one) is Candle and one.open_ns == candle.open_ns + 60 * 10**9:
                            return one.close
            frame = frame.f_back


@define(kw_only=True)
class Tape(Base):
    """Reads on in the tape of the run that is replayed."""

    def knows(self, candle, view):
        from lab.journal.tape import read_tape
        for event in read_tape(Path(self.path)):
            if type(event) is Candle and event.open_ns == candle.open_ns + 60 * 10**9:
                return event.close


@hookimpl
def lab_strategies():
    named = {"file": File, "fixed": Fixed, "child": Child, "linked": Linked}
    return {**named, "whole": Whole, "memory": Memory, "tape": Tape}
'''

SHARED = '''
"""A source that reads ahead into what its module shares, and a strategy that looks there."""
import csv
from decimal import Decimal
from attrs import define, field
from lab import Candle, Instrument, OrderRequest, Provider, Realm, Strategy, hookimpl

READ = {}


@define(kw_only=True)
class Ahead(Provider):
    prices: str = field(default="", metadata={"help": "a CSV file"})

    def realm(self):
        return Realm.RECORDED

    def origin(self):
        return "ahead"

    async def start(self, runtime): ...

    async def instrument(self, symbol):
        return self.batch_instrument(symbol)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        return []

    async def stream(self, wanted, sink): ...

    def batch_instrument(self, symbol):
        return Instrument(symbol=symbol, base="BTC", quote="USDT", tick=Decimal("0.1"), lot=Decimal("0.0001"),
            quantity_min=Decimal("0.0001"), maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0006"))

    def batches(self, wanted, *, seed):
        made = []
        with open(self.prices, newline="") as file:
            for row in csv.DictReader(file):
                open_ns = int(row["time"]) * 10**9
                figures = [float(row[name]) for name in ("open", "high", "low", "close", "volume")]
                made.append(Candle(wanted[0].symbol, open_ns, open_ns + wanted[0].interval_ns, *figures))
        READ.update({candle.open_ns: candle for candle in made})
        return iter([made])

    def source(self):
        return {"file": "ahead"}


@define(kw_only=True)
class Neighbour(Strategy):
    def on_candle(self, candle, view):
        following = READ.get(candle.time_ns)
        held = view.position(candle.symbol).quantity
        if following is not None and following.close > candle.close and not held:
            return [OrderRequest.buy(candle.symbol, Decimal("0.01"))]
        return [OrderRequest.sell(candle.symbol, held, reduce_only=True)] if held else []


@hookimpl
def lab_providers():
    return {"ahead": Ahead}


@hookimpl
def lab_strategies():
    return {"neighbour": Neighbour}
'''


@pytest.fixture
def prices(lab: Any) -> Path:
    """A file of 90 candles."""
    drawn, price, rows = random.Random(7), 30000.0, []
    for number in range(90):
        before, price = price, round(price * (1 + drawn.gauss(0, 0.001)), 1)
        high, low = max(before, price) + 3, min(before, price) - 3
        rows.append(f"{1704067200 + 60 * number},{before:.1f},{high:.1f},{low:.1f},{price:.1f},{number % 7 + 1}")
    file = Path(lab.folder / "prices.csv")
    file.write_text("\n".join(["time,open,high,low,close,volume", *rows, ""]), encoding="utf-8")
    return file


def _proof(lab: Any, site: Any, *args: str) -> tuple[int, dict[str, Any]]:
    """Run the proof as a user does: in a process that has no thread, so that each changed run is a fork of it."""
    result = lab.process("lookahead", "--json", *args, env=lab.see(site))
    assert result.err == "", result.err
    found: dict[str, Any] = result.json()
    return result.code, found


def _convicted(lab: Any, found: dict[str, Any], strategy: str) -> None:
    """Check that each finding is a row of the run, or one that is not there, of a decision before its cut."""
    rows = {number: (kind, body) for number, kind, body in lab.run().rows()}
    assert found["changed"] >= len(found["findings"]) > 0
    for one in found["findings"]:
        assert one["strategy"] == strategy
        assert 0 < one["input"] <= one["cut"]
        assert one["was"] != one["became"]
        assert one["event"].startswith(("candle 2024-01-01T0", "backfill 2024-01-01T0"))
        if one["was"] != "nothing":
            assert one["was"].partition(" ")[0] == rows[one["row"]][0]


@pytest.mark.behaviour("J9")
@pytest.mark.parametrize("name", ["file", "whole"])
def test_a_strategy_that_reads_on_in_the_runs_file_is_convicted(lab: Any, site: Any, prices: Path, name: str) -> None:
    site.install("their_peekers", PEEKERS)
    assert lab("backtest", str(prices), "--strategy", name, "--set", f"{name}.path={prices}").code == 0
    assert lab.run().report()["fills"] > 4
    assert lab("verify").code == 0, "a run that peeks repeats all the same"
    code, found = _proof(lab, site, "--cuts", "5")
    assert (code, found["clean"], found["cuts"], found["futures"]) == (1, False, 5, 20)
    assert found["replaced"] == ["replay.file"]
    assert found["reads"] == []
    _convicted(lab, found, name)


@pytest.mark.behaviour("J9")
def test_a_strategy_that_looks_at_what_its_source_read_ahead_is_convicted(lab: Any, site: Any, prices: Path) -> None:
    site.install("their_shared", SHARED)
    sets = ("--set", f"ahead.prices={prices}")
    assert lab("backtest", "--provider", "ahead", "--strategy", "neighbour", *sets).code == 0
    assert lab.run().report()["fills"] > 4
    code, found = _proof(lab, site, "--cuts", "5")
    assert (code, found["clean"]) == (1, False)
    _convicted(lab, found, "neighbour")


@pytest.mark.behaviour("J9")
def test_a_strategy_that_looks_into_the_memory_of_its_callers_is_convicted(lab: Any, site: Any, prices: Path) -> None:
    site.install("their_peekers", PEEKERS)
    assert lab("backtest", str(prices), "--strategy", "memory").code == 0
    assert lab.run().report()["fills"] > 4
    code, found = _proof(lab, site, "--cuts", "5")
    assert (code, found["clean"]) == (1, False)
    _convicted(lab, found, "memory")
    assert {"ended", "scaled", "mirrored", "shuffled"} & {one["future"] for one in found["findings"]}


@pytest.mark.behaviour("J9")
def test_a_strategy_that_reads_on_in_the_tape_it_is_replayed_from_is_convicted(lab: Any, site: Any) -> None:
    site.install("their_peekers", PEEKERS)
    assert lab.mock("--strategy", "sma", minutes=30).code == 0
    folder = lab.run().folder
    result = lab("backtest", "--set", f"replay.run={folder}", "--strategy", "tape", "--set", f"tape.path={folder}")
    assert result.code == 0, result.err
    assert lab.run().report()["fills"] > 1
    code, found = _proof(lab, site, "--cuts", "4")
    assert (code, found["clean"], found["replaced"]) == (1, False, ["replay.run"])
    _convicted(lab, found, "tape")


@pytest.mark.behaviour("J9")
@pytest.mark.parametrize("name", ["fixed", "child"])
def test_who_opens_the_runs_file_by_a_path_of_its_own_is_named_and_nothing_is_proved(
    lab: Any, site: Any, prices: Path, name: str
) -> None:
    site.install("their_peekers", PEEKERS)
    (site.folder / "where.txt").write_text(str(prices), encoding="utf-8")
    assert lab("backtest", str(prices), "--strategy", name).code == 0
    result = lab.process("lookahead", "--cuts", "3", env=lab.see(site))
    assert result.code == 1
    assert "NOT proved: 0 of " in result.out
    assert f"{name} opened {prices} itself: what it read there could not be changed" in result.out


@pytest.mark.behaviour("J9")
@pytest.mark.parametrize("how", ["link", "folder", "thread"])
def test_who_opens_the_runs_file_by_a_link_from_a_folder_or_in_a_thread_is_seen_too(
    lab: Any, site: Any, prices: Path, how: str
) -> None:
    if how == "folder" and os.open not in os.supports_dir_fd:
        pytest.skip("no files from open folders here")
    site.install("their_peekers", PEEKERS)
    (site.folder / "where.txt").write_text(str(prices), encoding="utf-8")
    prices.with_name("other.csv").symlink_to(prices)
    assert lab("backtest", str(prices), "--strategy", "linked", "--set", f"linked.how={how}").code == 0
    result = lab.process("lookahead", "--cuts", "1", env=lab.see(site))
    assert result.code == 1
    who = "a thread, whose component is not known," if how == "thread" else "linked"
    assert f"{who} opened {prices} itself: what it read there could not be changed" in result.out


@pytest.mark.behaviour("J9")
def test_a_conviction_is_told_with_row_event_strategy_and_what_it_was_and_became(
    lab: Any, site: Any, prices: Path
) -> None:
    site.install("their_peekers", PEEKERS)
    assert lab("backtest", str(prices), "--strategy", "file", "--set", f"file.path={prices}").code == 0
    result = lab.process("lookahead", "--cuts", "12", env=lab.see(site))
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{lab.run().folder.name}: LOOKS AHEAD: ")
    assert lines[0].endswith("decisions changed")
    assert "12 cuts (a sample of 90 decisions, seed 0), 48 changed futures, 90 inputs" in lines[1]
    assert lines[2] == "  changed: the stream of inputs, replay.file"
    first = next(line for line in lines if line.startswith("  row "))
    assert ", strategy file, future " in first
    assert "candle 2024-01-01T0" in first
    assert any(line.startswith(("    was    order_", "    became order_")) for line in lines)
    shown = sum(line.startswith("  row ") for line in lines)
    changed = int(lines[0].split(": ")[2].split(" of ")[0])
    assert (shown, lines[-1].startswith("  ... and ")) == (min(changed, 10), changed > 10)


@pytest.mark.behaviour("J9")
def test_shipped_strategies_do_not_look_ahead_on_candles_ticks_and_a_seeded_path(
    lab: Any, trader: Any, prices: Path
) -> None:
    quick = ("--set", "sma.fast=2", "--set", "sma.slow=4", "--set", "sma.confirmation=1")
    assert lab("backtest", str(prices), "--strategy", "sma", "--strategy", "trader", *quick).code == 0
    assert lab.run().report()["fills"] > 10
    code, found = _proof(lab, trader, "--cuts", "6", "--seed", "3")
    assert (code, found["clean"], found["changed"], found["findings"], found["reads"]) == (0, True, 0, [], [])
    assert (found["cuts"], found["futures"], found["replaced"]) == (6, 24, ["replay.file"])
    assert 0 < found["decisions"] <= found["decisions_of_run"] == 86, "the first four candles are the look-back"

    assert lab("backtest", "btcusdt-ticks", "--strategy", "sma", *quick).code == 0
    code, found = _proof(lab, trader, "--cuts", "4")
    assert (code, found["clean"], found["inputs"]) == (0, True, 87406)
    assert found["replaced"] == []
    (said,) = (text for text in found["unchanged"] if text.startswith("btcusdt-perp-ticks-2024-08-08.csv.gz: "))
    assert "its provider finds it without a path" in said

    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=30", "--strategy", "sma", *quick).code == 0
    assert _proof(lab, trader, "--cuts", "5")[0] == 0


@pytest.mark.behaviour("J9")
def test_a_live_session_and_its_replay_do_not_look_ahead(lab: Any, trader: Any) -> None:
    assert lab.mock("--strategy", "trader").code == 0
    code, found = _proof(lab, trader)
    assert (code, found["clean"], found["changed"], found["replaced"]) == (0, True, 0, [])
    assert found["cuts"] == found["decisions_of_run"] == 19, "ten candles and nine pieces of history; each is cut after"
    assert lab("replay", "latest", "--set", "trader.quantity=0.02").code == 0
    code, found = _proof(lab, trader, "--cuts", "5")
    assert (code, found["clean"], found["replaced"]) == (0, True, ["replay.run"])


@pytest.mark.behaviour("J9")
def test_two_proofs_with_one_seed_are_the_same(lab: Any, site: Any, prices: Path) -> None:
    site.install("their_peekers", PEEKERS)
    assert lab("backtest", str(prices), "--strategy", "whole", "--set", f"whole.path={prices}").code == 0
    first, second, other = (_proof(lab, site, "--cuts", "3", "--seed", seed)[1] for seed in ("4", "4", "5"))
    assert first == second
    assert first["findings"] != other["findings"]


@pytest.mark.behaviour("J9")
def test_a_run_that_does_not_repeat_is_not_proved(lab: Any, trader: Any) -> None:
    assert lab.mock("--strategy", "trader", minutes=6).code == 0
    source = (trader.folder / "their_trader.py").read_text(encoding="utf-8")
    (trader.folder / "their_trader.py").write_text(source.replace("self.quantity", "2 * self.quantity"), "utf-8")
    result = lab.process("lookahead", env=lab.see(trader))
    assert result.code == lab.process("verify", env=lab.see(trader)).code == 1
    assert "nothing is proved: the run does not repeat as it was recorded" in result.out
    assert "cause: code was changed without a new version number" in result.out


@pytest.mark.behaviour("J9")
@pytest.mark.parametrize("damage", ["row", "file", "version", "unknown"])
def test_a_damaged_or_unknown_run_ends_as_verify_ends(lab: Any, trader: Any, damage: str) -> None:
    assert lab.mock("--strategy", "trader", minutes=6).code == 0
    path = lab.run().folder / "journal.db"
    if damage == "file":
        path.write_bytes(b"{broken")
    elif damage != "unknown":
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version=99" if damage == "version" else "DELETE FROM event WHERE seq = 9")
        db.close()
    run = "nothing-like-it" if damage == "unknown" else "latest"
    result, as_verify = (lab.process(command, run, env=lab.see(trader)) for command in ("lookahead", "verify"))
    assert result.code == as_verify.code != 0
    assert "Traceback" not in result.err
    if damage == "row":
        assert "row 9: its hash does not follow" in result.out
    else:
        assert result.err == as_verify.err


@pytest.mark.behaviour("J9")
def test_a_run_that_was_killed_or_still_runs_is_proved_as_far_as_it_was_recorded(lab: Any, trader: Any) -> None:
    assert lab.mock("--strategy", "trader", "--reporter", "none").code == 0
    folder = lab.run().folder
    lab.run().take_the_end_back()
    result = lab.process("lookahead", "--json", "--cuts", "3", env=lab.see(trader))
    found = result.json()
    assert (result.code, found["clean"], found["cuts"]) == (0, True, 3)
    assert result.err == f"lab: {folder.name} was cut off before its end; this is about what it had recorded by then\n"
    with running(folder):
        result = lab.process("lookahead", "--cuts", "2", env=lab.see(trader))
    assert result.code == 0
    assert result.err == (f"lab: {folder.name} is still running; this is about what it had recorded when it was read\n")
