"""Each rule of the reporter contract catches the mistake it is there for."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field
from contract_checks import assert_breaks, unkept
from lab import Record, Reporter, RunInfo
from lab.testing import ReporterContract, sample_run


@define(kw_only=True)
class Counts(Reporter):
    """Writes how many rows of each kind there were: nothing is wrong with it."""

    name: str = field(default="counts.txt", metadata={"help": "file in the run's directory"})

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        counts: dict[str, int] = {}
        async for record in records:
            counts[record.kind] = counts.get(record.kind, 0) + 1
        if not run.quiet:
            print(counts)
        if run.directory is not None:
            (run.directory / self.name).write_text(str(counts))


@define(kw_only=True)
class NoHelp(Counts):
    window: int = 3


@define(kw_only=True)
class StopsEarly(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            if record.kind == "order_filled":
                return


@define(kw_only=True)
class NeverReturns(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for _ in records:
            pass
        await anyio.sleep_forever()


@define(kw_only=True)
class Trusts(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            if record.kind == "order_filled":
                record.data()["fill"]["price"].strip()


@define(kw_only=True)
class TrustsFigures(Counts):
    """Survives what is no JSON, not what is no number."""

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            if record.kind == "order_filled":
                try:
                    data = record.data()
                except ValueError:
                    continue
                if isinstance(data, dict) and "fill" in data:
                    float(data["fill"]["price"])


@define(kw_only=True)
class KnowsAllKinds(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        known = {record.kind for record in sample_run().records}
        async for record in records:
            if record.kind not in known:
                raise KeyError(record.kind)


@define(kw_only=True)
class NeedsARow(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        rows = [record async for record in records]
        print(rows[0])


@define(kw_only=True)
class WritesBeside(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        if run.directory is not None:
            (run.directory.parent / "latest.txt").write_text("x")


@define(kw_only=True)
class WritesAnyway(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        Path(self.name).write_text("x")


@define(kw_only=True)
class TidiesUp(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        if run.directory is not None:
            (run.directory / "journal.db").unlink()


@define(kw_only=True)
class SwallowsCancellation(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        try:
            await Counts.report(self, run, records)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1.2)
            raise


@define(kw_only=True)
class Chatters(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            print(record.kind)


@define(kw_only=True)
class GoesOn(Counts):
    """Swallows every cancellation."""

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        until = time.monotonic() + 4
        while time.monotonic() < until:
            with contextlib.suppress(BaseException):
                await anyio.sleep(0.1)


@define(kw_only=True)
class Blocks(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        time.sleep(4)


@define(kw_only=True)
class Exits(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        raise KeyboardInterrupt("mine")


@define(kw_only=True)
class OverwritesReport(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        if run.directory is not None:
            (run.directory / "final_report.json").write_text("mine")


@define(kw_only=True)
class ChangesRecords(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        async for record in records:
            object.__setattr__(record, "body", b"HACKED")


@define(kw_only=True)
class Moves(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        os.chdir("/")


@define(kw_only=True)
class SetsVariables(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        os.environ["TZ"] = "Asia/Tokyo"


@define(kw_only=True)
class LeavesThreads(Counts):
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        await Counts.report(self, run, records)
        threading.Thread(target=time.sleep, args=(0.5,), name="mine", daemon=True).start()


BROKEN: list[tuple[str, Any, str]] = [
    ("R1", NoHelp, "setting 'window' has no help text"),
    ("R2", StopsEarly, "it took "),
    ("R2", NeverReturns, "it was not done 0.2 s after the last row"),
    ("R2", GoesOn, "it was not done 0.2 s after the last row, and went on after it was cancelled"),
    ("R2", Blocks, "it was not done 0.2 s after the last row, and went on after it was cancelled"),
    ("R2", Exits, "it raised KeyboardInterrupt('mine')"),
    ("R2", ChangesRecords, "AttributeError was raised"),
    ("R3", Trusts, "(kind: order_filled)"),
    ("R3", TrustsFigures, "(kind: order_filled)"),
    ("R4", KnowsAllKinds, "KeyError was raised at test_contract_reporter.py:"),
    ("R5", NeedsARow, "(0 rows)"),
    ("R6", WritesBeside, "latest.txt"),
    ("R7", WritesAnyway, "without a directory it wrote counts.txt"),
    ("R8", TidiesUp, "it changed journal.db"),
    ("R8", OverwritesReport, "it changed final_report.json"),
    ("R9", SwallowsCancellation, "s after it was cancelled"),
    ("R9", GoesOn, "it went on after it was cancelled"),
    ("R10", Chatters, "it printed 'run_started"),
    ("R11", Moves, "it changed the working folder to /"),
    ("R11", SetsVariables, "it changed the environment: TZ"),
    ("R11", LeavesThreads, "it left threads running: mine"),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sound_reporter_keeps_every_rule() -> None:
    assert unkept(ReporterContract, Counts) == []


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_reporter_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    hasty = type("Hasty", (ReporterContract,), {"patience_s": 0.2 if broken in (NeverReturns, GoesOn, Blocks) else 5.0})
    assert_breaks(hasty, broken, number, said)


def test_every_rule_has_a_reporter_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(ReporterContract.rules()) - {"C1"}


def test_the_recorded_run_has_every_kind_that_matters() -> None:
    run = sample_run()
    kinds = {record.kind for record in run.records}
    assert kinds >= {
        "run_started", "deposit", "candle", "quote", "funding", "trading_state", "symbol_state", "notice",
        "gap", "signal", "order_accepted",
        "order_refused", "order_filled", "order_ended", "command", "run_ended",
    }  # fmt: skip
    assert [record.seq for record in run.records] == list(range(1, len(run.records) + 1))
    assert run.report.fills == sum(record.kind == "order_filled" for record in run.records)
    assert sample_run().records == run.records
