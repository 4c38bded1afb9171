"""What the tests of every contract ask: which rules a component does not keep, and whether it breaks the right one."""

from collections.abc import Callable
from typing import Any

from lab.testing import Contract, check


def unkept(contract: type[Contract], make: Callable[[], Any]) -> list[str]:
    """Return the text of every rule that does not hold, excused ones included."""
    return [one.text for one in check(contract, make) if one.outcome != "passed"]


def broken_by(contract: type[Contract], make: Callable[[], Any], *, besides: str) -> set[str]:
    """Return the numbers of the rules that do not hold; ``besides`` is the one that starts processes, which is slow."""
    rules = [one for one in contract.rules() if one != besides]
    return {one for one in rules if check(contract, make, only=one)[0].outcome != "passed"}


def assert_breaks(contract: type[Contract], make: Callable[[], Any], number: str, said: str) -> None:
    """Assert that a component breaks this rule, and that the failure names the rule and says this."""
    (found,) = check(contract, make, only=number)
    assert found.outcome == "failed", found
    assert found.text.startswith(f"{number} ("), found.text
    assert said in found.text, found.text
