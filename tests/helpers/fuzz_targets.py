"""What is fuzzed: each target takes bytes, and raises what it raises only where lab has a defect.

The samples are real ones. Two drivers share the targets: the tests in ``tests/fuzz``, and ``tools/fuzz.py``.
"""

import atexit
import gzip
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from lab.domain.instrument import check_instrument
from lab.domain.live_guard import LiveGuard
from lab.domain.market import (
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
from lab.domain.time import MINUTE_NS, format_time
from lab.errors import ConfigError, JournalError, ProviderError
from lab.journal.audit import audit
from lab.journal.codec import ROW_KINDS, decode_as, encode, read_tape_line, tape_line
from lab.journal.report import build_report
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter, read_tape
from lab.plugins.settings import Layers
from lab.ports import Record
from lab.testing import candles, instrument
from lab.testing.sample_runs import run_started, sample_run
from lab_bitunix import rows, wire
from lab_recordings import RecordingError, infer_interval, read_candles, read_ticks, recording
from lab_replay.funding_file import FundingFile

SAMPLES: Final = Path(__file__).parents[2] / "plugins/bitunix/tests/samples"
MESSAGE_MOST: Final = 1000
"""Characters of the longest message: nothing that came from outside is repeated at length."""
_CHECKS: Final[dict[type, Callable[[Any], str | None]]] = {
    Candle: check_candle, Quote: check_quote, Trade: check_trade, Depth: check_depth,
}  # fmt: skip
_TEMPORARY: Final = tempfile.TemporaryDirectory(prefix="lab-fuzz-", ignore_cleanup_errors=True)
atexit.register(_TEMPORARY.cleanup)
_BTC: Final = instrument("BTCUSDT")


@frozen
class Target:
    """One decoder or reader."""

    take: Callable[[bytes], object]
    samples: Callable[[], Sequence[bytes]]


def _short(error: object) -> None:
    assert len(str(error)) <= MESSAGE_MOST, f"a message of {len(str(error))} characters: {str(error)[:200]}"


def _sound(made: object) -> None:
    if isinstance(made, str):
        _short(made)
    else:
        problem = _CHECKS[type(made)](made)
        assert problem is None, problem


@cache
def _in(folder: str) -> Path:
    """Return a folder of this process for files that are fuzzed; it is removed at the end."""
    path = Path(_TEMPORARY.name) / folder
    path.mkdir()
    return path


# -- what the venue sends ----------------------------------------------------------------------------------------------


def frame(data: bytes) -> None:
    """A frame of the socket: decoded, made an event, and judged."""
    found = wire.decode_frame(data)
    made: list[object] = []
    if isinstance(found, wire.DepthFrame):
        made = [wire.quote_of(found), wire.depth_of(found)]
    elif isinstance(found, wire.TradeFrame):
        trades = wire.trades_of(found)
        made = [trades] if isinstance(trades, str) else [*trades]
    elif isinstance(found, wire.KlineFrame):
        made = [wire.candle_of(found, MINUTE_NS)]
    elif isinstance(found, wire.Control):
        made = [wire.refusal(found) or ""]
    elif isinstance(found, wire.Malformed):
        made = [found.reason]
    guard = LiveGuard(["BTCUSDT"], MINUTE_NS, monotonic=lambda: 1.0, wall_ns=lambda: 1_790_126_515_000_000_000)
    for one in made:
        _sound(one)
        if isinstance(one, Candle | Quote | Trade | Depth):
            for reason, _ in guard.judge(one, 1.0).held_out:
                _short(reason)


def _frames() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.glob("ws-*.json"))]


def rest(data: bytes) -> None:
    """A body of REST: the envelope, and what is in it as each of the replies that are asked for."""
    try:
        envelope = rows.decode_envelope(data)
    except rows.BAD_JSON as error:
        _short(error)
        return
    body = bytes(envelope.data)
    _rows(body)
    known = rows.with_tiers(_BTC, body)
    assert check_instrument(known) is None
    _short(known.origin)
    try:
        funding = rows.decode_funding(body, "BTCUSDT", 1_790_126_515_000_000_000)
        assert -0.5 < funding.rate < 0.5
        assert 0 < funding.mark < 1e15
        assert funding.next_ns > 0
    except rows.BAD_JSON as error:
        _short(error)


def _rows(body: bytes) -> None:
    try:
        good, bad = rows.decode_candles(body, "BTCUSDT", MINUTE_NS)
        for candle in good:
            _sound(candle)
        for reason, _ in bad:
            _short(reason)
        for pair in rows.decode_pairs(body):
            try:
                found = rows.instrument_of(pair, 0)
            except ProviderError as error:
                _short(error)
            else:
                _short(found.origin)
    except rows.BAD_JSON as error:
        _short(error)


def _bodies() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.glob("rest-*.json"))]


# -- tape and journal --------------------------------------------------------------------------------------------------


def line(data: bytes) -> None:
    """A line of a tape. What can be read is written as a line that reads the same."""
    try:
        event = read_tape_line(data)
    except ValueError as error:
        _short(error)
        return
    again = tape_line(event)
    assert tape_line(read_tape_line(again)) == again


@cache
def _lines() -> list[bytes]:
    made = [tape_line(event) for event in candles([100.0, 101.0])]
    bodies = {row.kind: row.body for row in sample_run().records}
    made += [
        b'["%s",%s]\n' % (kind.encode(), bodies[kind])
        for kind in ("trading_state", "symbol_state", "notice", "command")
        if kind in bodies
    ]
    made += map(tape_line, (
        Quote("BTCUSDT", 5, 1.0, 2.0, 3.0, 4.0), Funding("BTCUSDT", 5, 0.1, 6, 7.0),
        Depth("BTCUSDT", 5, ((1.0, 2.0), (0.5, 3.0)), ((1.5, 2.0),)),
    ))  # fmt: skip
    return made


def body(data: bytes) -> None:
    """The body of a row, as each kind there is."""
    for cls in ROW_KINDS:
        try:
            event = decode_as(cls, data)
        except ValueError as error:
            _short(error)
        else:
            again = encode(event)
            assert encode(decode_as(cls, again)) == again


def journal(data: bytes) -> None:
    """A row of a journal whose chain is whole, reported and audited: the row's kind in a line, then its body."""
    kind, _, changed = data.partition(b"\n")
    try:
        text, _ = changed.decode(), kind.decode()
    except UnicodeDecodeError:
        return
    made = Journal(None, durable=False, labels={"run_id": "fuzzed"})
    for row in _rows_of_run():
        replaced = row.kind == kind.decode()
        kind = b"" if replaced else kind  # the first one of its kind
        made.append_raw(row.kind, None, text.encode() if replaced else row.body, row.time_ns, row.seq)
    made.commit()
    try:
        report = build_report(made.reader())
        for amount in (report.ending_equity, report.pnl_absolute, report.fees_paid):
            assert len(f"{amount:f}") < MESSAGE_MOST
        _short(report.error)
        for finding in audit(made.reader()).findings:
            _short(finding)
    except JournalError as error:
        _short(error)
    finally:
        made.close()


@cache
def _rows_of_run() -> Sequence[Record]:
    return sample_run().records


@cache
def _row_texts() -> list[bytes]:
    return [*{row.kind: row.kind.encode() + b"\n" + row.body for row in _rows_of_run()}.values()]


@cache
def _row_bodies() -> list[bytes]:
    return [encode(run_started()), *{row.kind: row.body for row in sample_run().records}.values()]


def tape(data: bytes) -> None:
    """The file of a tape, torn or not."""
    folder = _in("tape")
    (folder / "tape-0001.jsonl.zst").write_bytes(data)
    for torn_ok in (True, False):
        try:
            for _ in read_tape(folder, torn_ok=torn_ok):
                pass
        except JournalError as error:
            _short(error)


@cache
def _tapes() -> list[bytes]:
    made = []
    for count in (3, 400):
        folder = _in(f"tape-{count}")
        writer = TapeWriter(folder)
        for number, candle in enumerate(candles([100.0] * count)):
            writer.add(candle)
            if number % 100 == 1:
                writer.flush()
        writer.close()
        made.append((folder / "tape-0001.jsonl.zst").read_bytes())
    return made


# -- files of users ----------------------------------------------------------------------------------------------------


def prices(data: bytes) -> None:
    """A file of candles or ticks."""
    path = _in("prices") / "prices.csv"
    path.write_bytes(data)
    try:
        read: list[Any] = [one for batch in read_candles(path, "BTCUSDT", infer_interval(path)) for one in batch]
    except (RecordingError, ProviderError) as error:
        _short(error)
    else:
        assert all(check_candle(one) is None for one in read)
        assert all(earlier.open_ns < later.open_ns for earlier, later in pairwise(read))
    try:
        read = [one for batch in read_ticks(path) for one in batch]
    except RecordingError as error:
        _short(error)
    else:
        assert all(check_quote(one) is None for one in read if isinstance(one, Quote))
        assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(read))


@cache
def _prices() -> list[bytes]:
    heads = []
    for name in ("btcusd-1m", "btcusdt-ticks"):
        with gzip.open(recording(name).path) as file:
            heads.append(b"".join(islice(file, 60)))
    dates = b"date,open,high,low,close\n" + b"".join(
        b"%s,1,3,1,2\n" % format_time(MINUTE_NS * n).encode() for n in range(20)
    )
    quoted = b'"time","open","high","low","close"\r\n"60","1","2","1","1"\r\n120,1,2,1,1\r\n'
    return [*heads, dates, quoted, gzip.compress(heads[0], mtime=0)]


def rates(data: bytes) -> None:
    """A file of funding rates."""
    path = _in("rates") / "rates.csv"
    path.write_bytes(data)
    try:
        found = FundingFile(path).rates
    except RecordingError as error:
        _short(error)
    else:
        assert all(earlier[0] < later[0] for earlier, later in pairwise(found))


def _rates() -> list[bytes]:
    return [b"time,rate\n2024-01-01,0.0001\n2024-01-01T08:00,-0.0002\n", b"time,rate,mark\r\n1700000000,1e-4,30000\r\n"]


def settings(data: bytes) -> None:
    """A file of settings."""
    path = _in("settings") / "lab.toml"
    path.write_bytes(data)
    try:
        Layers().add_file(path, ("symbol", "minutes"))
    except ConfigError as error:
        _short(error)


_TOML: Final = (
    '[run]\nsymbol = "BTCUSDT"\nminutes = 10.5\nstrategies = ["a = sma", "sma"]\n[sma]\nfast = 5\nslow = 0x1F\n',
    '[a.b]\nc = {d = [1, 2, {e = 1979-05-27T07:32:00Z}]}\n"q\\u00e9" = inf\nequity = 1e4\ndir = """\nruns"""\n',
    "[[paper]]\nlatency_ms = -0\nnan = nan\n# comment\nt = true\n",
)


def _settings() -> list[bytes]:
    return [text.encode() for text in _TOML]


TARGETS: Final[dict[str, Target]] = {
    "frame": Target(frame, _frames),
    "rest": Target(rest, _bodies),
    "line": Target(line, _lines),
    "body": Target(body, _row_bodies),
    "journal": Target(journal, _row_texts),
    "tape": Target(tape, _tapes),
    "prices": Target(prices, _prices),
    "rates": Target(rates, _rates),
    "settings": Target(settings, _settings),
}
