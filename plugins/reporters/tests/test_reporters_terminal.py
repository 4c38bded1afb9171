"""The terminal reporter: live view and plain lines."""

import io
import logging
import re
from decimal import Decimal
from types import SimpleNamespace

import anyio
import pytest
from attrs import evolve
from lab.domain.control import Notice, TradingState
from lab.domain.orders import Side
from lab_reporters import lab_reporters
from lab_reporters.terminal import Terminal
from lab_reporters.text import price
from msgspec.structs import replace


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def put_out(monkeypatch, stream):
    """Stand in for standard output. Not `sys.stdout` itself: pytest puts its own there before each test's call."""
    monkeypatch.setattr("lab_reporters.terminal.sys", SimpleNamespace(stdout=stream))


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Screen()
    put_out(monkeypatch, stream)
    return stream


@pytest.fixture
def pipe(monkeypatch):
    stream = io.StringIO()
    put_out(monkeypatch, stream)
    return stream


def unstyled(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_hook_offers_the_three_reporters():
    assert set(lab_reporters()) == {"terminal", "jsonl", "html"}


@pytest.mark.behaviour("V3")
async def test_plain_lines_tell_set_up_events_and_outcome(rows, run, drive, pipe):
    rows.everything()
    await drive(Terminal(), run.info(), rows.rows)
    said = pipe.getvalue()
    assert "\x1b" not in said
    for part in (
        "bitunix, fapi.bitunix.com",
        "BTCUSDT, 1m",
        "10,000.00",
        "maker 0.02 %, taker 0.06 %",
        "max_daily_loss: limit 500 USD",
        "margin: no figures given",
        "fill    buy 0.01 BTCUSDT @ 43,010.5, fee 0.26 taker, position 0.01 [sma]",
        "end     order expired BTCUSDT, 0.01 left: time in force over [o3]",
        "refusal max_daily_loss refused buy 0.01 BTCUSDT: daily loss reached (loss 501.20 USD, limit 500 USD)",
        "trading halted: no quote yet; seed_incomplete 37/100",
        "trading open",
        "feed    the feed is live: first quote",
        "stop    strategy sma stopped: ZeroDivisionError: division by zero",
        "stop    max_daily_loss halts the entries of sma for the rest of the run: the day's loss reached the limit",
        "Status        completed (exit code 0)",
        "Duration      10:00",
        "P&L           +12.34 (+0.12 %)",
        "Max drawdown  3.10",
    ):
        assert part in said


@pytest.mark.behaviour("V3")
async def test_a_run_without_gates_says_so_aloud(rows, run, drive, pipe):
    run.header = replace(run.header, gates=(), limits={})
    await drive(Terminal(), run.info(), rows.rows)
    assert "no risk gates configured" in pipe.getvalue()


async def test_a_run_without_trades_says_why(rows, run, drive, pipe):
    run.report = replace(run.report, fills=0, trades=0, no_trade_reason="fast never crossed slow")
    await drive(Terminal(), run.info(), rows.rows)
    assert "No trade      fast never crossed slow" in pipe.getvalue()


@pytest.mark.behaviour("O16", "V1")
@pytest.mark.parametrize(
    ("amended", "refused", "said"),
    [(3, 0, "Amended       3"), (1_200, 2, "Amended       1,200, 2 amendments refused"), (0, 0, "")],
)
async def test_amendments_are_counted_where_there_were_any(run, drive, pipe, amended, refused, said):
    run.report = replace(run.report, amended=amended, amendments_refused=refused)
    await drive(Terminal(), run.info(), [])
    found = [line.strip() for line in pipe.getvalue().splitlines() if "Amended" in line]
    assert found == ([said] if said else [])


async def test_refusals_show_one_line_a_second_and_count_the_rest(rows, run, drive, pipe):
    for _ in range(50):
        rows.refusal()
    await drive(Terminal(), run.info(), rows.rows)
    said = pipe.getvalue()
    assert said.count("refused buy") == 1
    assert "not shown (too many at once; the journal has them): refusals 49\n" in said


async def test_many_fills_at_once_are_counted_after_the_sixtieth(rows, run, drive, pipe):
    for minute in range(200):
        rows.fill(minute, Side.BUY, "43000", "1")
    await drive(Terminal(), run.info(), rows.rows)
    assert pipe.getvalue().count("Z fill ") == 60
    assert "not shown (too many at once; the journal has them): fills 140\n" in pipe.getvalue()


async def test_the_header_says_where_the_instruments_steps_come_from(run, drive, pipe):
    await drive(Terminal(), run.info(), [])
    assert "Instrument  tick 0.1, lot 0.0001, smallest quantity 0.0001\n" in pipe.getvalue()
    traded = evolve(run.header.instrument, origin="tick 0.1 (set), lot 0.0001 (set)\n\x1b[2J")
    run.header = replace(run.header, instrument=traded)
    await drive(Terminal(), run.info(), [])
    assert "Instrument  tick 0.1 (set), lot 0.0001 (set) \N{REPLACEMENT CHARACTER}[2J\n" in pipe.getvalue()


@pytest.mark.parametrize(
    ("topic", "detail", "sentence"),
    [
        ("feed", {"state": "down", "detail": ""}, "the feed is down"),
        ("warm-up", {"state": "done", "candles": "64", "needed": "32"},
         "history for the warm-up is there: 64 candles, 32 needed"),
        ("backfill", {"state": "missing", "candles": "3", "first_ns": str(1_800_000_000 * 10**9)},
         "candles stay missing: 3, the first of 2027-01-15T08:00:00Z"),
        ("malformed", {"reason": "no price", "sample": "{}", "number": "7"},
         "malformed input, number 7: no price; it begins {}"),
        ("theirs", {"state": "odd", "why": "nobody knows"}, "theirs: state odd, why nobody knows"),
        ("warm-up", {"state": "done"}, "warm-up: state done"),
    ],
)  # fmt: skip
async def test_a_notice_is_a_sentence(rows, run, drive, pipe, topic, detail, sentence):
    rows.add("notice", Notice(1, topic, detail))
    await drive(Terminal(), run.info(), rows.rows)
    assert f" {sentence}\n" in pipe.getvalue()


@pytest.mark.parametrize(
    ("exact", "shown"), [(0.0000214, "0.0000214"), (43210.5, "43,210.5"), (2e10, "20,000,000,000")]
)
def test_a_price_is_written_out_however_small_or_large_it_is(exact, shown):
    assert price(exact) == shown


async def test_each_degradation_has_a_line_of_its_own(run, drive, pipe):
    run.report = replace(run.report, degradations=("feed_down 2", "gaps 3: one, two"))
    await drive(Terminal(), run.info(), [])
    assert "  Degradations  feed_down 2\n                gaps 3: one, two\n" in pipe.getvalue()


async def test_plain_mode_asks_for_the_status_once_an_interval_and_not_between(rows, run, drive, pipe):
    reporter = Terminal(status_s=1.0)
    await drive(reporter, run.info(), [1.5])
    assert run.asked == 1
    assert "status: 7:11 left | price 43,210.5 | equity 10,012.34 | P&L +12.34 (+0.12 %)" in pipe.getvalue()
    assert "position 0.01 BTCUSDT @ 43,100.25 | feed live | not trading: seed_incomplete 37/100" in pipe.getvalue()


@pytest.mark.behaviour("V3")
async def test_live_view_fits_sixty_columns_and_shows_the_run(rows, run, drive, screen):
    rows.everything()
    await drive(Terminal(refresh_s=0.25), run.info(), [*rows.rows, 0.6])
    said = unstyled(screen.getvalue())
    for part in ("Time left", "Price", "43,210.5", "Position", "Equity", "10,012.34", "+12.34", "Feed", "live"):
        assert part in said
    assert "no: seed_incomplete 37/100" in said
    assert "kill by session: duration over" in said
    assert "completed (exit code 0)" in said
    assert max(len(line) for line in said.replace("\r", "\n").split("\n")) <= 60


async def test_live_view_is_not_drawn_again_while_nothing_changes(run, drive, screen):
    frozen = run.status()
    run.status = lambda: frozen
    await drive(Terminal(), run.info(), [1.1])
    assert unstyled(screen.getvalue()).count("Time left") <= 2  # once, and once while it is wiped


async def test_the_live_view_says_that_the_run_is_stopping_once_it_was_told_to(rows, run, drive, screen):
    rows.everything()  # a kill command is the last but one
    before, command = rows.rows[:-2], rows.rows[-2:]
    await drive(Terminal(refresh_s=5.0), run.info(), [*before, 0.3])
    assert "stopping" not in unstyled(screen.getvalue())
    await drive(Terminal(refresh_s=5.0), run.info(), [*before, 0.3, *command, 0.3])
    assert "Time left stopping…" in unstyled(screen.getvalue()), "at once, not after refresh_s"


async def test_json_mode_writes_nothing(rows, run, drive, pipe, capsys):
    rows.everything()
    await drive(Terminal(), run.info(quiet=True), rows.rows)
    assert pipe.getvalue() == ""
    assert capsys.readouterr().err == ""


@pytest.mark.behaviour("V6")
@pytest.mark.parametrize("where", ["pipe", "screen"])
async def test_malformed_rows_leave_debug_lines_and_the_view_goes_on(rows, run, drive, request, caplog, where):
    stream = request.getfixturevalue(where)
    rows.everything()
    rows.malformed()
    rows.add("notice", Notice(1, "feed", {"state": "still here"}))
    with caplog.at_level(logging.DEBUG, "lab.reporters"):
        await drive(Terminal(refresh_s=0.25), run.info(), [*rows.rows, 0.3])
    assert "still here" in stream.getvalue()
    lines = [record for record in caplog.records if record.message.startswith("malformed record")]
    assert len(lines) > 80
    assert {record.levelno for record in lines} == {logging.DEBUG}


async def test_control_characters_never_reach_the_terminal(rows, run, drive, pipe):
    rows.add("trading_state", TradingState(1, ("\x1b[2J\x07evil\u202egnitset\nnext",)))
    await drive(Terminal(), run.info(), rows.rows)
    assert not re.search("[\x1b\x07\u202e]", pipe.getvalue())
    assert "evil" in pipe.getvalue()


async def test_a_reader_that_leaves_does_not_end_the_reporter(rows, run, drive, monkeypatch):
    class Gone(Screen):
        def write(self, said: str) -> int:
            raise BrokenPipeError

    rows.everything()
    for live in (True, False):
        put_out(monkeypatch, Gone())
        await drive(Terminal(live=live), run.info(), rows.rows)


async def test_a_poor_encoding_gets_question_marks(rows, run, drive, monkeypatch):
    raw = io.BytesIO()
    put_out(monkeypatch, io.TextIOWrapper(raw, "ascii"))
    rows.add("trading_state", TradingState(1, ("größer",)))
    await drive(Terminal(), run.info(), rows.rows)
    assert b"gr??er" in raw.getvalue()


async def test_figures_that_are_no_numbers_are_shown_as_they_are(rows, run, drive, pipe):
    run.equity = Decimal("NaN")
    run.report = replace(run.report, fills=1234, trades=617)
    await drive(Terminal(status_s=1.0), run.info(), [1.2])
    assert "equity NaN" in pipe.getvalue()
    assert "Fills         1,234\n" in pipe.getvalue()
    assert "Trades        617\n" in pipe.getvalue()


def test_a_wrong_setting_is_named():
    with pytest.raises(ValueError, match="refresh_s"):
        Terminal(refresh_s=0.01)


async def test_cancelling_wipes_the_live_view_and_shows_the_cursor(run, drive, screen):
    with anyio.move_on_after(0.4):
        await drive(Terminal(), run.info(), [60.0])
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l") > 0


async def test_what_is_said_before_the_first_data_has_no_time(rows, run, drive, pipe):
    rows.add("trading_state", TradingState(0, ("no quote yet",)), time_ns=0)
    await drive(Terminal(), run.info(), rows.rows)
    assert "–                    trading halted: no quote yet" in pipe.getvalue()
