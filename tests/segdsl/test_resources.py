"""The time and memory that refused and large programs take, held by the kernel in a child process.

What is refused has 10 s and 512 MiB, what is accepted 20 s, what needs raised caps 40 s
and 1 GiB: processor time, with room for slow machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import segdsl

pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not hold RLIMIT_AS")

ROOT = Path(segdsl.__file__).parents[1]
PORTS = "(x: tensor) -> (y: tensor)"
GUARD = (
    "import json, resource, sys\n"
    "seconds, mebibytes, path, *more = sys.argv[1:]\n"
    "resource.setrlimit(resource.RLIMIT_CPU, (int(seconds),) * 2)\n"
    "resource.setrlimit(resource.RLIMIT_AS, (int(mebibytes) << 20,) * 2)\n"
    "from compiler.cli import main\n"
    "code = main(['check', path, '--format', 'json', *more])\n"
    "loaded = [name for name in ('torch', 'onnx', 'triton') if name in sys.modules]\n"
    "print(json.dumps({'exit': code, 'loaded': loaded}))\n"
)


def net(body: str, items: str = "") -> str:
    image = "  input image: f32[N, 3, H, W]\n"
    return f"seg 1\n{items}\nnet T() {{\n{image}  {body}\n  output y = image -> relu\n}}\n"


def doubling(count: int) -> str:
    blocks = [f"block B{i}{PORTS} {{\n  y = x -> B{i + 1} -> B{i + 1}\n}}" for i in range(count)]
    return "\n".join([*blocks, f"block B{count}{PORTS} {{\n  y = x -> relu\n}}"])


REFUSED = {
    "a megabyte of brackets": (net("a = " + "[" * 1_000_000), "E0021"),
    "a million tokens": (net("a = [" + "1," * 500_000 + "]"), "E0022"),
    "a megabyte of one name": (net("a" * 1_000_000), "E1009"),
    "a megabyte of one number": (net("a = " + "9" * 1_000_000), "E0012"),
    "a string of a megabyte": (net('a = "' + "\\\\" * 500_000 + '"'), "E0013"),
    "an open string of a megabyte": (net('a = "' + "\\\\" * 500_000), "E0001"),
    "forty doubling blocks": (net("a = image -> B0", doubling(40)), "E4003"),
    "blocks that nobody uses": (net("", doubling(40)), "E4003"),
    "a thousand million turns": (net("a = image -> repeat 1_000_000_000 { relu }"), "E4005"),
    "lists that double": (net("var t = [1]\n  for i in range(60) { t += t }"), "E4005"),
    "powers of powers": (net("a = 9 ** 9 ** 9"), "E2020"),
    "20,000 mistakes": (net("\n".join("a = )" for _ in range(20_000))), "E0002"),
}


def checked(tmp_path: Path, text: str, seconds: int, mebibytes: int, *more: str) -> set[str]:
    """The codes of `segdsl check` within limits that end the process if it passes them."""
    path = tmp_path / "net.seg"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", GUARD, str(seconds), str(mebibytes), str(path), *more],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    *lines, last = done.stdout.splitlines() or [""]
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    found = [json.loads(line) for line in lines]
    errors = {d["code"] for d in found if d["code"].startswith("E")}
    assert json.loads(last) == {"exit": 1 if errors else 0, "loaded": []}
    assert [p.name for p in tmp_path.iterdir()] == ["net.seg"]
    return errors


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_costs_little(name: str, tmp_path: Path) -> None:
    text, code = REFUSED[name]
    assert code in checked(tmp_path, text, 10, 512)


def test_a_large_network_within_the_caps(tmp_path: Path) -> None:
    text = net("a = image -> repeat 100 { repeat 99 { relu } }")
    assert checked(tmp_path, text, 20, 512) == set()


def test_caps_are_raised_by_options(tmp_path: Path) -> None:
    many = net("a = image -> repeat 1000 { repeat 101 { relu } }")
    assert checked(tmp_path, many, 20, 512) == {"E4003"}
    wide = net("a = image -> conv(1_000_000, 1) @a -> conv(10_000, 1) @b")
    assert checked(tmp_path, wide, 20, 512) == {"E5008"}
    assert checked(tmp_path, wide, 20, 512, "--max-params", "20000000000") == set()
    long = net("a = [" + "1," * 50_000 + "]")
    assert checked(tmp_path, long, 20, 512) == {"E0022"}
    assert checked(tmp_path, long, 40, 1024, "--max-tokens", "200000") == set()
