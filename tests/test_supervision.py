"""``lab run --supervise``: what is killed, frozen or failed starts again, and what was decided does not."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.exit_codes import EndReason
from lab.supervision.life import live
from lab.supervision.notify import ServiceManager
from lab.supervision.supervisor import resumes, without
from steady import RUN, fills, proved, resumptions, session_of, wait_for

SUPERVISE = """
import os
import sys
from lab.supervision.supervisor import Supervisor

def say(text):
    print(text, flush=True)

silence_s, wait_s = float(os.environ.get("SILENCE_S", "3")), float(os.environ.get("WAIT_S", "0.2"))
sys.exit(Supervisor(sys.argv[1:], say, silence_s=silence_s, wait_s=wait_s).run())
"""
"""As the command does it, with shorter waits."""


@pytest.fixture
def supervised(lab: Any, steady: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that supervises a session; whatever is left of it is ended by its id."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, *args], cwd=lab.folder, env={**lab.environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for path in lab.folder.glob("runs/*/running"):
        if path.is_file():
            wait_for(lambda path=path: not session_of(path.parent))


def trading(lab: Any, more_than: int = 0) -> int:
    """Wait until the newest run has more fills than that, and return the id of its process."""
    wait_for(lambda: fills(lab) > more_than)
    return int(wait_for(lambda: session_of(lab.run().folder)))


def ended(process: subprocess.Popen[str], code: int) -> str:
    out, _ = process.communicate(timeout=40)
    assert process.returncode == code, out
    assert "Traceback" not in out.replace(FAILURE, "")
    return out


def lives(lab: Any) -> list[tuple[int, bool]]:
    report = json.loads((lab.run().folder / "supervision.json").read_text(encoding="utf-8"))
    return [(life["exit_code"], life["frozen"]) for life in report["lives"]]


@pytest.mark.behaviour("S4", "S11")
def test_a_session_that_was_killed_goes_on_for_the_time_it_had_left_with_one_report(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "0.15")
    os.kill(trading(lab), signal.SIGKILL)
    out = ended(process, 0)
    assert "killed by SIGKILL; it starts again" in out
    report = lab.run().report()
    assert (report["reason"], resumptions(lab.run())) == ("completed", 1)
    assert 9 <= report["duration_seconds"] < 13
    assert lives(lab) == [(-9, False), (0, False)]
    assert len(list((lab.folder / "runs").glob("2*"))) == 1
    proved(lab)


@pytest.mark.behaviour("S2", "S4")
def test_a_frozen_session_is_noticed_and_trades_again_within_ten_seconds(lab: Any, supervised: Any) -> None:
    began = time.monotonic()
    process = supervised(*RUN[1:], "--minutes", "5")
    first = trading(lab)
    known, frozen_at = fills(lab), time.monotonic()
    os.kill(first, signal.SIGSTOP)
    assert trading(lab, known) != first
    # Three seconds of silence, two for its stacks, and a start: on a busy machine as slow as the first one was.
    assert time.monotonic() - frozen_at < 6 + 2 * (frozen_at - began)
    process.send_signal(signal.SIGTERM)
    assert "it was frozen" in ended(process, 0)
    assert lives(lab)[0][1]
    proved(lab)


BLOCKING = """
    import time
    from attrs import define
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Blocking(Strategy):
        lookback = 0
        def on_candle(self, candle, view):
            return []
        def on_quote(self, quote, view):
            time.sleep(60)

    @hookimpl
    def lab_strategies():
        return {"blocking": Blocking}
"""


@pytest.mark.behaviour("S2")
def test_the_stack_of_what_blocked_a_frozen_session_is_kept(lab: Any, supervised: Any, steady: Any) -> None:
    steady.install("their_blocking", BLOCKING)
    args = ["blocking" if one == "counter" else one for one in RUN[1:]]
    process = supervised(*args, "--minutes", "5", SILENCE_S="1")
    stacks = wait_for(lambda: next(iter(lab.folder.glob("runs/*/stacks.log")), None))
    wait_for(lambda: "in on_quote" in stacks.read_text(encoding="utf-8"))
    assert "their_blocking.py" in stacks.read_text(encoding="utf-8")
    ended(process, 10)
    assert lives(lab) == [(-signal.SIGABRT, True)] * 5


FAILURE = "provider failing failed in stream: ValueError: it always does\nTraceback"
FAILING = """
    from lab import Quote, hookimpl
    from lab_mock.provider import MockProvider
    from attrs import define

    @define(kw_only=True, eq=False)
    class Failing(MockProvider):
        async def stream(self, wanted, sink):
            raise ValueError("it always does")

    @hookimpl
    def lab_providers():
        return {"failing": Failing}
"""


@pytest.mark.behaviour("S4", "S5")
def test_a_session_that_fails_again_and_again_is_given_up_with_10(lab: Any, supervised: Any, site: Any) -> None:
    site.install("their_failing", FAILING)
    out = ended(supervised("--provider", "failing", "--reporter", "none", "--minutes", "5"), 10)
    assert "crash loop: 5 abnormal ends within 10 minutes; the last: exit code 69" in out
    report = json.loads((lab.run().folder / "supervision.json").read_text(encoding="utf-8"))
    assert (report["reason"], report["exit_code"], len(report["runs"])) == ("crash_loop", 10, 5)
    assert report["error_count"] >= 5
    assert lab.run().report()["reason"] == "plugin_refused"


@pytest.mark.behaviour("S4")
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--provider", "mock", "--minutes", "0.05"), 0),
        (("--provider", "nowhere"), 64),
        (("--nonsense",), 64),
        (("--provider", "mock", "--set", "sma.fast=-1"), 78),
    ],
)
def test_a_verdict_is_not_started_again(lab: Any, supervised: Any, args: tuple[str, ...], code: int) -> None:
    out = ended(supervised(*args, *(() if "--nonsense" in args else ("--reporter", "none"))), code)
    assert "starts again" not in out
    assert not list(lab.folder.glob("runs/*/supervision.json"))


@pytest.mark.behaviour("J2", "S4")
def test_damage_that_strict_state_refuses_is_a_verdict_and_not_started_again(lab: Any, supervised: Any) -> None:
    assert lab("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "none").code == 0
    with sqlite3.connect(lab.run().folder / "journal.db") as db:
        db.execute("UPDATE event SET body = replace(body, '10000', '99999') WHERE kind = 'run_ended'")
    db.close()
    args = ("--provider", "mock", "--minutes", "5", "--reporter", "none", "--strict-state")
    out = ended(supervised(*args), 74)
    assert "start without --strict-state" in out
    assert "starts again" not in out


STARTING = """
import time
time.sleep(0.5)
from lab.live.signals import Interrupts
interrupts = Interrupts()
interrupts.install()
raise SystemExit(100 + interrupts.count + 10 * interrupts.killed)
"""


@pytest.mark.behaviour("S3", "S4")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 101), (signal.SIGHUP, 101), (signal.SIGUSR1, 111)])
def test_a_signal_before_a_session_has_its_handlers_waits_until_it_has(number: signal.Signals, code: int) -> None:
    waiting = [[number]]
    life = live([sys.executable, "-c", STARTING], lambda: waiting.pop() if waiting else [], lambda life: None)
    assert life.code == code
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(), "this process gets them at once again"


@pytest.mark.behaviour("S3", "S4")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 0), ("SIGHUP", 0), ("SIGUSR1", 99)])
def test_signals_reach_the_session_and_end_it_for_good(lab: Any, supervised: Any, name: str, code: int) -> None:
    process = supervised(*RUN[1:], "--minutes", "5")
    trading(lab)
    process.send_signal(signal.Signals[name])
    assert "starts again" not in ended(process, code)
    assert lab.run().report()["exit_code"] == code
    proved(lab)


@pytest.mark.behaviour("S4")
def test_a_session_whose_supervisor_is_gone_ends_as_if_killed_and_can_be_resumed(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "5")
    session = trading(lab)
    process.kill()
    wait_for(lambda: session_of(lab.run().folder) != session)
    process = supervised(*RUN[1:], "--resume", "--minutes", "5")
    trading(lab, fills(lab))
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    assert resumptions(lab.run()) == 1
    proved(lab)


@pytest.mark.behaviour("S4")
def test_a_service_manager_is_told_that_it_is_ready_that_it_lives_and_that_it_stops(lab: Any, supervised: Any) -> None:
    address = str(lab.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        process = supervised(*RUN[1:], "--minutes", "5", NOTIFY_SOCKET=address)
        assert "READY=1\nWATCHDOG=1\nSTATUS=2" in manager.recv(4096).decode()
        process.send_signal(signal.SIGTERM)
        while manager.recv(4096) != b"STOPPING=1":
            pass
        ended(process, 0)


def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ServiceManager({}).tell("READY=1")
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "x")
    ServiceManager(os.environ).forget()
    assert "NOTIFY_SOCKET" not in os.environ


def asked(port: int) -> dict[str, Any]:
    """Return what /health says now; a 503 has the same body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/health")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer


@pytest.mark.behaviour("S4", "V4")
def test_the_supervisor_serves_health_over_all_lives_and_between_them(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "5", "--health-port", "0")
    said = process.stdout.readline()
    assert said.startswith("health: http://127.0.0.1:"), said
    port = int(said.split(":")[3].partition("/")[0])
    session = trading(lab)
    wait_for(lambda: asked(port)["status"] == "trading")
    first = asked(port)
    assert (first["lives"], first["run_id"]) == (1, lab.run().folder.name)
    os.kill(session, signal.SIGKILL)
    between = wait_for(lambda: (found := asked(port))["status"] == "starting" and found)
    assert "ended (killed by SIGKILL) and starts again" in between["why_not_trading"][0]
    wait_for(lambda: (found := asked(port))["status"] == "trading" and found["lives"] == 2)
    again = asked(port)
    assert again["totals"]["fills"] >= first["totals"]["fills"]
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    socket.create_server(("127.0.0.1", port)).close()


def child_of(process: subprocess.Popen[str], other_than: int) -> int:
    """Return the id of the process that a supervisor has started, once there is another one."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = [int(one) for one in listed.read_text(encoding="ascii").split()]
    return next((one for one in found if one != other_than), 0)


@pytest.mark.behaviour("S4", "S11")
def test_a_life_that_is_killed_before_it_said_anything_is_followed_by_another(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "5")
    first = trading(lab)
    os.kill(first, signal.SIGKILL)
    second = wait_for(lambda: child_of(process, first))
    os.kill(second, signal.SIGKILL)
    trading(lab, fills(lab))
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    assert lives(lab) == [(-9, False), (-9, False), (0, False)]
    proved(lab)


@pytest.mark.behaviour("S4")
def test_a_signal_that_only_a_number_names_is_a_crash_like_others(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "5")
    os.kill(trading(lab), signal.SIGRTMIN + 6)
    trading(lab, fills(lab))
    process.send_signal(signal.SIGTERM)
    assert f"killed by signal {signal.SIGRTMIN + 6}; it starts again" in ended(process, 0)


@pytest.mark.behaviour("S3", "S4")
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 0, "stopped"), (signal.SIGUSR1, 99, "killed")], ids=str
)
def test_a_signal_between_two_lives_ends_the_run_and_says_what_stays(
    lab: Any, supervised: Any, number: signal.Signals, code: int, word: str
) -> None:
    process = supervised(*RUN[1:], "--minutes", "5", WAIT_S="30")
    os.kill(trading(lab), signal.SIGKILL)
    assert "starts again in 30 s" in next(line for line in process.stdout if "starts again" in line)
    process.send_signal(number)
    name = lab.run().folder.name
    assert f"{word} between two lives: what {name} held stays open; lab run --resume {name}" in ended(process, code)


@pytest.mark.behaviour("S4")
def test_a_session_is_stopped_between_two_lives_by_the_life_that_follows(lab: Any, supervised: Any) -> None:
    process = supervised(*RUN[1:], "--minutes", "5", WAIT_S="6")
    os.kill(trading(lab), signal.SIGKILL)
    next(line for line in process.stdout if "starts again" in line)
    done = lab("stop")
    assert done.code == 0, done.err
    ended(process, 0)
    report = lab.run().report()
    assert (report["reason"], report["books"]["counter"]["positions"]) == ("stopped", {})


@pytest.mark.behaviour("S3", "S4")
@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.4, 0.8])
def test_a_signal_in_a_supervisors_first_second_is_heard(lab: Any, steady: Any, after_s: float) -> None:
    command = lab.command(*RUN, "--minutes", "5", "--supervise")
    process = subprocess.Popen(command, cwd=lab.folder, env=lab.environment, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)  # what is to be met is a moment of the start
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode in {0, -signal.SIGTERM}, said  # the interpreter itself may not have begun
    assert "Traceback" not in said


@pytest.mark.behaviour("S2", "S4")
def test_a_session_that_is_kept_from_its_loop_ends_with_its_supervisor(lab: Any, supervised: Any, steady: Any) -> None:
    steady.install("their_blocking", BLOCKING.replace("time.sleep(60)", 'open("blocked", "w").close(); time.sleep(60)'))
    args = ["blocking" if one == "counter" else one for one in RUN[1:]]
    process = supervised(*args, "--minutes", "5", SILENCE_S="60")
    wait_for((lab.folder / "blocked").exists)
    session = session_of(lab.run().folder)
    assert session
    process.kill()
    wait_for(lambda: not Path(f"/proc/{session}").exists(), seconds=5)


@pytest.mark.behaviour("V4")
def test_a_session_whose_health_port_is_taken_does_not_begin(lab: Any, steady: Any) -> None:
    """As without a supervisor: for ten days nobody would see how it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = lab.command(*RUN, "--minutes", "5", "--supervise", "--health-port", str(port))
        done = subprocess.run(
            command, cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 78, done.stderr
    assert f"--health-port {port}: Address already in use" in done.stderr


@pytest.mark.behaviour("S4", "V4")
def test_the_log_file_has_what_the_supervisor_says_too(lab: Any, steady: Any) -> None:
    command = lab.command(*RUN, "--minutes", "5", "--supervise", "--log-file", "lab.log", "--health-port", "0")
    process = subprocess.Popen(command, cwd=lab.folder, env=lab.environment, stderr=subprocess.PIPE, text=True)
    os.kill(trading(lab), signal.SIGKILL)
    assert process.stderr is not None
    said = [next(line for line in process.stderr if "starts again" in line)]
    known = fills(lab)
    trading(lab, known)
    process.send_signal(signal.SIGTERM)
    said += process.communicate(timeout=40)[1].splitlines(keepends=True)
    written = (lab.folder / "lab.log").read_text(encoding="utf-8")
    assert "lab: health: http://127.0.0.1:" in written
    for line in said:
        assert line in written
    assert any("report over 2 lives" in line for line in said)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("--resume --seed 3", "--seed 3"),
        ("--seed 3 --resume", "--seed 3"),
        ("--resume auto --seed 3", "--seed 3"),
        ("--resume=latest --seed=3 --resumed", "--seed=3 --resumed"),
        ("--seed 3", "--seed 3"),
    ],
)
def test_a_life_that_follows_is_not_asked_to_resume_what_the_first_one_was(typed: str, left: str) -> None:
    assert without(typed.split(), "--resume") == left.split()


@pytest.mark.parametrize(
    ("typed", "resumed"),
    [
        ("--resume", True),
        ("--seed 3 --resume=latest", True),
        ("--resume auto", False),
        ("--resume=auto", False),
        ("", False),
    ],
)
def test_a_new_run_follows_only_where_its_settings_were_typed(typed: str, resumed: bool) -> None:
    assert resumes(typed.split()) is resumed


# -- what is deployed --------------------------------------------------------------------------------------------------

UNIT = Path(__file__).parent.parent / "deploy" / "lab.service"


@pytest.mark.behaviour("S4", "X1")
def test_the_unit_for_systemd_is_sound_and_hardly_exposed(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    text = UNIT.read_text(encoding="utf-8").replace("/srv/lab/.venv/bin/lab", sys.executable).replace("User=lab\n", "")
    unit = tmp_path / "lab.service"
    unit.write_text(text, encoding="utf-8")
    verified = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    exposed = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False
    )
    assert exposed.returncode == 0, exposed.stdout[-2000:]


def test_the_unit_is_not_restarted_after_a_verdict() -> None:
    [line] = [one for one in UNIT.read_text(encoding="utf-8").splitlines() if one.startswith("RestartPrevent")]
    codes = {int(one) for one in line.partition("=")[2].split()}
    assert codes == {
        one.exit_code for one in EndReason if one.exit_code and one.exit_code not in {1, 4, 70, 74, 75, 130}
    }
