"""The page of refusals: each of its messages is what a file is told today, and no refusal of a file is left out."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from candle_files import DAYS, HOURS, READ, Row, ohlcv, table, unix
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS
from lab.errors import ProviderError
from lab.ports import Subscription
from lab_replay.provider import ReplayProvider
from refused_files import REFUSED

HEADER: Final = "time,open,high,low,close,volume"
HOUR_NS: Final = 60 * MINUTE_NS
PAGE: Final = Path(__file__).parent.parent / "docs" / "reference" / "refusals.md"
MESSAGES: Final = re.findall(r"^\| `(.+?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def play(interval_ns: int, **settings: Any) -> None:
    provider = ReplayProvider(keep=False, **settings)
    own_ns = provider.own_interval()
    symbols = [text.partition("=")[0] for text in provider.files] or ["BTCUSDT"]
    list(provider.batches([Subscription(one, interval_ns or own_ns or 0) for one in symbols], seed=0))
    provider.batch_instrument(symbols[0])


def told(interval_ns: int, **settings: Any) -> str:
    """Return what a run over a file is told."""
    with pytest.raises(ProviderError) as raised:
        play(interval_ns, **settings)
    return str(raised.value)


def pattern(message: str) -> re.Pattern[str]:
    return re.compile(".+?".join(map(re.escape, message.split("…"))))


def csv(rows: list[Row], prices: str = "{}") -> bytes:
    return table(rows, [unix(SECOND_NS), *ohlcv(prices)], HEADER)


def of_runs(folder: Path) -> Iterator[str]:
    """Yield what is told of files that are good, where something is wanted that they can't give."""
    for name, content in (
        ("hours.csv", csv(HOURS)), ("days.csv", csv(DAYS)), ("one.csv", csv(HOURS[:1])),
        ("stock.csv", READ["half hours of an exchange"].content),
        ("tiny.csv", csv([Row(row.open_ns, *[1.23456e-9] * 4, 1.0) for row in HOURS], "{:.14f}")),
    ):  # fmt: skip
        (folder / name).write_bytes(content)
    hours, days = str(folder / "hours.csv"), str(folder / "days.csv")
    yield told(0, file=str(folder / "none.csv"))
    yield told(0, file=str(folder / "one.csv"))
    yield told(5 * MINUTE_NS, file=hours)
    yield told(2 * HOUR_NS, file=str(folder / "stock.csv"))
    yield told(30 * DAY_NS, file=hours)
    yield told(0, file=hours, since="2030-01-01", until="2030-02-01")
    yield told(0, file=hours, since="2024-02-01", until="2024-01-01")
    yield told(0, file=hours, tick=Decimal(1000))
    yield told(0, file=str(folder / "tiny.csv"))
    yield told(0, file=hours, warmup=10_000)
    yield told(90 * MINUTE_NS, files=[f"A={hours}", f"B={days}"])


@pytest.fixture(scope="module")
def of_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {}
    for number, (origin, refusal) in enumerate(REFUSED.items()):
        path = tmp_path_factory.mktemp("refused") / f"prices{number}{refusal.suffix}"
        path.write_bytes(refusal.content)
        found[origin] = told(0, file=str(path))
    return found


def test_every_refusal_of_a_file_is_in_the_table(of_files: dict[str, str]) -> None:
    missing = {
        origin: said for origin, said in of_files.items() if not any(pattern(one).search(said) for one in MESSAGES)
    }
    assert not missing


def test_every_message_of_the_table_is_told_today(of_files: dict[str, str], tmp_path: Path) -> None:
    said = [*of_files.values(), *of_runs(tmp_path)]
    assert [one for one in MESSAGES if not any(pattern(one).search(text) for text in said)] == []
    assert len(MESSAGES) > 30
