"""The wheel in an empty environment: what a person gets from `pip install`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from segdsl.library import stock_names

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("segdsl", "compiler"):
        expected = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert expected <= names
        assert f"{package}/py.typed" in names
    expected = {f"segdsl/specs/{path.name}" for path in (ROOT / "specs").iterdir()}
    assert expected <= names
    assert {name.split("/")[0] for name in names} == {
        "segdsl",
        "compiler",
        next(name for name in names if ".dist-info/" in name).split("/")[0],
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_a_plain_install_checks_the_stock_networks(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin_ = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip: list[str | Path] = [bin_ / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    place = run(bin_ / "python", "-c", "import segdsl; print(segdsl.__file__)", cwd=tmp_path).stdout
    assert Path(place.strip()).is_relative_to(tmp_path)
    done = run(bin_ / "segdsl", "check", *stock_names(), cwd=tmp_path)
    assert done.stderr.splitlines() == [f"{name}: ok" for name in stock_names()]
    (tmp_path / "mine.seg").write_text(
        "seg 1\nfrom std.resnet import ResNet\n"
        "net Mine() {\n"
        "  input image: f32[N, 3, H, W]\n"
        "  output score = image -> conv(2, 3, pad=1) @stem\n"
        "}\n"
    )
    run(bin_ / "segdsl", "check", "mine.seg", cwd=tmp_path)
    assert "E0101" in run(bin_ / "segdsl", "explain", "E0101", cwd=tmp_path).stdout


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert all(pinned.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        _name(requirement)
        for group in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in group
    }
    known = {_normal(name) for name in pinned}
    assert wanted - known - {"segdsl"} == set()


def _name(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if c in "<>=[; "), len(requirement))
    return _normal(requirement[:end])


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")
