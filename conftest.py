"""What holds for every test: none reads or writes the columns that the user keeps; large counts wait for the night."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--night", action="store_true", help="run the tests that are marked night too: the large counts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--night"):
        skip = pytest.mark.skip(reason="large counts; run with --night")
        for item in items:
            if item.get_closest_marker("night") is not None:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
