"""A seeded price path for lab: the same seed gives the same bytes."""

from collections.abc import Mapping

from lab.plugins.hookspecs import hookimpl


@hookimpl
def lab_providers() -> Mapping[str, str]:
    return {"mock": "lab_mock.provider:MockProvider"}
