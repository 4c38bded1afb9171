"""The final report: a pure function of the journal, as plain data with money as decimal text."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from lab.domain.ledger import ZERO
from lab.domain.market import UNCONFIRMED
from lab.domain.time import SECOND_NS, format_time
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.store import JournalReader

REPORT_SCHEMA_VERSION: Final = 1
_STEPS_AND_FEES: Final = ("tick", "lot", "quantity_min", "maker_fee_rate", "taker_fee_rate")


def plain(amount: Decimal | str | None) -> str | None:
    """Return money as decimal text without exponent and without trailing zeros behind the point."""
    if amount is None:
        return None
    text = format(Decimal(amount), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"", "-0"} else text


def described_instrument(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return what people are told of an instrument: its steps, its fees as fractions, and where the steps come from."""
    steps = {name: plain(raw[name]) or "" for name in _STEPS_AND_FEES}
    return {"symbol": raw["symbol"], **steps, "origin": raw.get("origin", "")}


def build_report(reader: JournalReader) -> dict[str, Any]:
    """Return the report of a journal, finished or not. A run without its end is ``failed``, reason ``unfinished``.

    Raises `lab.journal.store.JournalError` where the journal cannot be read or holds no run.
    """
    try:
        return _build(reader)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration) as error:
        raise JournalError(f"{reader.name}: not the journal of a run: {type(error).__name__}: {error}") from None


def _build(reader: JournalReader) -> dict[str, Any]:
    labels = reader.labels()
    started = reader.run_started()
    ended = next((body for _, _, body in reader.bodies("run_ended")), None)
    end: Mapping[str, Any] = ended or reader.state("run") or {}
    totals: Mapping[str, Any] = end.get("totals", {})
    session: Mapping[str, Any] = end.get("session", {})
    starting = Decimal(started["equity"]) * len(started["strategies"])
    equity = Decimal(end.get("equity", starting))
    code = ended["reason"] if ended else "unfinished"
    reason = next((r for r in EndReason if r.code == code), EndReason.UNKNOWN)
    traded = next(reader.bodies("order_filled"), None) is not None
    instrument = started["instruments"].get(started["symbol"])
    report: dict[str, Any] = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "kind": started["kind"],
        "run_id": labels.get("run_id", ""),
        "status": reason.status if ended else "failed",
        "reason": code,
        "exit_code": reason.exit_code,
        "error": ended["error"] if ended else "the run has no end in its journal",
        "error_count": int(session.get("errors", 0)) + (1 if reason.status == "failed" else 0),
        "started": labels.get("started", ""),
        "duration_seconds": session.get("duration_seconds", 0.0),
        "provider": started["provider"]["type"],
        "venue": started["venue"],
        "realm": started["realm"],
        "strategy": ", ".join(entry["name"] for entry in started["strategies"]),
        "symbol": started["symbol"],
        "interval": started["interval"],
        "instrument": described_instrument(instrument) if instrument is not None else {},
        **{name: int(totals.get(name, 0)) for name in ("candles", "backfilled", "quotes", "decisions", "signals")},
        **{name: int(totals.get(name, 0)) for name in ("orders", "fills", "trades", "refusals")},
        **{name: int(totals.get(name, 0)) for name in ("cancelled", "expired", "rejected")},
        "starting_equity": plain(starting),
        "ending_equity": plain(equity),
        "pnl_absolute": plain(equity - starting),
        "pnl_percent": plain(((equity - starting) / starting * 100).quantize(Decimal("0.0001"))),
        "fees_paid": plain(totals.get("fees_paid", "0")),
        "max_drawdown": plain(totals.get("max_drawdown", "0")),
        "books": end.get("books", {}),
        "limits": session.get("limits", {}),
        "fee_rates": session.get("fees", {}),
        "gates": [entry["name"] for entry in started["gates"]],
        "degradations": _degradations(started, totals, session, reader, ended is not None),
        "counters": session.get("counters", {}),
        "contacted_hosts": session.get("contacted_hosts", []),
        "first_event": _stamp(reader, "ASC"),
        "last_event": _stamp(reader, "DESC"),
        "no_trade_reason": None if traded else _why_no_trade(started, totals, session, reader),
    }
    return report


def _stamp(reader: JournalReader, order: Literal["ASC", "DESC"]) -> str | None:
    for time_ns in reader.times(order):
        return format_time(time_ns) if time_ns > SECOND_NS else None
    return None


def _degradations(
    started: Mapping[str, Any],
    totals: Mapping[str, Any],
    session: Mapping[str, Any],
    reader: JournalReader,
    finished: bool,
) -> list[str]:
    """Everything that was less than it should have been, each with its figures."""
    found = list(session.get("degradations", []))
    if not finished:
        found.append("unfinished: the journal holds no end of the run")
    lost = started.get("carried_loss", {}).get("lost", "0")
    if Decimal(lost):
        found.append(f"restarted: the day had lost {plain(lost)} before")
    if not started["gates"]:
        found.append("no_risk_gates: none were configured")
    found.extend(
        f"strategy_stopped {body['strategy']}: {body['error']}" for _, _, body in reader.bodies("strategy_stopped")
    )
    unconfirmed = sum(body[-1] == UNCONFIRMED for _, _, body in reader.bodies("candle"))
    if unconfirmed:
        found.append(f"unconfirmed_candles {unconfirmed}")
    notes = started["source"].get("notes", "").splitlines()
    found.extend(notes)
    names = ["gaps", "ignored_candles", "late_quotes", "expired"]
    if any(note.startswith("gaps ") for note in notes):  # the source says more of them
        names.remove("gaps")
    found.extend(f"{name} {totals[name]}" for name in names if int(totals.get(name, 0)))
    return found


def _why_no_trade(
    started: Mapping[str, Any], totals: Mapping[str, Any], session: Mapping[str, Any], reader: JournalReader
) -> str:
    """Say plainly why nothing was traded: the last thing that stood in the way."""
    if started["no_orders"]:
        return f"orders were switched off (no_orders); {totals.get('signals', 0)} signals were recorded"
    if not int(totals.get("decisions", 0)):
        if not int(totals.get("candles", 0)):
            why = "none closed" if int(totals.get("quotes", 0)) else "no market data came"
        else:
            shut = [reasons for _, _, (_, reasons) in reader.bodies("trading_state") if reasons]
            seen = int(totals["candles"]) + int(totals.get("backfilled", 0))
            warming = f"it needs {started['lookback']} candles before it decides and {seen} came"
            why = session.get("warm") or ("; ".join(shut[-1]) if shut else warming)
        return f"the strategy never decided on a live candle: {why}"
    for name, text in (
        ("refusals", "every order was refused"),
        ("expired", "every order expired"),
        ("rejected", "the broker rejected every order"),
        ("cancelled", "every order was cancelled before it filled"),
    ):
        if int(totals.get(name, 0)):
            return f"{text}: {_last_reason(reader, name)}"
    if int(totals.get("signals", 0)):
        whys = {body["why"] for _, _, body in reader.bodies("signal")} - {"backfilled"}
        if whys:
            return f"signals came while trading was not allowed: {max(whys)}"
    if int(totals.get("orders", 0)):
        return "orders were placed and none filled"
    return f"the strategy asked for nothing on {totals.get('decisions', 0)} candles"


def _last_reason(reader: JournalReader, name: str) -> str:
    kind = "order_refused" if name == "refusals" else "order_ended"
    last = ""
    for _, _, body in reader.bodies(kind):
        last = f"{body['reason']} ({body['by']})" if kind == "order_refused" else body["reason"]
    return last


def end_state(engine: Any, session: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an engine has come to, as the body that ``run_ended`` and the ``run`` state carry."""
    books = {}
    for strategy in engine.strategies:
        strategy.book.ledger.check_balance()
        positions = {
            symbol: {
                "quantity": plain(held.quantity),
                "cost": plain(held.cost),
                "mark": plain(engine.valuation.mark(symbol, held.quantity)),
            }
            for symbol, held in strategy.book.ledger.positions.items()
            if held.quantity
        }
        books[strategy.name] = {
            "cash": plain(strategy.book.ledger.cash),
            "equity": plain(engine.valuation.book_equity(strategy.book)),
            "balances": {
                account: plain(amount) for account, amount in strategy.book.ledger.balances.items() if amount != ZERO
            },
            "positions": positions,
            "stopped": strategy.failed,
        }
    worth = engine.valuation
    return {
        "totals": engine.counters,
        "equity": plain(worth.equity()),
        "day_starting_equity": plain(worth.day_starting_equity),
        "books": books,
        "session": dict(session),
    }
