"""Without torch only the facts are tested; where it is required, its absence is an import error."""

from __future__ import annotations

import os
from importlib.util import find_spec

NEED_TORCH = [
    "test_dcn.py",
    "test_internimage.py",
    "test_peers.py",
    "test_references.py",
    "test_sizes.py",
]

_required = "torch" in os.environ.get("SEGDSL_REQUIRE", "").split(",")
collect_ignore = [] if _required or find_spec("torch") else NEED_TORCH
