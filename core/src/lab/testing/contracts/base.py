"""The base of all contracts: numbered rules, failures with reason and cure, and written, strict excuses.

A rule is a test method. It knows its number, the reason it exists and the cure; whatever goes wrong inside becomes a
`ContractFailure` of three lines with the evidence in the first. Nothing here needs pytest, so that ``lab check`` can
run the same rules without it; only an excuse met under pytest is reported through it.
"""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import digits
from typing import Any, ClassVar, Final, Literal

from attrs import evolve, frozen

from lab.testing.contracts.time_limit import call_within

Outcome = Literal["passed", "failed", "excused"]

_HERE: Final = Path(__file__).parent.parent
_LAB: Final = _HERE.parent
_EVIDENCE_MAX: Final = 800
_RAISED_WHY: Final = "a component that raises is stopped or ends the run; of this rule nothing can be said before."
_RAISED_CURE: Final = "repair the exception; its traceback is the cause of this failure."


class ContractFailure(AssertionError):
    """A rule does not hold. Three lines: the rule with the evidence, why it exists, how to cure it."""


class NotChecked(Exception):
    """A rule cannot be checked here, and why: it is reported as excused, never as passed."""


@frozen
class Rule:
    """One rule: ``number`` such as ``S2``, ``title`` in words, ``why`` it exists and its ``cure``.

    ``about_raising`` marks a rule whose subject is what a component raises: an exception is reported with the rule's
    reason and cure. Under every other rule it is reported as an exception.
    """

    number: str
    title: str
    why: str
    cure: str
    about_raising: bool = False

    def broken(self, evidence: str) -> str:
        """Return the three lines of a failure."""
        return f"{self.number} ({self.title}): {evidence}\nWhy: {self.why}\nCure: {self.cure}"


@frozen
class Finding:
    """What became of one rule. ``text`` is empty for a rule that holds."""

    rule: Rule
    outcome: Outcome
    text: str = ""
    error: BaseException | None = None


def rule(
    number: str, why: str, cure: str, *, about_raising: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test method a rule of its contract. The method's name, read as words, is the rule's title."""

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        title = method.__name__.removeprefix("test_").replace("_", " ")
        this = Rule(number, title, why, cure, about_raising)

        @functools.wraps(method)
        def checked(self: "Contract", *args: Any, **kwargs: Any) -> None:
            found = _find(this, self, method, (self, *args), kwargs)
            if found.outcome == "failed":
                raise ContractFailure(found.text) from found.error
            if found.outcome == "excused":
                import pytest

                pytest.xfail(found.text)

        checked.rule = this  # type: ignore[attr-defined]
        return checked

    return decorate


class Contract:
    """Base of the contracts. A subclass gives the fixture ``make`` and inherits the rules.

    ``excused`` maps a rule's number to the reason why it does not hold. An excuse is strict: one without a reason, for
    a rule that does not exist or for one that holds after all is itself a failure, and so is a replaced rule.
    """

    excused: ClassVar[Mapping[str, str]] = {}
    time_limit_s: ClassVar[float | None] = None
    """Seconds that one rule may take, for contracts of synchronous components; ``None`` for no limit."""

    @classmethod
    def rules(cls) -> Mapping[str, str]:
        """Return the name of each rule's test method by the rule's number, in order."""
        found = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(getattr(value, "rule", None), Rule):
                    found[value.rule.number] = name
        letters = list(dict.fromkeys(number.rstrip(digits) for number in found))
        return {number: found[number] for number in sorted(found, key=lambda one: _place(one, letters))}

    @rule(
        "C1",
        "a rule that is switched off in silence protects nobody, and an excuse outlives its reason.",
        'write excused = {"NUMBER": "the reason"} for a rule that cannot hold, and replace no rule.',
    )
    def test_excuses_name_a_rule_and_a_reason(self) -> None:
        rules = self.rules()
        for number, reason in self.excused.items():
            assert number in rules, f"excused[{number!r}]: there is no such rule; there are {', '.join(rules)}"
            given = isinstance(reason, str) and reason.strip()
            assert given, f"excused[{number!r}] gives no reason: {reason!r}"
            assert number != "C1", "excused['C1']: this rule cannot be excused"
        for base in type(self).__mro__:
            for name, value in vars(base).items():
                if isinstance(getattr(value, "rule", None), Rule):
                    replaced = getattr(type(self), name, None) is not value
                    assert not replaced, f"{type(self).__name__}.{name} replaces rule {value.rule.number}"


def _place(number: str, letters: Sequence[str]) -> tuple[int, int]:
    """Return where a rule stands: ``P2`` before ``P10``, whatever class each is in."""
    letter = number.rstrip(digits)
    return letters.index(letter), int(number.removeprefix(letter) or 0)


def check(contract: type[Contract], make: Callable[[], Any], *, only: str | None = None) -> list[Finding]:
    """Run a contract's rules on what ``make`` gives, without pytest, and return a finding for each, in order.

    ``only`` is the number of the one rule to run. Raises ``KeyError`` where there is no such rule.
    """
    findings = []
    rules = contract.rules()
    for name in rules.values() if only is None else (rules[only],):
        one = contract()
        method = inspect.unwrap(getattr(contract, name))
        arguments = (make,) if "make" in inspect.signature(method).parameters else ()
        findings.append(_find(getattr(contract, name).rule, one, method, (one, *arguments), {}))
    return findings


def _find(
    this: Rule, contract: Contract, method: Callable[..., None], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Finding:
    if not __debug__:
        raise RuntimeError("contracts are made of assertions: run Python without -O and PYTHONOPTIMIZE")
    reason = contract.excused.get(this.number) if this.number != "C1" else None
    excused = isinstance(reason, str) and bool(reason.strip())
    try:
        if contract.time_limit_s is None:
            method(*args, **kwargs)
        else:
            call_within(contract.time_limit_s, type(contract), functools.partial(method, *args, **kwargs))
    except NotChecked as unchecked:
        return Finding(this, "excused", f"{this.number} not checked: {unchecked}", unchecked)
    except BaseException as error:  # whatever a component raises breaks the rule that called it
        if contract.time_limit_s is None and isinstance(error, KeyboardInterrupt | SystemExit):
            raise  # it was asked for in this very thread
        if type(error).__module__.startswith("_pytest"):
            raise  # an author's skip
        return _failed(this, method, error, reason if excused else None)
    if excused:
        outdated = f"the rule holds, but is excused: {reason}"
        return Finding(this, "failed", evolve(this, cure=f"delete {this.number!r} from excused.").broken(outdated))
    return Finding(this, "passed")


def _failed(this: Rule, method: Callable[..., None], error: BaseException, excuse: str | None) -> Finding:
    if excuse is not None:
        return Finding(this, "excused", f"{this.number} excused: {excuse}", error)
    text, raised = _evidence(error, method.__name__)
    told = evolve(this, why=_RAISED_WHY, cure=_RAISED_CURE) if raised and not this.about_raising else this
    return Finding(this, "failed", told.broken(text), error)


def _evidence(error: BaseException, method: str) -> tuple[str, bool]:
    """Return what happened on one line, and whether it is an exception instead of a rule's own assertion."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = frames[-1] if frames else None
    own = place is not None and (place.name == method or Path(place.filename).is_relative_to(_HERE))
    raised = not (isinstance(error, AssertionError) and own and text)
    if raised:
        theirs = [one for one in frames if not Path(one.filename).is_relative_to(_LAB)]
        place = theirs[-1] if theirs and theirs[-1].name != method else place
        where = "" if place is None else f" at {Path(place.filename).name}:{place.lineno}"
        text = f"{type(error).__name__} was raised{where}: {text or 'without a message'}"
    else:
        text = text.partition("\nassert ")[0]  # what pytest adds to assertions of modules it rewrote
    text = " ".join(text.split())
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return (text if len(text) <= _EVIDENCE_MAX else text[: _EVIDENCE_MAX - 1] + "…") + notes, raised
