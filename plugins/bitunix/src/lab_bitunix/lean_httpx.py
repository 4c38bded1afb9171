"""httpx without its command line.

Where click, rich and pygments are installed, ``import httpx`` imports them for its own command, which no session calls.
Where one is missing it does without that command; here it is told so.
"""

import sys

_COMMAND = "httpx._main"
_absent = _COMMAND not in sys.modules
if _absent:
    sys.modules[_COMMAND] = None  # type: ignore[assignment]  # how Python notes that a module can't be imported
try:
    import httpx as httpx
finally:
    if _absent:
        del sys.modules[_COMMAND]
