"""Found before the installed one by the tests' processes, so that they run as without the extra."""

raise ImportError("the tests' processes do without plotly")
