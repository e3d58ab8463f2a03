"""Normalisation in torch."""

from __future__ import annotations

from compiler.to_torch.lower import Arg, Layer, Make, layer
from segdsl.ops.norm import BatchNorm, GroupNorm, LayerNorm, Lrn
from segdsl.types import Feature


@layer.register
def bn(op: BatchNorm, x: Feature) -> Layer:
    channels, eps = Arg(x.channels, origin=0), Arg(float(op.eps), "eps", 1e-5, "eps")
    if op.frozen:
        make = Make("FrozenBatchNorm2d", (channels, eps))
        return Layer("{self}({0})", make=make, helper="FrozenBatchNorm2d")
    momentum = Arg(float(op.momentum), "momentum", 0.1, "momentum")
    affine = Arg(op.affine, "affine", True, "affine")
    frozen = op.affine and not op.train
    make = Make("nn.BatchNorm2d", (channels, eps, momentum, affine), frozen=frozen)
    return Layer("{self}({0})", make=make)


@layer.register
def layer_norm(op: LayerNorm, x: Feature) -> Layer:
    """nn.LayerNorm works on the last axis; channels are axis 1."""
    args = (Arg(x.channels, origin=0), Arg(float(op.eps), "eps", 1e-5, "eps"))
    frozen = not op.train
    if x.rank == 4:
        make = Make("LayerNorm2d", args, frozen=frozen)
        return Layer("{self}({0})", make=make, helper="LayerNorm2d")
    call = "{self}({0})" if x.rank == 2 else "{self}({0}.movedim(1, -1)).movedim(-1, 1)"
    return Layer(call, make=Make("nn.LayerNorm", args, frozen=frozen))


@layer.register
def group_norm(op: GroupNorm, x: Feature) -> Layer:
    args = (
        Arg(op.groups, origin="groups"),
        Arg(x.channels, origin=0),
        Arg(float(op.eps), "eps", 1e-5, "eps"),
    )
    return Layer("{self}({0})", make=Make("nn.GroupNorm", args, frozen=not op.train))


@layer.register
def lrn(op: Lrn, x: Feature) -> Layer:
    size = Arg(op.size, origin="size")
    args = (
        Arg(float(op.alpha), "alpha", 1e-4, "alpha"),
        Arg(float(op.beta), "beta", 0.75, "beta"),
        Arg(float(op.k), "k", 1.0, "k"),
    )
    module = Make("nn.LocalResponseNorm", (size, *args))
    return Layer("F.local_response_norm({0}{args})", (size, *args), module=module)
