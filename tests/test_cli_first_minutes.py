"""The first minutes: a provider out of reach, a run that only starts, a port in use, a state directory of a file."""

import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lab.cli.main import cli
from lab.cli.progress import offline_command

NOWHERE = ("--set", "bitunix.rest_url=http://127.0.0.1:9", "--set", "bitunix.ws_url=ws://127.0.0.1:9")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def on_terminal(lab: Any, *args: str) -> tuple[int, str]:
    """Run ``lab`` with standard error on a terminal; return exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        lab.command(*args), cwd=lab.folder, env={**lab.environment, "TERM": "xterm", "COLUMNS": "200"},
        stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # Linux says so where the other side is closed
            break
        if not more:
            break
        seen += more
    os.close(ours)
    return process.wait(timeout=30), seen.decode()


# -- a provider that was never reached -------------------------------------------------------------------------------


@pytest.mark.behaviour("S12")
def test_a_provider_never_reached_ends_after_its_time_with_3_the_cause_and_the_command_that_works_offline(
    lab: Any,
) -> None:
    began = time.monotonic()
    result = lab.process("run", "--provider", "bitunix", *NOWHERE, "--minutes", "7", "--start-timeout", "2")
    assert 2 <= time.monotonic() - began < 30, "of which the interpreter takes most on a busy machine"
    assert result.code == 3
    waiting, end, offer, command = result.err.splitlines()
    assert waiting.startswith("lab: waiting for bitunix, ")
    assert "127.0.0.1:9" in waiting
    assert end.startswith("lab: never_warmed: bitunix was not reached within 2 s: 127.0.0.1:9")
    assert offer == "lab: this works without the internet:"
    args = shlex.split(command.removeprefix("uv run "))
    assert args == ["lab", "run", "--provider", "bitunix", *NOWHERE, "--minutes", "7", "--start-timeout", "2",
                    "--set", "bitunix.venue=local"]  # fmt: skip
    report = lab.run().report()
    assert (report["reason"], report["exit_code"]) == ("never_warmed", 3)
    failed_calls = int(report["degradations"][0].removeprefix("instrument_failures "))
    assert report["error_count"] == failed_calls + 1, "each call that failed, and the run"
    assert 2 <= report["duration_seconds"] < 3, "from the first call on"
    assert "instrument_failures" in " ".join(report["degradations"])
    assert "fapi" not in " ".join(report["contacted_hosts"])
    assert lab("audit").code == 0, "nothing was deposited"
    assert lab(*args[1:], "--speed", "max").code == 0, "the command works as it was printed"


@pytest.mark.parametrize(
    ("called", "environment", "begins"),
    [
        ("/x/.venv/bin/lab", {"UV": "/bin/uv", "UV_RUN_RECURSION_DEPTH": "1", "PATH": "{uv}"}, "uv run lab run "),
        ("/x/.venv/bin/lab", {"UV": "/home/me/.cache/pipx/1/bin/uv", "UV_RUN_RECURSION_DEPTH": "1", "PATH": "/none"},
         "pipx run uv run lab run "),
        ("/x/.venv/bin/lab", {"UV": "/opt/my uv/uv", "UV_RUN_RECURSION_DEPTH": "1", "PATH": "/none"},
         "'/opt/my uv/uv' run lab run "),
        ("/x/.venv/bin/lab", {"PATH": "/none"}, "/x/.venv/bin/lab run "),
        ("lab", {"PATH": "/none"}, "lab run "),
    ],
)  # fmt: skip
def test_the_command_that_works_offline_begins_as_this_one_did(
    called: str, environment: dict[str, str], begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [called, "run"])
    found = {name: value.replace("{uv}", str(tmp_path)) for name, value in environment.items()}
    assert offline_command(["run"], "bitunix", {"venue": "local"}, found).startswith(begins)


@pytest.mark.behaviour("S12", "F11")
def test_a_venue_that_never_answers_has_as_many_real_seconds_at_every_speed(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for speed in ("60", "0.5"):
            began = time.monotonic()
            args = ("--set", f"bitunix.rest_url={url}", "--set", "bitunix.ws_url=ws://127.0.0.1:9", "--speed", speed)
            result = lab("run", *args, "--start-timeout", "2", "--reporter", "none")
            assert 2 <= time.monotonic() - began < 3.5, speed
            assert result.code == 3
            assert "not reached within 2 s: bitunix: no answer about BTCUSDT within" in result.err
            assert "instrument_failures 1" in lab.run().report()["degradations"], "its call may take ten real seconds"


@pytest.mark.behaviour("S12")
def test_the_wait_is_one_line_on_a_terminal_that_counts_down_and_is_removed(lab: Any) -> None:
    code, seen = on_terminal(lab, "run", *NOWHERE, "--start-timeout", "3")
    assert code == 3
    waits = [int(left) for left in re.findall(r"\rwaiting for bitunix, (\d+) s left, Ctrl-C ends", seen)]
    assert waits == sorted(waits, reverse=True)
    assert len(set(waits) & {0, 1, 2, 3}) >= 2, "a busy machine skips one"
    line, _, rest = seen.rpartition("\r\x1b[K")
    assert "\n" not in line
    assert rest.startswith("lab: never_warmed")


@pytest.mark.behaviour("S12")
def test_without_a_limit_the_run_waits_until_it_is_stopped(lab: Any) -> None:
    process = subprocess.Popen(
        lab.command("run", *NOWHERE, "--start-timeout", "0"), cwd=lab.folder, env=lab.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("lab: waiting for bitunix, no limit: ")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, len(err.splitlines())) == (0, 1), err
    assert lab.run().report()["reason"] == "stopped"


@pytest.mark.behaviour("S12", "F9")
def test_a_provider_that_is_reached_in_time_trades_and_the_real_venue_is_never_replaced(lab: Any) -> None:
    late = ("--set", "bitunix.venue=local", "--set", "bitunix.faults=rest=500@0+10", "--speed", "max")
    assert lab("run", *late, "--minutes", "5", "--reporter", "none").code == 0
    assert lab.run().report()["candles"] >= 3
    assert lab("run", *late, "--minutes", "5", "--reporter", "none", "--start-timeout", "5").code == 3
    report = lab.run().report()
    assert (report["reason"], report["duration_seconds"] < 10) == ("never_warmed", True)


HANGING = """
    import anyio
    from attrs import define, field
    from lab import hookimpl
    from lab_mock.provider import MockProvider

    @define(kw_only=True)
    class Hanging(MockProvider):
        at: str = field(default="start")

        async def start(self, runtime):
            await super().start(runtime)
            if self.at == "task":
                runtime.tasks.start_soon(self.fail)
                await anyio.sleep(1)
            if self.at == "start":
                await anyio.sleep_forever()

        async def fail(self):
            raise KeyError("no such thing")

        async def instrument(self, symbol):
            if self.at == "instrument":
                await anyio.sleep_forever()
            if self.at == "raises":
                raise KeyError("no such thing")
            return await super().instrument(symbol)

    @hookimpl
    def lab_providers():
        return {"hanging": Hanging}
"""


@pytest.mark.parametrize(
    ("at", "code", "words"),
    [
        ("start", 69, ["provider hanging", "start()", "30 s"]),
        ("instrument", 3, ["hanging was not reached within 30 s", "no answer about BTCUSDT"]),
        ("raises", 69, ["provider hanging failed in instrument: KeyError"]),
        ("task", 69, ["provider hanging failed in one of its tasks: KeyError"]),
    ],
)
def test_a_provider_that_hangs_or_fails_at_its_first_calls_ends_the_run_in_one_named_line(
    lab: Any, site: Any, at: str, code: int, words: list[str]
) -> None:
    site.install("their_hanging", HANGING)
    result = lab("run", "--provider", "hanging", "--set", f"hanging.at={at}", "--speed", "max", "--no-write")
    assert result.code == code, result
    assert ("Traceback" in result.err) == ("failed in" in words[0]), "what it raised has one, what it did not do none"
    last = result.err.splitlines()[-1]
    for word in words:
        assert word in last


# -- a run that only starts ------------------------------------------------------------------------------------------


@pytest.fixture
def starting(lab: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A run that waits for its provider."""
    process = subprocess.Popen(
        lab.command("run", *NOWHERE, "--start-timeout", "0"), cwd=lab.folder, env=lab.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not list(lab.folder.glob("runs/2*/tape-0001.jsonl.zst")) and time.monotonic() < until:
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_a_run_that_waits_for_its_provider_is_listed_as_starting_and_has_no_report_yet(
    lab: Any, one_line: Any, starting: subprocess.Popen[bytes]
) -> None:
    (run,) = lab("runs", "--json").json()["runs"]
    assert (run["status"], run["reason"]) == ("starting", "waiting for its provider")
    for command in (("report",), ("verify",), ("replay", "latest")):
        one_line(lab(*command), 75, run["run_id"], "still starting", "provider")


def test_a_run_that_was_killed_before_it_began_is_said_to_be_cut_off(
    lab: Any, one_line: Any, starting: subprocess.Popen[bytes]
) -> None:
    starting.kill()
    starting.wait()
    assert "cut off before it began" in lab("runs").out
    for command in ("report", "verify"):
        one_line(lab(command), 74, "cut off before it began")


# -- ports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["probe", "run"])
def test_a_port_in_use_is_one_line_that_names_it_and_the_cure(lab: Any, taken: int, command: str) -> None:
    result = lab(command, "--set", "bitunix.venue=local", "--set", f"bitunix.port={taken}")
    assert result.code == (1 if command == "probe" else 78)
    said = result.out.splitlines()[-1] if command == "probe" else result.err
    assert f"Address already in use (port {taken}; --set bitunix.port=0" in said
    assert "Traceback" not in result.err
    assert "FAILED" in said or said.startswith("lab: bitunix")


def test_the_local_venue_as_a_server_says_in_one_line_that_its_port_is_in_use_with_the_code_of_a_run(
    lab: Any, one_line: Any, taken: int
) -> None:
    for speed in ("1", "60"):
        result = lab.process("bitunix-venue", "--port", str(taken), "--speed", speed)
        one_line(result, 78, f"port {taken}", "Address already in use", "--port 0")


def test_the_command_that_the_local_venue_prints_works_at_its_speed(lab: Any) -> None:
    process = subprocess.Popen(
        lab.command("bitunix-venue", "--port", "0", "--speed", "20"), cwd=lab.folder, text=True,
        env={**lab.environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        command = shlex.split("".join(lines[3:]).replace("\\\n", ""))
        assert command[:2] == ["lab", "run"]
        assert command[-2:] == ["--speed", "20"]  # at 60 a busy machine's 80 ms are five seconds of the venue
        done = lab.process(*command[1:], "--minutes", "4", "--reporter", "none")
        assert done.code == 0, done
        assert lab.run().report()["candles"] >= 3
        # Its clock began earlier than the session's, and runs as fast: its first stamps wait until they agree.
        reasons = [body[2]["reason"] for _, _, body in lab.run().rows("notice") if body[1] == "malformed"]
        assert all("agrees with no other stamp" in reason for reason in reasons), reasons
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)


# -- one state directory for every command ---------------------------------------------------------------------------


def test_every_command_finds_the_state_directory_of_the_configuration_file_and_of_the_environment(
    lab: Any, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    (lab.folder / "my.toml").write_text(f"[run]\nstate_dir = '{place}'\n", encoding="utf-8")
    config, variable = ("--config", "my.toml"), {"LAB_RUN_STATE_DIR": str(place)}
    assert lab.mock(*config, "--reporter", "none", minutes=2).code == 0
    for command in (("runs",), ("report",), ("verify",), ("replay", "latest")):
        assert lab(*command, *config).code == 0, command
        assert lab(*command, env=variable).code == 0, command
    listed = lab("runs", *config, "--json").json()["runs"]
    assert len(listed) == 3
    assert lab("runs", *config, "--state-dir", "other").out.startswith("no runs in other/runs"), "the flag counts more"
    env = {"LAB_RUN_STATE_DIR": str(tmp_path / "none")}
    assert "no runs in" in lab("runs", *config, env=env).out, "the environment counts more than the file"


@pytest.mark.behaviour("S6")
def test_doctor_checks_the_state_directory_of_the_configuration_file(lab: Any) -> None:
    (lab.folder / "my.toml").write_text("[run]\nstate_dir = '/proc/nope'\n", encoding="utf-8")
    for given in ({"config": True}, {"env": {"LAB_RUN_STATE_DIR": "/proc/nope"}}):
        args = ("--config", "my.toml") if given.get("config") else ()
        result = lab("doctor", "--provider", "mock", *args, "--json", env=given.get("env"))  # type: ignore[arg-type]
        checks = {check["name"]: check for check in result.json()["checks"]}
        assert (result.code, checks["state directory"]["ok"]) == (1, False)
        assert "--state-dir" in checks["state directory"]["detail"]


def test_a_configuration_file_that_is_not_used_gets_a_note_of_one_line(lab: Any) -> None:
    (lab.folder / "lab.toml").write_text("[run]\nstate_dir = 'elsewhere'\n", encoding="utf-8")
    note = "lab: lab.toml in this folder is not used; --config lab.toml uses it\n"
    assert lab("runs").err == note
    assert lab.mock("--reporter", "none", minutes=1).err == note
    assert lab("runs", "--config", "lab.toml").err == ""


def test_doctor_says_of_a_broken_file_that_the_state_directory_is_unknown(lab: Any) -> None:
    (lab.folder / "my.toml").write_text("[run\n", encoding="utf-8")
    result = lab("doctor", "--config", "my.toml", "--json")
    checks = {check["name"]: check["ok"] for check in result.json()["checks"]}
    assert (result.code, checks["configuration"], checks["state directory"]) == (1, False, None)


# -- the command group -----------------------------------------------------------------------------------------------


def test_lab_alone_prints_its_help(lab: Any) -> None:
    result = lab()
    assert (result.code, result.err) == (0, "")
    assert result.out == lab("--help").out


def test_the_command_group_can_be_called_from_python_whatever_the_process_was_called_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["notebook"])
    result = CliRunner().invoke(cli, ["plugins"])
    assert result.exit_code == 0
    assert "provider" in result.output
