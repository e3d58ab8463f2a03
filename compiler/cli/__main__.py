"""`python -m compiler.cli`, for a checkout that is not installed."""

from __future__ import annotations

import sys

from compiler.cli import main

sys.exit(main())
