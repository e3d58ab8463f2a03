"""`compile --target triton`: the folder stands alone, and what is missing is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import cli
from compiler.cli import main
from tests.support.peers import need

need("triton")
torch = need("torch")

from compiler import to_torch  # noqa: E402
from segdsl.program import load  # noqa: E402

ROOT = Path(cli.__file__).parents[2]

PROGRAM = """\
seg 1
net Tiny(classes: int = 8) {
  input image: f32[N, 3, H, W]
  f = image -> conv(16, 3, pad=1) @stem -> relu -> dcnv3(groups=2) @dcn
  output labels = f -> conv(classes, 1) @head -> resize(2x, mode=bilinear) -> argmax(channels)
  output scores = f -> conv(classes, 1) @scores
}
"""
TRITON = ["compile", "net.seg", "--target", "triton"]

Streams = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.seg").write_text(PROGRAM)
    return tmp_path


def child(script: str) -> subprocess.CompletedProcess[str]:
    """A process that knows neither this checkout nor an installed segdsl; it interprets kernels."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TRITON_INTERPRET": "1"}
    hidden = "import sys\nfor name in ('segdsl', 'compiler', 'safetensors', 'numpy.testing'):\n"
    script = f"{hidden}    sys.modules[name] = None\nsys.path.insert(0, '.')\n{script}"
    return subprocess.run(
        [sys.executable, "-P", "-c", script], env=env, capture_output=True, text=True, check=False
    )


RUN = """
import torch
from out import load, policy
from out.kernels.router import recorded
net = load()
image = torch.load('image.pt')
for name in ('none', 'all'):
    with torch.no_grad(), policy(name), recorded() as routes:
        labels, scores = net(image)
    torch.save([labels, scores], name + '.pt')
    print(sorted(key.split()[0] for key in routes), 'library' in routes.values())
"""


def test_the_folder_needs_torch_and_triton_only(folder: Path, capsys: Streams) -> None:
    assert main([*TRITON, "-o", "out"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "wrote out\nrun it with torch and triton 3.6 or newer: kernels need a GPU" in err
    torch.manual_seed(0)
    image = torch.rand(1, 3, 5, 6)
    torch.save(image, "image.pt")
    done = child(RUN)
    assert done.returncode == 0, done.stderr
    kinds = ["conv", "dcnv3", "depthwise_norm", "upsample_argmax"]
    assert done.stdout.splitlines() == [f"{kinds} True", f"{kinds} False"]
    with torch.no_grad():
        wanted = to_torch(load("net.seg")).eval()(image)
    for name in ("none", "all"):
        labels, scores = torch.load(f"{name}.pt")
        assert torch.allclose(scores, wanted[1], rtol=1e-4, atol=1e-5)
        assert (labels != wanted[0]).double().mean() < 0.02
    plan = json.loads((folder / "out" / "plan.json").read_text())
    assert [row["kernel"] for row in plan["rows"]].count("dcnv3") == 1
    assert plan["policy"] == "measured"


def test_the_same_bytes_twice(folder: Path) -> None:
    for name in ("out", "again"):
        assert main([*TRITON, "-o", name]) == 0
    first, second = (sorted((folder / name).rglob("*.*")) for name in ("out", "again"))
    assert [p.name for p in first] == [p.name for p in second]
    for left, right in zip(first, second, strict=True):
        text = right.read_bytes().replace(b"from again import", b"from out import")
        assert left.read_bytes() == text, left


BROKEN = {
    "missing": "raise ModuleNotFoundError(\"No module named 'triton'\", name='triton')\n",
    "old": "__version__ = '3.5.1'\n",
}


@pytest.fixture
def fakes(folder: Path) -> None:
    """Folders `missing` and `old` with a triton that is like that."""
    for name, text in BROKEN.items():
        (folder / name / "triton").mkdir(parents=True)
        (folder / name / "triton" / "__init__.py").write_text(text)


def command(fake: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a process that finds a fake triton first."""
    env = os.environ | {"PYTHONPATH": f"{fake}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


IMPORTS = """
for name in ("missing", "old"):
    sys.path.insert(0, name)
    try:
        import out
    except ImportError as error:
        print(f"{type(error).__name__}: {error}")
    for module in [key for key in sys.modules if key.split(".")[0] in ("out", "triton")]:
        del sys.modules[module]
"""


TWICE = """
import sys
from compiler.cli import main
print(main([*sys.argv[1:], "-o", "out"]), main([*sys.argv[1:], "--report", "--arch", "sm_90"]))
"""


@pytest.mark.usefixtures("fakes")
def test_without_triton_the_folder_is_written_and_says_so() -> None:
    done = command("missing", "-c", TWICE, *TRITON)
    assert done.stdout == "0 2\n", done.stderr
    assert "wrote out" in done.stderr
    missing = "error[E0108]: this command needs the library `triton`, which is not installed"
    assert missing in done.stderr
    assert "pip install 'segdsl[triton]'" in done.stderr
    assert child(IMPORTS).stdout.splitlines() == [
        "ModuleNotFoundError: the kernels need triton 3.6 or newer: pip install 'triton>=3.6'",
        "ImportError: triton 3.5.1 is installed; the kernels need 3.6 or newer",
    ]


@pytest.mark.usefixtures("fakes")
def test_an_old_triton_is_refused_before_kernels_are_compiled() -> None:
    done = command("old", "-m", "compiler.cli", *TRITON, "--report", "--arch", "sm_90")
    message = "error[E6013]: triton 3.5.1 is installed; the kernels need 3.6 or newer"
    assert done.stderr.startswith(message)
    assert "pip install --upgrade 'segdsl[triton]'" in done.stderr
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`--target triton` writes a folder: name it with `-o`, or ask `--report`"),
        (["-o", "-"], "`--target triton` writes a folder"),
        (["-o", "out", "--flat"], "`--flat` has no effect with `--target triton`"),
        (["-o", "out", "--fold"], "`--fold` has no effect with `--target triton`"),
        (["-o", "out", "--arch", "sm_90"], "`--arch` needs `--report`"),
        (["--report", "--weights", "w"], "`--weights` needs `-o`"),
        (["-o", "out.x"], "`out.x` cannot be imported"),
        (["-o", "none/out"], "there is no folder"),
        (["-o", "net"], "it is there, and segdsl did not write it"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, folder: Path, capsys: Streams) -> None:
    (folder / "net").mkdir()
    (folder / "net" / "mine").write_text("kept")
    assert main([*TRITON, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in folder.rglob("*")) == ["mine", "net", "net.seg"]


def test_options_of_this_target_alone(capsys: Streams) -> None:
    for option in (["--report"], ["--arch", "sm_90"]):
        assert main(["compile", "net.seg", "--target", "torch", *option]) == 2
        assert f"`{option[0]}` has no effect with `--target torch`" in capsys.readouterr().err
