"""The reporters keep the contract of reporters."""

from collections.abc import Callable

import pytest
from lab.testing import ReporterContract
from lab_reporters.jsonl import Jsonl
from lab_reporters.summary import Html
from lab_reporters.terminal import Terminal


class TestTerminal(ReporterContract):
    @pytest.fixture
    def make(self) -> Callable[[], Terminal]:
        return Terminal


class TestJsonl(ReporterContract):
    @pytest.fixture
    def make(self) -> Callable[[], Jsonl]:
        return Jsonl


class TestHtml(ReporterContract):
    @pytest.fixture
    def make(self) -> Callable[[], Html]:
        return lambda: Html(charts="plain")
