"""Two rows that should be alike are told by what differs in them."""

from typing import Any

import msgspec
import pytest
from lab.backtesting.row_text import row_text, short
from lab.domain.time import MINUTE_NS
from lab.journal.chain import Row
from lab.testing.builders import START_NS


def row(body: Any, *, minute: int = 1, kind: str = "order_filled", key: str | None = "fill:1") -> Row:
    return 7, START_NS + minute * MINUTE_NS, 3, kind, key, msgspec.json.encode(body), b""


PLACE = "order_filled at 2024-01-01T00:01:00Z on input 3"


@pytest.mark.parametrize(
    ("body", "other", "said"),
    [
        ({"side": "buy", "price": "1"}, {"side": "sell", "price": "1"}, ": side buy"),
        ({"fill": {"price": "1", "fee": "2"}}, {"fill": {"price": "1", "fee": "3"}}, ": fill.fee 2"),
        ({"a": None, "b": ""}, {"a": 1, "b": "x"}, ': a null, b ""'),
        ({"postings": [["cash", "1"]]}, {"postings": []}, ': postings [["cash","1"]]'),
        ({"side": "buy"}, {"side": "buy", "age": 1}, ": no age"),
        ([1], [2], ": it [1]"),
        ({"reason": "x" * 300}, {"reason": "y"}, f": reason {'x' * 100}..."),
        (
            {f"f{n}": n for n in range(14)},
            {},
            f": {', '.join(f'f{n} {n}' for n in range(12))}, 2 more that differ",
        ),
    ],
)
def test_of_two_rows_of_one_kind_the_fields_that_differ_are_shown(body: Any, other: Any, said: str) -> None:
    assert row_text(row(body), row(other)) == PLACE + said


def test_a_row_alone_or_beside_one_of_another_kind_is_shown_whole_as_far_as_it_fits() -> None:
    long = {"reason": "x" * 400}
    whole = short(msgspec.json.encode(long).decode(), 300)
    assert row_text(row(long)) == row_text(row(long), row(long, kind="order_ended")) == f"{PLACE}: {whole}"
    assert len(whole) == 303


def test_rows_that_differ_in_their_place_or_key_alone_show_that() -> None:
    assert row_text(row({}), row({}, minute=2)) == PLACE
    assert row_text(row({}), row({}, key=None)) == f"{PLACE}: key fill:1"
