"""Numbers for columns of integers: equal columns get equal numbers, found again by search."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROOM = 1 << 62
"""Codes stay below this: int64 with a bit to spare."""


class KeyLevel(NamedTuple):
    """Some of the digits, packed behind the number that the digits before them have."""

    digits: range
    low: list[int]
    strides: list[int]
    size: int
    """What the number of the digits before is multiplied by."""
    codes: Tensor
    """The codes that occur, sorted; a code's place is its number."""


def numbered(keys: Tensor, pad: int = 0) -> tuple[list[KeyLevel], Tensor]:
    """A table of the columns of `keys`, and the number of each column.

    Args:
        keys: [digits, columns], integers.
        pad: Columns that are looked up later lie at most so far outside the range of each digit.
            Without it they would get the code of another column.

    Returns:
        One level as long as all digits fit into int64, else more; and int64 [columns]. Numbers
        follow the lexicographic order of the columns.
    """
    low = (keys.amin(1).long() - pad).tolist()
    spans = [high - least + 1 + pad for high, least in zip(keys.amax(1).tolist(), low, strict=True)]
    levels: list[KeyLevel] = []
    numbers = torch.zeros(keys.shape[1], dtype=torch.int64, device=keys.device)
    for digits in packable(spans, ROOM // max(1, keys.shape[1])):
        strides = [0] * len(digits)
        size = 1
        for place in reversed(range(len(digits))):
            strides[place], size = size, size * spans[digits[place]]
        level = KeyLevel(digits, [low[digit] for digit in digits], strides, size, numbers)
        codes, numbers = torch.unique(coded(keys, level, numbers), return_inverse=True)
        levels.append(level._replace(codes=codes))
    return levels, numbers


def packable(spans: list[int], room: int) -> list[range]:
    """Runs of digits whose products of spans stay within `room`."""
    runs, begin, size = [], 0, 1
    for digit, span in enumerate(spans):
        if digit > begin and size * span > room:
            runs.append(range(begin, digit))
            begin, size = digit, 1
        size *= span
    return [*runs, range(begin, len(spans))]


def coded(keys: Tensor, level: KeyLevel, numbers: Tensor) -> Tensor:
    """The codes of a level, given the numbers that the digits before it have."""
    base = sum(low * stride for low, stride in zip(level.low, level.strides, strict=True))
    code = numbers * level.size - base
    for digit, stride in zip(level.digits, level.strides, strict=True):
        code.add_(keys[digit], alpha=stride)
    return code


def found(keys: Tensor, levels: list[KeyLevel]) -> Tensor:
    """The number of each column, -1 where the table does not have it."""
    numbers = torch.zeros(keys.shape[1], dtype=torch.int64, device=keys.device)
    known = torch.ones_like(numbers, dtype=torch.bool)
    for level in levels:
        code = coded(keys, level, numbers)
        numbers = torch.searchsorted(level.codes, code).clamp_(max=len(level.codes) - 1)
        known &= level.codes[numbers] == code
    return numbers.masked_fill_(~known, -1)
