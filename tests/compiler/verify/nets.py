"""Small networks with stages, for verifications that must find something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from segdsl.ir import Graph, Node
from segdsl.ops.base import Op
from segdsl.ops.conv import Conv, ConvTranspose, Linear
from tests.support.programs import graph

TINY = """\
seg 1
block Body(x: [N, C, h, w], out: int) -> (y: [N, out, h, w]) {
  y = x -> conv(out, 3, pad=1, bias=false) @conv -> bn @bn -> relu
}
net Tiny(classes: int = 3) {
  input image: f32[N, 3, H, W] where H >= 8, W >= 8
  first = image -> conv(8, 3, pad=1) @stem -> bn @norm -> relu
  deep = first -> max_pool(2) -> Body(8) @body
  wide = resize(deep, like=first, mode=bilinear)
  both = wide + first
  output mask = both -> dropout(0.5) -> conv(classes, 1) @head
}
"""
"""Every kind of stage: a folded norm, a block, a resize, a sum, an inference no-op."""

STAGES = ["first", "body", "wide", "both", "mask"]


def tiny() -> Graph:
    """The network of `TINY`."""
    return graph(TINY)


STOCK: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("unet", {}, (33, 48)),
    ("unet_resnet34", {}, (33, 48)),
    ("fcn_resnet50", {}, (33, 40)),
    ("deeplabv3", {"depth": 50}, (33, 40)),
    ("resnet", {"depth": 18}, (33, 40)),
    ("seresnet50", {}, (33, 40)),
    ("tiramisu", {"depth": 56}, (32, 35)),
    ("fcn8s", {}, (33, 40)),
    ("vgg16", {}, (40, 33)),
]
"""Network, settings, and a height and width to run it at."""


def narrow(graph: Graph, factor: int = 8, least: int = 64) -> Graph:
    """The network with fewer channels: every layer of 64 outputs or more has an eighth of them."""

    def change(node: Node) -> Op:
        op = node.op
        if not isinstance(op, Conv | ConvTranspose | Linear):
            return op
        wide = op.out >= least and op.out % factor == 0 and op.out != 1000
        return replace(op, out=op.out // factor) if wide else op

    return graph.map_ops(change)
