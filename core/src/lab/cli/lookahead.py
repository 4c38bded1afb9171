"""``lab lookahead``."""

from typing import TYPE_CHECKING, Any

import attrs
import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.backtesting.lookahead import Proof


@click.command("lookahead")
@click.argument("run", default="latest")
@click.option(
    "--cuts", type=click.IntRange(min=1), metavar="NUMBER",
    help="After how many decisions to cut, at most. Default: 50; for long runs fewer, 10 at least.",
)  # fmt: skip
@click.option(
    "--seed", type=int, default=0, metavar="NUMBER", help="Seed of the sample and of the futures. Default: 0."
)
@options.place
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, run: str, cuts: int | None, seed: int, as_json: bool, **given: Any) -> int:
    """Prove that no decision of a run depends on what came after it.

    RUN is a run's id, a part of it, its folder, or `latest` (the default). Its inputs are cut after a decision, what
    came later is changed or left out, and the same components decide again. Exit code 0: every row up to each cut is
    the recorded one; 1: each decision that changed is printed with its row, or what could not be proved with its cause.
    """
    from lab.backtesting.lookahead import lookahead
    from lab.runs.directory import find
    from lab.runs.previous import unfinished

    directory = find(options.state_dir_of(given), run)
    note = unfinished(directory)
    with Line() as line:
        proof = lookahead(directory, cuts=cuts, seed=seed, stopped=lambda: interrupts.count, progress=line.step)
    if note:
        output.say(note)
    if as_json:
        output.print_json({"schema_version": 1, "kind": "lookahead", "seed": seed, **attrs.asdict(proof)})
    else:
        for text in _lines(proof, seed):
            click.echo(text)
    return 0 if proof.clean else 1


def _lines(proof: "Proof", seed: int) -> list[str]:
    if proof.difference:
        return [
            f"{proof.run}: nothing is proved: the run does not repeat as it was recorded",
            f"  first difference: {proof.difference}",
            f"  cause: {proof.cause}",
        ]
    verdict = "no look-ahead found" if proof.clean else "LOOKS AHEAD" if proof.changed else "NOT proved"
    lines = [f"{proof.run}: {verdict}: {proof.changed:,} of {proof.decisions:,} decisions changed"]
    of = f"{proof.decisions_of_run:,} decisions"
    which = (
        f"a sample of {of}, seed {seed}" if proof.cuts < proof.decisions_of_run - 1 else f"all of {of} with a future"
    )
    lines.append(f"  {proof.cuts:,} cuts ({which}), {proof.futures:,} changed futures, {proof.inputs:,} inputs")
    lines.append(f"  changed: {', '.join(['the stream of inputs', *proof.replaced])}")
    lines += [f"  not changed: {text}" for text in proof.unchanged]
    for one in proof.findings:
        who = f", strategy {one.strategy}" if one.strategy else ""
        lines.append(
            f"  row {one.row}: {one.event} (input {one.input}){who}, future {one.future} after input {one.cut}"
        )
        lines += [f"    was    {one.was}", f"    became {one.became}"]
    if proof.changed > len(proof.findings):
        lines.append(f"  ... and {proof.changed - len(proof.findings):,} more")
    lines += [f"  {text} itself: what it read there could not be changed" for text in proof.reads]
    return lines
