"""What every test may use: the golden fixture, markers, deterministic hypothesis."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"

# Two workers share two cores: more threads only fight. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Kernels run in the Triton interpreter, which is chosen when they are defined: before any import.
# `SEGDSL_GPU=1` compiles them instead, for the tests marked `gpu`.
os.environ.setdefault("TRITON_INTERPRET", "0" if os.environ.get("SEGDSL_GPU") else "1")

settings.register_profile(
    "segdsl",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
# A recorded campaign (benchmarks/campaign.py) draws other programs in every chunk: its seed counts.
settings.register_profile(
    "campaign", settings.get_profile("segdsl"), derandomize=False, database=None
)
settings.load_profile("campaign" if os.environ.get("SEGDSL_CAMPAIGN") else "segdsl")

Golden = Callable[[str, str], None]
"""`golden(path, text)`: the text must be that of `tests/golden/<path>`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the files under tests/golden instead of comparing with them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_cuda():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with a committed file; a missing file fails, it is never made in silence."""
    update = bool(request.config.getoption("--update-golden"))

    def compare(path: str, text: str) -> None:
        file = GOLDEN / path
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
            return
        if not file.exists():
            pytest.fail(f"there is no {file}; `make golden` writes it")
        assert text == file.read_text(encoding="utf-8"), f"{path} differs; see `make golden`"

    return compare


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests: no colour and no width from the environment."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
