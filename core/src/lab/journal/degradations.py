"""What did not go as planned in a run, from its journal."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lab.domain.events import EntriesHalted, FundingSkipped, GateFailed, Liquidated, StrategyStopped
from lab.domain.time import format_time
from lab.journal.reader import JournalReader
from lab.records.base import exact
from lab.records.run import CarriedLoss, RunStarted, RunState

if TYPE_CHECKING:
    from decimal import Decimal


def degradations(started: RunStarted, end: RunState, reader: JournalReader, *, finished: bool) -> tuple[str, ...]:
    """Return the degradations of a run, each with its figures."""
    totals = end.totals
    found = list(end.session.degradations)
    if not finished:
        found.append("unfinished: the journal holds no end of the run")
    if wrong := reader.damage():
        found.append(f"damaged: {wrong}; the figures are those of the rows that are there")
    if started.carried_loss.lost:
        found.append(_carried(started.carried_loss, reader.labels()))
    if started.gate_memory:
        run = reader.labels().get("restarts", "")
        found.append(f"gate_memory {', '.join(started.gate_memory)}: carried over{run and f' from {run}'}")
    if not started.gates:
        found.append("no_risk_gates: none were configured")
    events = reader.gathered(StrategyStopped, EntriesHalted, Liquidated, FundingSkipped, GateFailed)
    found.extend(f"strategy_stopped {event.strategy}: {event.error}" for event in events[StrategyStopped])
    found.extend(f"entries_halted {e.strategy}: {e.gate}: {e.reason}" for e in events[EntriesHalted])
    found.extend(_liquidated(event) for event in events[Liquidated])
    found.extend(_funding_skipped(events[FundingSkipped]))
    found.extend(f"gate_failed {event.gate}: {event.error}" for event in events[GateFailed])
    notes = started.source.get("notes", "").splitlines()
    found.extend(notes)
    counts = {
        "unconfirmed_candles": totals.unconfirmed,
        "gaps": 0 if any(note.startswith("gaps ") for note in notes) else totals.gaps,  # the source says more of them
        "ignored_candles": totals.ignored_candles,
        "late_quotes": totals.late_quotes,
        "expired": totals.expired,
    }
    found.extend(f"{name} {number}" for name, number in counts.items() if number)
    return tuple(found)


def _liquidated(event: Liquidated) -> str:
    what = ", ".join(f"{exact(one.quantity):f} {one.symbol} at {exact(one.mark):f}" for one in event.positions)
    figures = f"margin balance {exact(event.balance):f}, maintenance margin {exact(event.maintenance):f}"
    return f"liquidated {event.strategy} (the {event.scope}): {what or 'no position'}; {figures}"


def _funding_skipped(events: Iterable[FundingSkipped]) -> list[str]:
    """Return a line for each position and reason: how many windows were skipped, and the first of them."""
    found: dict[tuple[str, str, str], tuple[int, int, Decimal, Decimal]] = {}
    for event in events:
        key, held = (event.strategy, event.symbol, event.why), exact(event.quantity)
        times, first_ns, least, most = found.get(key, (0, event.window_ns, held, held))
        found[key] = times + event.windows, first_ns, min(least, held), max(most, held)
    lines = []
    for (strategy, symbol, why), (times, first_ns, least, most) in found.items():
        held_text = f"{least:f}" if least == most else f"{least:f} to {most:f}"
        when = f"due at {format_time(first_ns)}" if times == 1 else f"from {format_time(first_ns)} on"
        lines.append(f"funding_skipped {times} {strategy}: {held_text} {symbol}, {when}: {why}")
    return lines


def _carried(carried: CarriedLoss, labels: Mapping[str, str]) -> str:
    """Return what earlier runs lost on a day, rounded to two digits or two decimals, whichever is more."""
    what, amount = "profit" if carried.lost < 0 else "loss", abs(carried.lost)
    places = max(2, 1 - amount.adjusted())
    day = format_time(carried.day_ns).partition("T")[0]
    run, runs = labels.get("restarts", ""), labels.get("day_runs", "")
    who = f"restarted {run}" if run else "earlier_runs"
    of = f" of {runs} runs" if runs not in ("", "1") else ""
    return f"{who}: a {what}{of} of {amount:.{places}f} on {day} is carried over"
