"""The provider's probe and settings, and what it says of itself."""

from pathlib import Path
from typing import Any

import lab_bitunix
import pytest
from fake_venue import MINUTE, FakeVenue, answering, in_virtual_time, started
from lab.errors import ConfigError
from lab.plugins.settings import Layers, build
from lab.ports import Provider, Realm
from lab_bitunix.provider import Bitunix


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return in_virtual_time()


@pytest.mark.behaviour("F14")
async def test_the_probe_checks_candles_stream_clock_and_prices_without_a_key() -> None:
    async with started(FakeVenue(start_s=1)) as provider:
        checks = {check.name: check for check in await provider.probe(MINUTE[0])}
    assert [name for name, check in checks.items() if check.ok is not True and "clock" not in name] == []
    assert {"candles", "candle order", "candle age", "depth", "trades", "prices", "stream", "round trip",
            "clock by HTTP Date", "clock by frames", "input"} == set(checks)  # fmt: skip
    assert checks["depth"].detail == "5 bids from 60000.1 down, 5 asks from 60000.2 up"
    assert checks["trades"].detail == "buy 0.25 at 60000.2"


@pytest.mark.behaviour("F14")
async def test_a_probe_of_a_dead_venue_says_so_in_rows() -> None:
    async with started(FakeVenue(handshake_status=502, rest=answering(502, b""))) as provider:
        checks = {check.name: check for check in await provider.probe(MINUTE[0])}
    assert {name for name, check in checks.items() if check.ok is False} == {"candles", "round trip", "stream"}
    assert (checks["depth"].ok, checks["depth"].detail) == (None, "no levels came")
    assert "HTTP 502" in checks["stream"].detail


@pytest.mark.behaviour("F14")
async def test_a_probe_says_when_quotes_flow_without_levels_and_trades_and_asks_for_none_that_nobody_wants() -> None:
    async with started(FakeVenue(start_s=1, muted={"depth_book5", "trade"})) as provider:
        checks = {check.name: check for check in await provider.probe(MINUTE[0])}
    assert checks["stream"].ok is True
    assert (checks["depth"].ok, checks["depth"].detail) == (
        None, "no levels came; a run goes on without, and --set bitunix.depth=0 asks for none",
    )  # fmt: skip
    assert (checks["trades"].ok, checks["trades"].detail) == (
        None, "none came; they come when somebody trades, and a run goes on without",
    )  # fmt: skip
    async with started(FakeVenue(start_s=1), depth=0, trades=False) as provider:
        assert not {"depth", "trades"} & {check.name for check in await provider.probe(MINUTE[0])}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"venue": "moon"}, "^venue = 'moon': expected live or local$"),
        ({"vip": 9}, "'vip' must be <= 8: 9"),
        ({"renew_hours": 0.01}, "^renew_hours = 0.01: expected 0.1 to 168 hours, or 0$"),
        ({"renew_hours": 200}, "expected 0.1 to 168 hours"),
        ({"renew_hours": float("nan")}, "expected 0.1 to 168 hours"),
        ({"depth": 10}, r"'depth' must be in \(0, 1, 5, 15\) \(got 10\)"),
        ({"ws_url": "https://x/"}, r"ws_url = 'https://x/': expected wss://host"),
        ({"rest_url": "https://x:99999999"}, "rest_url = 'https://x:99999999': expected https://host"),
        ({"port": -1}, "'port' must be >= 0: -1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Bitunix(**settings)


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize(
    "url",
    [
        "https://me:canary@x",
        "https://canary@x",
        "https://x/?key=canary",
        "https://x/#canary",
        "me:canary@x",
        r"http:\\me:canary@x",
        "http://127.0.0.1:9:canary/",
        "http://h:99999canary/",
        "http://[canary]/",
    ],
)
@pytest.mark.parametrize("key", ["rest_url", "ws_url"])
def test_an_address_with_a_secret_in_it_is_refused_and_not_shown(key: str, url: str) -> None:
    layers = Layers()
    layers.add_set(f"bitunix.{key}={url}")
    with pytest.raises(ConfigError, match=f"^--set: bitunix: {key}: expected .*, without a user name, pass") as told:
        build("bitunix", Bitunix, layers)
    assert "canary" not in str(told.value)


@pytest.mark.parametrize("url", ["https://x/~me/a%20b", "https://x:8443/c:d=e+f", "https://[::1]:9"])
def test_an_address_whose_path_is_not_plain_is_an_address(url: str) -> None:
    assert Bitunix(rest_url=url).rest_url == url


def test_a_wrong_venue_is_named_by_the_key_that_was_written() -> None:
    layers = Layers()
    layers.add_set("bitunix.venue=moon")
    with pytest.raises(ConfigError, match=r"^--set: bitunix.venue = 'moon': expected live \| local$"):
        build("bitunix", Bitunix, layers)


def test_the_realm_is_real_unless_a_recording_is_played() -> None:
    assert Bitunix().realm() is Realm.REAL
    assert Bitunix(venue="local").realm() is Realm.RECORDED
    assert issubclass(Bitunix, Provider)
    assert Bitunix().origin() == "fapi.bitunix.com"


@pytest.mark.behaviour("X2")
def test_the_package_reads_no_key_and_has_no_way_to_an_order_endpoint() -> None:
    files = sorted(Path(lab_bitunix.__file__).parent.rglob("*.py"))
    assert len(files) > 8
    words = ("/trade/", "place_order", "placeorder", "api-key", "api_key", "apikey", "secret", "environ", "getenv",
             "/private", '"sign', "hashlib", "hmac", ".post(", '"post"', "/account", "/position/")  # fmt: skip
    found = [f"{path.name}: {word}" for path in files for word in words if word in path.read_text().lower()]
    assert found == []
