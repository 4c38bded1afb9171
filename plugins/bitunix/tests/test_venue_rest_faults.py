"""Faults of the local venue's REST, by a real client in virtual time: refusals, cuts, holes, revisions."""

import json
from functools import partial

import anyio
import httpx
import pytest
from lab.domain.time import MINUTE_NS
from lab_bitunix.venue import LocalVenue
from venue_client import MINUTE_MS, START_NS, rest, rows, virtually


@pytest.mark.parametrize(
    ("faults", "status", "start"),
    [
        ("rest=429", 429, ""),
        ("rest=500", 500, "<html>"),
        ("rest=403", 403, "<!DOCTYPE html>"),
        ("html", 200, "<!DOCTYPE html>"),
        ("truncated", 200, '{"code":0,"data":[{"open"'),
        ("codes=string", 200, '{"code":"0",'),
        ("error=10006", 200, '{"code":10006,'),
        ("empty", 200, '{"code":0,"data":[],'),
    ],
)
def test_hostile_answers(faults: str, status: int, start: str) -> None:
    response = virtually(partial(rest, path="market/kline?symbol=BTCUSDT&interval=1m&limit=2"), faults)

    assert response.status_code == status
    assert response.text.startswith(start)
    assert (response.headers.get("cf-mitigated") == "challenge") == (status == 403)
    if faults == "truncated":
        with pytest.raises(json.JSONDecodeError):
            response.json()


def test_a_share_of_the_calls_fails_and_the_window_ends() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        statuses = []
        for _ in range(40):
            statuses.append((await rest(venue, "market/funding_rate?symbol=BTCUSDT")).status_code)
            await anyio.sleep(0.3)
        return statuses

    statuses = virtually(check, "rest=500:0.5@0+10")

    assert 5 < statuses.count(500) < 25
    assert set(statuses[-5:]) == {200}


def test_an_answer_is_cut_and_the_next_call_works() -> None:
    async def check(venue: LocalVenue) -> int:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await rest(venue, "market/tickers")
        await anyio.sleep(5)
        return (await rest(venue, "market/tickers")).status_code

    assert virtually(check, "cut@0+3") == 200


def test_slow_answers_take_their_time_even_longer_than_a_handshake_may() -> None:
    async def check(venue: LocalVenue) -> float:
        await rest(venue, "market/tickers")
        return venue.elapsed_s()

    assert 20 <= virtually(check, "slow=20") < 21


def test_rows_are_missing_in_a_hole() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        await anyio.sleep(300)
        found = await rows(venue, "&limit=6")
        return [(START_NS // MINUTE_NS * MINUTE_MS - int(row["time"])) // -MINUTE_MS for row in found]

    assert virtually(check, "hole@30+150") == [5, 4, 0, -1, -2, -3]


def test_volumes_have_the_old_meaning_on_demand() -> None:
    new, old = (virtually(partial(rows, more="&limit=2"), faults)[1] for faults in ("", "volume=old"))

    assert (new["quoteVol"], new["baseVol"]) == (old["baseVol"], old["quoteVol"])
    assert float(new["quoteVol"]) > float(new["baseVol"]) > 0


def test_a_closed_row_is_revised_on_demand() -> None:
    async def check(venue: LocalVenue) -> list[str]:
        seen = []
        for at_s in (42, 50):
            await anyio.sleep(at_s - venue.elapsed_s())
            seen.append((await rows(venue, "&limit=2"))[1]["baseVol"])
        return seen

    first, later = virtually(check, "revise=5")

    assert float(first) < float(later)


def test_optional_fields_can_all_be_missing() -> None:
    answer = virtually(partial(rest, path="market/trading_pairs?symbols=BTCUSDT"), "no_optional=all").json()

    assert answer["data"] == [{"symbol": "BTCUSDT"}]
