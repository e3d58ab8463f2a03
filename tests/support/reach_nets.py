"""Small programs for tests of receptive fields, and chains of named layers."""

from __future__ import annotations

from segdsl.ir import Graph, Value
from segdsl.program import examine_source
from segdsl.source import Source


def graph_of(body: str, given: str = "f32[N, 4, H, W]") -> Graph:
    """The graph of some statements on `x`, which end in `output y = …`.

    Sizes that some statement refuses may remain; tests ask for sizes that it accepts.
    """
    text = f"seg 1\n\nnet A() {{\n  input x: {given}\n  {body}\n}}\n"
    program = examine_source(Source("a.seg", text), None)
    assert program.graph is not None, program.diagnostics
    wrong = [d for d in program.diagnostics if d.code not in ("E3004", "E3005", "E3006", "E2003")]
    assert not wrong, wrong
    assert program.graph.outputs, program.diagnostics
    return program.graph


def chain(layers: list[tuple[str, str]], start: str = "x") -> str:
    """Statements that bind each layer's map to its name, one after the other."""
    lines, last = [], start
    for name, layer in layers:
        lines.append(f"{name} = {last} -> {layer}")
        last = name
    return "\n  ".join([*lines, f"output y = {last}"])


def output_of(graph: Graph) -> Value:
    """What the first output is."""
    (value,) = graph.operands(graph.outputs[0])
    return value


def unet(levels: int, up: str, *, valid: bool = False) -> str:
    """A U-Net: two convolutions per level, pool 2, `up`, concatenation."""
    pad = "" if valid else ", pad=1"
    convs = f"conv(4, 3{pad}) -> conv(4, 3{pad})"
    lines = [f"e0 = x -> {convs}"]
    lines += [f"e{i} = e{i - 1} -> max_pool(2) -> {convs}" for i in range(1, levels + 1)]
    last = f"e{levels}"
    for i in reversed(range(levels)):
        lines.append(f"u{i} = {last} -> {up}")
        skip = f"(e{i} -> crop(like=u{i}, offset=centre))" if valid else f"e{i}"
        lines.append(f"d{i} = concat([{skip}, u{i}]) -> {convs}")
        last = f"d{i}"
    return "\n  ".join([*lines, f"output y = {last}"])


def vgg(counts: list[int], first_pad: int = 1, ceil: bool = False) -> list[tuple[str, str]]:
    """The convolutions and pools of a VGG, named `conv3_2` and `pool3`."""
    layers = []
    for stage, count in enumerate(counts, 1):
        for i in range(1, count + 1):
            pad = first_pad if stage == i == 1 else 1
            layers.append((f"conv{stage}_{i}", f"conv(4, 3, pad={pad})"))
        layers.append((f"pool{stage}", f"max_pool(2, ceil={str(ceil).lower()})"))
    return layers


FCN_HEAD = [("fc6", "conv(4, 7)"), ("fc7", "conv(4, 1)")]


def fcn(kind: int, offset: str = "auto") -> str:
    """FCN-32s, 16s or 8s on VGG-16; crops by `offset`, or by the published numbers."""
    body = chain([*vgg([2, 2, 3, 3, 3], 100, ceil=True), *FCN_HEAD]).rsplit("\n", 1)[0]
    published = {32: [19], 16: [5, 27], 8: [5, 9, 31]}[kind]
    crops = [offset if offset == "auto" else str(n) for n in published]
    lines, last, stride = [], "fc7", 32
    for i, pool in enumerate(["pool4", "pool3"][: len(published) - 1]):
        lines.append(f"up{i} = {last} -> conv_transpose(4, 4, stride=2)")
        lines.append(f"m{i} = up{i} + ({pool} -> crop(like=up{i}, offset={crops[i]}))")
        last, stride = f"m{i}", stride // 2
    end = f"conv_transpose(4, {2 * stride}, stride={stride}) -> crop(like=x, offset={crops[-1]})"
    return "\n  ".join([body, *lines, f"output y = {last} -> {end}"])
