"""What did not go as planned is said with its figures, in lines that are bounded."""

from decimal import Decimal

import pytest
from lab.domain.events import FundingSkipped
from lab.domain.time import MINUTE_NS
from lab.journal.degradations import degradations
from lab.journal.report import empty_state
from lab.journal.store import Journal
from lab.testing.builders import START_NS
from lab.testing.sample_runs import run_started

D = Decimal
HOUR_NS = 60 * MINUTE_NS
NO_RATE = "no rate was fetched"


def skipped(*events: FundingSkipped) -> list[str]:
    started = run_started()
    journal = Journal(None, durable=False, labels={})
    journal.append_record(started, 0, 0)
    journal.append(events, START_NS, 1)
    journal.commit()
    found = degradations(started, empty_state(started), journal.reader(), finished=True)
    return [text for text in found if text.startswith("funding_skipped")]


@pytest.mark.behaviour("O10")
def test_skipped_funding_is_said_by_position_and_reason_with_its_size_and_the_first_time() -> None:
    assert skipped(
        FundingSkipped("a", "BTCUSDT", D("0.50"), START_NS, 1, NO_RATE),
        FundingSkipped("b", "BTCUSDT", D(-2), START_NS + HOUR_NS, 1, NO_RATE),
        FundingSkipped("a", "BTCUSDT", D("0.1"), START_NS + 8 * HOUR_NS, 3, NO_RATE),
        FundingSkipped("a", "BTCUSDT", D("0.1"), START_NS + 32 * HOUR_NS, 1, "another reason"),
    ) == [
        "funding_skipped 4 a: 0.1 to 0.5 BTCUSDT, from 2024-01-01T00:00:00Z on: no rate was fetched",
        "funding_skipped 1 b: -2 BTCUSDT, due at 2024-01-01T01:00:00Z: no rate was fetched",
        "funding_skipped 1 a: 0.1 BTCUSDT, due at 2024-01-02T08:00:00Z: another reason",
    ]


def test_no_funding_skipped_is_no_degradation() -> None:
    assert skipped() == []
