"""`make demo`: compile a U-Net, train it on half a picture, measure it on the other, draw it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTED = 130


def main() -> int:
    """Run the demo from the root of the checkout; answers the exit code."""
    os.chdir(ROOT)
    # A script sees its own folder only, and the demo's modules are imported as `demo.…`.
    sys.path.insert(0, str(ROOT))
    from demo.show import OUT, show
    from demo.training import Plan

    try:
        show(OUT, Plan())
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
