"""The command line. `main` is the entry point; each command is a module of its own, imported only when it is called."""

import sys


def main() -> None:
    """Run ``lab``. Never shows a traceback for something the user did."""
    from lab.session.signals import Interrupts

    interrupts = Interrupts()
    interrupts.install()
    try:
        from lab.cli.main import run_command_line

        code = run_command_line(interrupts)
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        code = 130
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        print("lab: interrupted", file=sys.stderr)
        code = 130
    interrupts.ignore()
    sys.exit(code)
