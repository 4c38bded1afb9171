"""What is wrong with a recording, and where."""


class RecordingError(ValueError):
    """A recording that can't be used. The text begins with ``file:line:``, without a line where none is to blame."""

    def __init__(self, file: object, line: int | None, reason: str) -> None:
        self.file = str(file)
        self.line = line
        self.reason = reason
        super().__init__(f"{self.file}:{line}: {reason}" if line is not None else f"{self.file}: {reason}")
