"""Defects planted in the shipped code, and the invariant that a simulated session then violates."""

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import lab.journal.chain
import lab.journal.store
import lab.live.health
import lab.live.runner
import lab.runs.directory
import lab_bitunix.rest
import pytest
from checker_runs import checked
from lab.campaign.plan import Recipe
from lab.campaign.trial import Trial
from lab.domain.events import OrderFilled
from lab.engine.state import EngineState
from lab.feed.pacing import Backoff
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape
from lab.live.health import HealthTeller
from lab.live.inbox import Inbox
from lab.live.runner import Price, Runner
from lab.live.session import Session
from lab.supervision.beats import Beats
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace

Put = Callable[[Any, str, Any], None]
DEFECTS: dict[str, tuple[str, tuple[str, ...], Callable[[Put], None]]] = {}


def recomputed(folder: Path) -> list[str]:
    return [f"I2: {finding}" for finding in checked(folder)[0][:5]]


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial(Recipe({"run.provider": "bitunix", "run.strategies": ["busy"]}), 3.5, more=recomputed)


def caught(trial: Trial, *faults: str, seed: int = 4) -> set[str]:
    """Return what a session violates; that of seed 4 has a secret."""
    return {text.partition(":")[0] for text in trial.run(seed, faults).violations}


def defect(invariant: str, *faults: str) -> Callable[[Callable[[Put], None]], None]:
    """Take a function that plants a defect, and the faults under which the invariant is violated."""

    def add(function: Callable[[Put], None]) -> None:
        DEFECTS[function.__name__.replace("_", " ")] = invariant, faults, function

    return add


# -- money and orders ---------------------------------------------------------------------------------------------


@defect("I1")
def the_state_has_a_cent_more(put: Put) -> None:
    def more(whole: Any) -> Any:
        def made(*args: Any) -> Any:
            state = whole(*args)
            books = {name: replace(book, cash=book.cash + Decimal("0.01")) for name, book in state.books.items()}
            return replace(state, books=books)

        return made

    put(lab.live.runner, "end_state", more)


@defect("I1")
def chance_in_the_broker(put: Put) -> None:
    put(
        PaperBroker,
        "submit",
        lambda whole: lambda self, order, now_ns: whole(self, order, now_ns + int.from_bytes(os.urandom(3))),
    )


@defect("I1", "kill=3@100")
def a_resumed_session_forgets_an_input(put: Put) -> None:
    put(
        RecordedTape,
        "__iter__",
        lambda whole: lambda self: (event for number, event in enumerate(whole(self)) if number != 40),
    )


@defect("I2")
def another_fee(put: Put) -> None:
    import lab_paper_broker.on_quotes as on_quotes

    def dearer(whole: Any) -> Any:
        def made(*args: Any) -> Any:
            fill = whole(*args)
            return replace(fill, fee_rate=fill.fee_rate * 2, fee=fill.fee * 2)

        return made

    put(on_quotes, "take", dearer)


@defect("I1 to I6")
def a_fill_is_written_twice(put: Put) -> None:
    def twice(whole: Any) -> Any:
        def append(self: Any, events: Any, time_ns: int, input_n: int) -> None:
            doubled = [event for event in events for _ in range(2 if type(event) is OrderFilled else 1)]
            whole(self, doubled, time_ns, input_n)

        return append

    put(Journal, "append", twice)


@defect("I1 to I6")
def a_fill_is_written_before_its_order(put: Put) -> None:
    put(
        Journal,
        "append",
        lambda whole: lambda self, events, time_ns, input_n: whole(self, list(events)[::-1], time_ns, input_n),
    )


@defect("I1 to I6")
def a_row_is_lost(put: Put) -> None:
    put(
        Journal,
        "_insert",
        lambda whole: lambda self, rows: whole(self, [row for row in rows if row[0] != 30]),
    )


@defect("I4", "kill=3@100")
def a_commit_is_shown_before_it_is_durable(put: Put) -> None:
    def later(whole: Any) -> Any:
        def commit(self: Any, state: Any = None, *, reporters: Any = None) -> Any:
            if state is None:
                return whole(self, state, reporters=reporters)
            self._chain()
            return ()

        return commit

    put(Journal, "commit", later)


# -- the feed -----------------------------------------------------------------------------------------------------


@defect("I7")
def a_candle_is_not_the_venues(put: Put) -> None:
    def higher(whole: Any) -> Any:
        def read(*args: Any) -> Any:
            candles, bad = whole(*args)
            return [one._replace(high=one.high + 1) for one in candles], bad

        return read

    put(lab_bitunix.rest, "decode_candles", higher)


@defect("I7", "skew=45@31+100")
def an_open_row_counts_as_closed(put: Put) -> None:
    put(lab_bitunix.rest, "_is_open", lambda _: lambda newest, date_ns: False)


@defect("I13", "reset@41", "close_storm@40+50")
def the_feed_connects_without_pause(put: Put) -> None:
    put(Backoff, "wait_s", lambda _: lambda self, now: 0.01)


@defect("I11", "reset@60")
def the_feed_does_not_come_back(put: Put) -> None:
    put(Backoff, "wait_s", lambda _: lambda self, now: 1e6)


@defect("I16", "malformed=0.9@60+20")
def damaged_messages_are_not_mentioned(put: Put) -> None:
    put(Inbox, "malformed", lambda _: lambda self, reason, sample: None)


# -- the session --------------------------------------------------------------------------------------------------


@defect("I8", "silence@60+30")
def entries_while_trading_is_halted(put: Put) -> None:
    put(EngineState, "halt", lambda _: lambda self, reasons, paused: None)


@defect("I8", "silence@60+30")
def a_stale_price_counts_as_fresh(put: Put) -> None:
    put(Runner, "_feed", lambda _: lambda self: Price.FRESH)
    put(Runner, "_quote", lambda _: lambda self, symbol: Price.FRESH)


@defect("I9")
def the_report_is_not_written(put: Put) -> None:
    put(lab.runs.directory, "write_report", lambda _: lambda directory, report: None)


@defect("I10")
def a_task_outlives_the_session(put: Put) -> None:
    def leaving(whole: Any) -> Any:
        async def monitor(self: Any) -> None:
            self.left = asyncio.get_running_loop().create_task(asyncio.sleep(1e6))
            await whole(self)

        return monitor

    put(Runner, "monitor", leaving)


@defect("I12")
def secrets_are_written(put: Put) -> None:
    put(lab.journal.chain, "bytes_without_secrets", lambda _: lambda data: data)
    put(lab.journal.store, "bytes_without_secrets", lambda _: lambda data: data)


@defect("I15", "wall=90@60")
def time_is_taken_from_the_wall_clock(put: Put) -> None:
    put(Session, "elapsed", lambda whole: lambda self: whole(self) + self.clock.wall_ns() / 1e9 - 1.7e9)


@defect("I16", "full@60+20")
def a_full_disk_is_not_mentioned(put: Put) -> None:
    put(Runner, "_hold", lambda _: lambda self, why: None)


@defect("I11")
def the_beats_of_a_session_stop(put: Put) -> None:
    def thrice(_: Any) -> Any:
        async def send(self: Beats, state: Any, sleep: Any) -> None:
            for _ in range(3):
                self.tell(state())
                await sleep(0.5)

        return send

    put(Beats, "send", thrice)


@defect("I16", "silence@60+30")
def health_says_that_a_halted_session_trades(put: Put) -> None:
    put(lab.live.health, "_in_a_word", lambda _: lambda runner: "trading")


@defect("I16", "silence@60+30")
def health_does_not_say_why_trading_is_halted(put: Put) -> None:
    put(lab.live.health, "_reasons", lambda _: lambda runner: ())


@defect("I16", "full@60+20")
def health_is_not_told_any_more(put: Put) -> None:
    put(HealthTeller, "running", lambda _: lambda self, *args: None)


@defect("I11", "kill@20", "eio=2@20")
def a_run_whose_disk_failed_stops_on_its_tape(put: Put) -> None:
    put(Journal, "check", lambda _: lambda self: None)


# -- what is found -----------------------------------------------------------------------------------------------


def test_without_a_defect_the_faults_of_the_others_violate_nothing(trial: Trial) -> None:
    faults = {fault for _, given, _ in DEFECTS.values() for fault in given}
    assert caught(trial, *sorted(faults)) == set()


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_violates_its_invariant(trial: Trial, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    invariant, faults, planted = DEFECTS[name]
    planted(lambda owner, what, made: monkeypatch.setattr(owner, what, made(getattr(owner, what))))
    assert any(invariant in found for found in caught(trial, *faults)), name
