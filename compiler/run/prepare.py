"""What a picture must become before a network takes it: channels, normalisation, element type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.run.pictures import Floats, Picture
from compiler.run.refusals import unfit
from segdsl.infer import infer
from segdsl.ir import Graph
from segdsl.ops.ports import Input
from segdsl.symbolic import Size
from segdsl.types import Feature

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "u8": np.uint8}


@dataclass(frozen=True)
class Normalisation:
    """`(value - mean) / std` by channel, on values from 0 to 1; one number is for all channels."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0}

    def applied(self, values: Floats) -> Floats:
        """The values `[C, H, W]`, normalised.

        Raises:
            SegError: E0112 the numbers are not finite, not positive (std), or not one per channel.
        """
        if self.idle:
            return values
        channels = len(values)
        mean, std = (
            _per_channel("mean", self.mean, channels),
            _per_channel("std", self.std, channels),
        )
        if min(self.std) <= 0:
            raise unfit(f"a std must be above 0, got {min(self.std)}")
        result: Floats = (values - mean) / std
        return result


def _per_channel(name: str, numbers: Sequence[float], channels: int) -> NDArray[np.float32]:
    if not all(map(math.isfinite, numbers)):
        raise unfit(f"a {name} must be a finite number")
    if len(numbers) not in (1, channels):
        raise unfit(
            f"{len(numbers)} numbers of {name} for {channels} channels", "give one, or one each"
        )
    return np.array(numbers, np.float32).reshape(-1, 1, 1)


def single_input(graph: Graph) -> tuple[str, Feature]:
    """The input that takes the picture: its node, and its type.

    Raises:
        SegError: E0112 the net has not exactly one input, or it is no map of single pictures.
    """
    if len(graph.inputs) != 1:
        names = " and ".join(f"`{name}`" for name in graph.inputs)
        message = (
            f"`{graph.name}` has {len(graph.inputs)} inputs, {names}: one picture is not enough"
        )
        raise unfit(message, "use the module that `segdsl compile` writes in a script of your own")
    (name,) = graph.inputs
    op = graph[name].op
    assert isinstance(op, Input)
    return _checked(name, Feature(op.shape, op.dtype))


def _checked(name: str, feature: Feature) -> tuple[str, Feature]:
    if feature.rank != 4:
        raise unfit(f"the input `{name}` is {feature}, which is no picture [N, C, H, W]")
    if isinstance(feature.batch, int) and feature.batch != 1:
        raise unfit(f"the input `{name}` takes {feature.batch} pictures at once, and this is one")
    if feature.dtype not in _TYPES:
        raise unfit(f"the input `{name}` takes {feature.dtype}, which no picture holds")
    return name, feature


@dataclass(frozen=True)
class PictureInputs:
    """The inputs of a net that one picture serves.

    Attributes:
        name: the node of the input that takes it as the network needs it.
        feature: the type of that input.
        guides: the other inputs with their types: they take the picture's bytes, for a CRF.
    """

    name: str
    feature: Feature
    guides: Mapping[str, Feature]


def picture_inputs(graph: Graph) -> PictureInputs:
    """The inputs of a net for one picture: one of any kind, and bytes of the same pixels.

    Raises:
        SegError: E0112 another input needs something else, or the first is no map of one picture.
    """
    types = {name: infer(graph[name].op, ())[0] for name in graph.inputs}
    plain = [name for name, feature in types.items() if feature.dtype != "u8"]
    if len(types) == 1 or len(plain) > 1:
        return PictureInputs(*single_input(graph), {})
    main = plain[0] if plain else next(iter(types))
    guides = {name: feature for name, feature in types.items() if name != main}
    for name, guide in guides.items():
        if guide.rank != 4 or _pixels(guide) != _pixels(types[main]):
            message = f"the input `{name}` is u8{guide}, which is no guide for {types[main]}"
            raise unfit(message, f"a guide has the batch, height and width of `{main}`")
    return PictureInputs(*_checked(main, types[main]), guides)


def _pixels(feature: Feature) -> tuple[Size, ...]:
    return (feature.batch, *feature.shape[2:])


def network_values(
    picture: Picture, wanted: Feature, normalisation: Normalisation, notes: list[str]
) -> NDArray[np.generic]:
    """The picture as the network's input type has it, `[C, H, W]`, before padding.

    Float networks get 0..1, normalised; `u8` networks get 0..255.

    Raises:
        SegError: E0112 the channels or the type do not fit.
    """
    values = _with_channels(picture, wanted.channels, notes)
    if wanted.dtype != "u8":
        return normalisation.applied(values).astype(_TYPES[wanted.dtype])
    if not normalisation.idle:
        raise unfit("this net takes bytes (u8) and normalises by itself", "leave out mean and std")
    if picture.is_array:
        raise unfit("this net takes bytes (u8), and the array holds floats", "give a picture file")
    return np.rint(values * 255).astype(np.uint8)


def _with_channels(picture: Picture, wanted: int, notes: list[str]) -> Floats:
    if picture.channels == wanted:
        return picture.values
    have = f"`{picture.name}` has {picture.channels} channel{'s' if picture.channels > 1 else ''}"
    if picture.is_array:
        last = picture.values.shape[-1] == wanted
        helps = ["the order is [C, H, W]: `array.transpose(2, 0, 1)`"] if last else []
        raise unfit(f"{have}, and this net takes {wanted}", *helps)
    if wanted == 3:
        notes.append("is grey; the net gets it in all 3 channels")
        return np.repeat(picture.values, 3, axis=0)
    if wanted == 1:
        notes.append("is in colour; the net gets its luminance (ITU-R 601)")
        grey: Floats = np.tensordot(_LUMA, picture.values, 1)[None].astype(np.float32)
        return grey
    raise unfit(
        f"{have}, and this net takes {wanted}",
        "give a .npy array of floats, [C, H, W]",
    )
