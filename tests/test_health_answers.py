"""``/health`` and ``/metrics`` by themselves: who is answered, with what, and that no client keeps another waiting."""

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.health import server
from lab.health.answers import answer
from lab.health.board import Board, judged
from lab.health.metrics import METRICS, metrics_text
from lab.health.server import OPEN_MOST, HealthServer
from lab.records.health import Health, HeldPosition
from lab.records.run import Counters, Totals
from msgspec.structs import replace

PORT = 9640
NASTY = 'a "quoted"\\\nvenue é \x1b[31m'
FIRST = Health(
    status="starting", version="0.1.0", provider="mock", strategies=("sma", "other"), symbol="BTCUSDT", interval="1m"
)
HEALTH = replace(
    FIRST,
    status="trading",
    run_id="20240101T000000Z-mock-sma",
    venue=NASTY,
    realm="synthetic",
    currency="USDT",
    feed="live",
    feed_ages={"quote": 0.25, "candle": 61.5},
    price=61800.05,
    equity=Decimal("10000.10"),
    starting_equity=Decimal(10_000),
    positions=(HeldPosition(strategy="sma", symbol="BTCUSDT", quantity=Decimal("-0.25"), price=Decimal(61_000)),),
    seconds_left=12.5,
    errors=3,
    totals=Totals(quotes=7, cancelled=2),
    counters=Counters(inputs=9),
)


def ask(head: str, health: Health = HEALTH) -> tuple[int, dict[str, str], bytes]:
    return parsed(answer(head.replace("\n", "\r\n").encode("latin-1"), PORT, lambda: health))


def parsed(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    headers = dict(field.split(": ", 1) for field in fields)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    return int(first.split()[1]), headers, body


@pytest.mark.behaviour("S13")
def test_several_symbols_have_a_price_and_a_position_each() -> None:
    prices = {"BTCUSDT": 61800.05, "ETHUSDT": None}
    text = metrics_text(replace(HEALTH, symbol="BTCUSDT, ETHUSDT", symbols=tuple(prices), prices=prices))
    assert [line for line in text.splitlines() if line.startswith("lab_price")] == [
        'lab_price{symbol="BTCUSDT"} 61800.05'
    ], "the other has none yet"
    held = dict(re.findall(r'lab_position_quantity{strategy="(\w+",symbol="\w+)"} (.+)', text))
    assert held == {
        'sma",symbol="BTCUSDT': "-0.25", 'sma",symbol="ETHUSDT': "0",
        'other",symbol="BTCUSDT': "0", 'other",symbol="ETHUSDT': "0",
    }  # fmt: skip


# -- who is answered -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("V4")
@pytest.mark.parametrize("host", ["127.0.0.1:9640", "localhost:9640", "LocalHost:9640", "[::1]:9640"])
def test_a_caller_by_a_name_of_loopback_is_answered(host: str) -> None:
    assert ask(f"GET /health HTTP/1.1\nHost: {host}")[0] == 200


@pytest.mark.behaviour("V4")
@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:9640", "127.0.0.1", "127.0.0.1:9641", "localhost", "0.0.0.0:9640", "[::1]",
        "127.0.0.1:9640.evil.example", "localhost:9640@evil.example", "", "127.0.0.1:9640, evil.example",
    ],
)  # fmt: skip
def test_a_caller_by_any_other_name_is_refused(host: str) -> None:
    code, _, body = ask(f"GET /health HTTP/1.1\nHost: {host}")
    assert (code, body) == (403, b"call this server as 127.0.0.1:9640 or localhost:9640\n")


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("GET /health HTTP/1.1", 403),
        ("GET /health HTTP/1.1\nHost: localhost:9640\nHost: localhost:9640", 400),
        ("GET /health?from=here HTTP/1.0\nhost:localhost:9640\nAccept: */*", 200),
        ("GET /metrics HTTP/1.1\nHost: localhost:9640", 200),
        ("GET / HTTP/1.1\nHost: localhost:9640", 404),
        ("GET /health/ HTTP/1.1\nHost: localhost:9640", 404),
        ("GET http://localhost:9640/health HTTP/1.1\nHost: localhost:9640", 404),
        ("HEAD /health HTTP/1.1\nHost: localhost:9640", 405),
        ("POST /health HTTP/1.1\nHost: localhost:9640\nContent-Length: 3", 405),
        ("OPTIONS * HTTP/1.1\nHost: localhost:9640", 405),
        ("GET /health HTTP/2.0\nHost: localhost:9640", 400),
        ("GET  /health HTTP/1.1\nHost: localhost:9640", 400),
        ("GET /health\nHost: localhost:9640", 400),
        ("GET /health HTTP/1.1\n Host: localhost:9640", 400),
        ("GET /health HTTP/1.1\nHost : localhost:9640", 400),
        ("", 400),
    ],
)
def test_what_is_asked_in_another_way_is_refused(head: str, code: int) -> None:
    assert ask(head)[0] == code


@given(st.binary(max_size=200) | st.from_regex(rb"GET /(health|metrics) HTTP/1\.1\r\nHost:.{0,40}", fullmatch=True))
def test_whatever_is_sent_there_is_an_answer_that_repeats_nothing_of_it(head: bytes) -> None:
    code, _, body = parsed(answer(head, PORT, lambda: HEALTH))
    assert code in {200, 400, 403, 404, 405}
    assert code == 200 or body.count(b"\n") == 1


# -- what is answered ------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("V4")
@pytest.mark.parametrize("status", ["starting", "warming", "trading", "stale", "halted", "ending"])
def test_only_a_session_that_trades_is_well(status: Any) -> None:
    code, headers, body = ask("GET /health HTTP/1.1\nHost: localhost:9640", replace(HEALTH, status=status))
    assert code == (200 if status == "trading" else 503)
    assert headers["Content-Type"] == "application/json"
    told = json.loads(body)
    assert (told["status"], told["equity"], told["errors"]) == (status, "10000.10", 3)
    assert told["feed_ages"] == {"quote": 0.25, "candle": 61.5}


def test_a_session_that_is_silent_is_stale_unless_it_starts_or_ends() -> None:
    assert judged(HEALTH, 1.2344).status == "trading"
    assert judged(HEALTH, 1.2344).age_seconds == 1.234
    silent = judged(replace(HEALTH, status="warming", why_not_trading=("warm-up",)), 12.0)
    assert (silent.status, silent.why_not_trading) == (
        "stale", ("the session has been busy or stuck for 12 s", "warm-up"),
    )  # fmt: skip
    assert [judged(replace(HEALTH, status=one), 12.0).status for one in ("starting", "ending")] == [
        "starting",
        "ending",
    ]


def test_a_board_takes_two_posts_a_second_and_tells_their_age() -> None:
    now = 100.0
    told = Board(FIRST, lambda: now)
    assert not told.due
    now = 100.5
    assert told.due
    told.post(HEALTH)
    assert (told.due, told.newest) == (False, HEALTH)
    now = 106.0
    assert (told.read().status, told.read().age_seconds) == ("stale", 5.5)


# -- metrics ---------------------------------------------------------------------------------------------------------

_SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.e+-]+)')


@pytest.mark.behaviour("V4")
def test_every_metric_has_help_type_and_a_name_by_the_conventions() -> None:
    lines = metrics_text(HEALTH).splitlines()
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.name.startswith("lab_") for metric in METRICS)
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in METRICS)
    assert [line.split()[2] for line in lines if line.startswith("# HELP ")] == names
    assert [line.split()[2:] for line in lines if line.startswith("# TYPE ")] == [[m.name, m.kind] for m in METRICS]
    samples = [_SAMPLE.fullmatch(line) for line in lines if not line.startswith("#")]
    assert None not in samples
    found = {sample[1] + (sample[2] or ""): float(sample[3]) for sample in samples if sample is not None}
    assert found['lab_equity{currency="USDT"}'] == 10000.1
    assert found['lab_position_quantity{strategy="sma",symbol="BTCUSDT"}'] == -0.25
    assert found['lab_position_quantity{strategy="other",symbol="BTCUSDT"}'] == 0
    assert (found['lab_status{status="trading"}'], found['lab_status{status="stale"}']) == (1, 0)
    assert (found["lab_quotes_total"], found["lab_errors_total"]) == (7, 3)
    assert found['lab_feed_age_seconds{kind="candle"}'] == 61.5


def test_what_is_not_known_yet_has_no_sample() -> None:
    text = metrics_text(FIRST)
    assert 'lab_status{status="starting"} 1' in text
    assert "lab_equity" not in text
    assert "lab_price" not in text
    assert "lab_feed_age_seconds" not in text


@pytest.mark.behaviour("V4")
@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)")
@pytest.mark.parametrize("health", [FIRST, HEALTH], ids=["first", "trading"])
def test_promtool_finds_nothing_to_say_about_the_metrics(health: Health) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics_text(health).encode(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# -- the server ------------------------------------------------------------------------------------------------------


class Failures(list[BaseException]):
    """Takes what goes wrong in the server's thread."""


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def served(failures: Failures) -> Iterator[HealthServer]:
    one = HealthServer(0, lambda: HEALTH, failures.append)
    one.start()
    yield one
    one.close()
    assert not failures


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def sent(port: int, request: bytes) -> bytes:
    with connected(port) as caller:
        caller.sendall(request)
        return b"".join(iter(lambda: caller.recv(4096), b""))


def get(port: int, path: str = "/health") -> tuple[int, dict[str, str], bytes]:
    return parsed(sent(port, f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()))


@pytest.mark.behaviour("V4")
def test_the_server_listens_on_loopback_alone_and_gives_its_port_back(served: HealthServer) -> None:
    assert get(served.port)[0] == 200
    with pytest.raises(RunError, match=r"choose another port, or 0") as caught:
        HealthServer(served.port, lambda: HEALTH, print)
    assert caught.value.reason is EndReason.CONFIG
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", served.port), timeout=10)
    served.close()
    again = HealthServer(served.port, lambda: HEALTH, print)  # at once, though a connection was closed a moment ago
    again.close()


def test_a_head_of_more_than_eight_kilobytes_is_refused(served: HealthServer) -> None:
    for length, end, status in ((9000, "", 431), (9000, "\r\n\r\n", 431), (8120, "\r\n\r\n", 200)):
        request = f"GET /health HTTP/1.1\r\nHost: localhost:{served.port}\r\nX: {'x' * length}{end}".encode()
        assert parsed(sent(served.port, request))[0] == status
    assert get(served.port)[0] == 200


def test_a_body_is_left_unread(served: HealthServer) -> None:
    request = f"GET /health HTTP/1.1\r\nHost: localhost:{served.port}\r\nContent-Length: 30000\r\n\r\n".encode()
    assert parsed(sent(served.port, request + b"x" * 30_000))[0] == 200


def test_callers_that_send_nothing_keep_nobody_waiting(served: HealthServer) -> None:
    idle = [connected(served.port) for _ in range(OPEN_MOST + 8)]
    began = time.monotonic()
    assert get(served.port)[0] == 200
    assert time.monotonic() - began < 3
    assert sum(one.recv(1) == b"" for one in idle[:4]) == 4  # the oldest gave way
    for one in idle:
        one.close()


def test_a_caller_who_is_slow_is_cut_off(served: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTION_S", 0.1)
    with connected(served.port) as caller:
        caller.sendall(b"GET /hea")
        assert caller.recv(1) == b""


def test_callers_who_leave_in_the_middle_harm_nothing(served: HealthServer) -> None:
    for begun in (b"", b"GET /health HTTP/1.1\r\nHost:", b"\x16\x03\x01\x02\x00"):
        with connected(served.port) as caller:
            caller.sendall(begun)
    assert get(served.port)[0] == 200


def test_a_defect_in_an_answer_is_named_and_the_server_goes_on(failures: Failures) -> None:
    one = HealthServer(0, lambda: HEALTH if failures else replace(HEALTH, errors=1 // 0), failures.append)
    one.start()
    assert get(one.port)[0] == 500
    assert [type(error) for error in failures] == [ZeroDivisionError]
    assert get(one.port)[0] == 200
    one.close()


def test_a_server_can_be_closed_before_it_has_begun() -> None:
    for start in (False, True):
        one = HealthServer(0, lambda: HEALTH, print)
        if start:
            one.start()
        one.close()
        with pytest.raises(ConnectionRefusedError):
            connected(one.port)
