"""No secret comes out anywhere, in any form, however it came in: every byte that a run writes is looked at."""

import base64
import copy
import html
import json
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from lab import Secret
from lab.journal.tape import read_tape
from lab.secret import bytes_without_secrets, without_secrets

CANARIES: Final = (
    "canary-7f3a9c51-1d2e",
    "Kd8fJ2mQpZ0xVb4nT6wYhR3sLcA9eGuI",
    "a1b2c3d4-e5f6-4711-8abc-def012345678",
    "ZmFrZS1zZWNyZXQtdmFsdWU=",
    "p@ss w0rd/with?odd&chars=1",
    'quote"back\\slash',
    "schlüssel-äöü-秘密",
    "sk_live_51H8xyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdef",
)

LEAKY = '''
"""Components that have a secret and show it wherever they can, in every form."""
import base64
import logging
import sys
import warnings
from decimal import Decimal

from attrs import define, field
from lab import PASS, OrderRequest, Refuse, RiskGate, Secret, Strategy, hookimpl
from lab_mock.provider import MockProvider

def forms(key):
    data = key.encode()
    in_base64 = [base64.b64encode(before + data).decode() for before in (b"", b"user:")]
    return [key, repr(key), *in_base64, data.hex(), key[::-1]]

@define(kw_only=True)
class Leaky(Strategy):
    """Trades, and says its key with everything."""
    lookback = 0
    key: Secret = field(metadata={"help": "the key"})
    dies: bool = field(default=False, metadata={"help": "raises with the key"})
    seen: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        key = self.key.reveal()
        self.seen += 1
        text = forms(key)[self.seen % 6]
        print("stdout", text)
        print("stderr", text, file=sys.stderr)
        warnings.warn(f"warned {text}", stacklevel=1)
        logging.getLogger("leaky").error("logged %s", text)
        if self.dies and self.seen == 8:
            raise ValueError(f"https://user:{key}@host/?apikey={key}", {"Authorization": f"Bearer {key}"})
        held = view.position(candle.symbol).quantity
        if held:
            return [OrderRequest.sell(candle.symbol, held, reduce_only=True, reason=text)]
        return [OrderRequest.buy(candle.symbol, Decimal("0.01"), reason=text)]

@define(kw_only=True)
class Telling(RiskGate):
    key: Secret = field(metadata={"help": "the key"})
    asked: int = field(init=False, default=0)

    def review(self, request, view):
        self.asked += 1
        return Refuse(forms(self.key.reveal())[self.asked % 6]) if self.asked % 3 == 0 else PASS

    def limits(self):
        return {"key": self.key.reveal()}

@define(kw_only=True, eq=False)
class Speaking(MockProvider):
    """The mock, with a key that is in every notice."""
    key: Secret | None = field(default=None, metadata={"help": "the key"})

    def origin(self):
        return f"speaking {self.key.reveal()}"

    async def stream(self, wanted, sink):
        key = self.key.reveal()
        for text in forms(key):
            sink.malformed(f"a frame with {text}", f'{{"key":"{text}"}}')
            sink.feed("live" and __import__("lab").FeedState.CONNECTING, f"wss://user:{text}@host/?apikey={text}")
        await super().stream(wanted, sink)

@hookimpl
def lab_strategies():
    return {"leaky": Leaky}

@hookimpl
def lab_risk_gates():
    return {"telling": Telling}

@hookimpl
def lab_providers():
    return {"speaking": Speaking}
'''

RUN: Final = (
    "run", "--provider", "speaking", "--strategy", "leaky", "--gate", "telling", "--speed", "max", "--minutes", "20",
    "--reporter", "terminal", "--reporter", "jsonl", "--reporter", "html", "--latency-ms", "0",
)  # fmt: skip


@pytest.fixture
def leaky(lab: Any, site: Any) -> None:
    site.install("their_leaky", LEAKY)
    lab.environment.update(lab.see(site))


def given(canary: str) -> dict[str, str]:
    return {f"LAB_{name}_KEY": canary for name in ("LEAKY", "TELLING", "SPEAKING")}


def forms(canary: str) -> set[bytes]:
    data = canary.encode()
    texts = {
        canary,
        canary[::-1],
        json.dumps(canary)[1:-1],
        html.escape(canary),
        quote(canary, safe=""),
        repr(canary)[1:-1],
        json.dumps(repr(canary)[1:-1])[1:-1],
        json.dumps(json.dumps(canary)[1:-1])[1:-1],
    }
    for before in (b"", b"u:", b"user:", b"x"):
        encoded = base64.b64encode(before + data).decode().rstrip("=")
        texts.add(encoded[-(-len(before) * 8 // 6) : -1])
    return {text.encode() for text in texts} | {data.hex().encode(), data.hex().upper().encode()}


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return every byte below a folder: files as they are, tables and tapes as they read."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path)] = path.read_bytes()
            if path.name == "journal.db":
                db = sqlite3.connect(path)
                found[f"{path} dump"] = "\n".join(db.iterdump()).encode()
                db.close()
    for path in folder.glob("runs/*/"):
        if (path / "tape-0001.jsonl.zst").is_file():
            found[f"{path} tape"] = repr(list(read_tape(path))).encode()
    return found


def leaks(canary: str, outputs: dict[str, bytes]) -> list[str]:
    return [f"{form!r} in {where}" for where, data in outputs.items() for form in forms(canary) if form in data]


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("dies", ["false", "true"])
def test_a_secret_that_components_show_everywhere_comes_out_nowhere(
    lab: Any, leaky: None, canary: str, dies: str
) -> None:
    outputs = {}
    verbose = ("--verbose", "--log-file", "lab.log")
    shown = lab.process(*RUN, *verbose, "--set", f"leaky.dies={dies}", env=given(canary))
    assert shown.code == (69 if dies == "true" else 0), shown.err
    outputs["stdout"], outputs["stderr"] = shown.out.encode(), shown.err.encode()
    assert "stdout ***" in shown.out
    assert "warned ***" in shown.err
    assert "logged ***" in shown.err
    for command in (("report",), ("report", "--json"), ("audit",), ("config", *RUN[1:7])):
        result = lab(*command, env=given(canary))
        outputs[" ".join(command)] = (result.out + result.err).encode()
    outputs |= bytes_of(lab.folder)
    assert leaks(canary, outputs) == []
    assert b"***" in outputs["report --json"]
    run = lab.run()
    assert run.rows("order_accepted")
    assert all(body["order_id"] not in ("", "***") for _, _, body in run.rows("order_accepted"))
    assert run.report()["run_id"] == run.folder.name


@pytest.mark.behaviour("X1")
def test_a_secret_is_given_by_the_environment_or_a_private_file_and_by_nothing_else(
    lab: Any, leaky: None, one_line: Any
) -> None:
    canary = CANARIES[0]
    result = lab(*RUN, "--set", f"leaky.key={canary}")
    one_line(result, 78, "leaky.key is a secret", "LAB_LEAKY_KEY", "mode 600")
    assert canary not in result.err
    file = lab.folder / "lab.toml"
    file.write_text("".join(f'[{name}]\nkey = "{canary}"\n' for name in ("leaky", "telling", "speaking")), "utf-8")
    file.chmod(0o644)
    one_line(lab(*RUN, "--config", "lab.toml"), 78, "others can read it", "chmod 600 lab.toml")
    file.chmod(0o600)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert lab.process(*RUN, "--config", "lab.toml").code == 0
    file.unlink()
    short = lab(*RUN, env=given("abc"))
    one_line(short, 78, "key = ***", "8 to 4096 characters")
    one_line(lab(*RUN), 78, "key")


@pytest.mark.behaviour("X1")
def test_the_variable_of_a_secret_is_gone_once_it_is_read(lab: Any, leaky: None) -> None:
    left = "print('LEFT', [name for name in os.environ if 'KEY' in name])"
    script = f"import os\nfrom lab.cli import main\ntry: main()\nfinally: {left}"
    done = subprocess.run(
        [sys.executable, "-c", script, *RUN], cwd=lab.folder, env={**lab.environment, **given(CANARIES[0])},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "LEFT []" in done.stdout, done


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("canary", CANARIES)
def test_a_secret_shows_itself_only_when_it_is_asked_to(canary: str) -> None:
    secret = Secret(canary)
    assert secret.reveal() == canary
    assert {str(secret), repr(secret), f"{secret}", f"{secret:s}", "%s" % secret} == {"***"}  # noqa: UP031
    assert f"{secret:>5}" == "  ***"
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret
    assert (secret == Secret(canary), secret == Secret("another secret"), secret == canary) == (True, False, False)
    assert hash(secret) == hash(Secret("another secret"))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    for form in forms(canary):
        assert form not in bytes_without_secrets(b"before " + form + b" after"), form
    for text in ("2024-01-01T00:00:00Z", "e5952d20-sma-BTCUSDT-c1723161240000000000-entry/stop", "9f" * 32):
        assert without_secrets(text) == text


def test_texts_of_wrong_lengths_are_no_secrets() -> None:
    for text in ("", "1234567", "x" * 4097):
        with pytest.raises(ValueError, match="8 to 4096 characters"):
            Secret(text)
    assert Secret("***").reveal() == "***"
    assert os.environ.get("LAB_LEAKY_KEY") is None


QUIET: Final = """
from attrs import define, field
from lab import Secret, Strategy, hookimpl

@define(kw_only=True)
class Quiet(Strategy):
    key: Secret | None = field(default=None, metadata={"help": "the key"})

    def on_candle(self, candle, view):
        return []

@hookimpl
def lab_strategies():
    return {"quiet": Quiet}
"""


def test_a_run_with_a_secret_that_was_not_given_is_proved(lab: Any, site: Any) -> None:
    site.install("their_quiet", QUIET)
    assert lab.mock("--strategy", "quiet", "--reporter", "none", minutes=2).code == 0
    assert lab("verify").code == 0
