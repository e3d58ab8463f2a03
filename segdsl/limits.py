"""What segdsl refuses for its size: one table of caps, the same in every front end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The caps of a program, from its bytes to its weights.

    The defaults lie far above any published network and far below any harm. A cap is the largest
    value that is accepted; one more is refused with the code named beside it.
    """

    file_bytes: int = 1 << 20  # one source file, in UTF-8: E0020
    files: int = 64  # files of one program: E1011
    program_bytes: int = 4 << 20  # all files of one program: E0020
    import_depth: int = 16  # files that import one another: E1011
    tokens: int = 100_000  # tokens of one file, and of one program: E0022 (--max-tokens)
    nesting: int = 128  # open brackets; levels of an expression or of statements: E0021
    digits: int = 18  # digits of a number: E0012
    exponent_digits: int = 3  # digits of its exponent: E0012
    name_length: int = 64  # characters of a name: E1009
    string_length: int = 4_096  # characters between the quotes: E0013
    comment_length: int = 65_536  # characters of a comment; of a `##` comment in all: E0013
    path: int = 512  # characters of a full weight path: E5010
    integer_bits: int = 63  # magnitude of a compile-time integer: E2020
    list_length: int = 100_000  # elements of a list, turns of one loop: E4005
    block_depth: int = 128  # block instances inside one another: E0021
    evaluation_depth: int = 2_048  # expressions and bodies nested while elaborating: E0021
    steps: int = 2_000_000  # compile-time steps: E4006
    nodes: int = 100_000  # nodes after expansion: E4003 (--max-nodes)
    operands: int = 4_096  # operands of one node: E4007
    ports: int = 256  # inputs and outputs of a net: E4007
    symbolic_sizes: int = 16  # symbolic sizes of a net: E2018
    parameters: int = 1 << 31  # learned numbers of a net: E5008 (--max-params)
    channels: int = 1 << 20  # channels that an operation is told to make: E2009
    kernel: int = 1_025  # kernel along one axis: E2009
    window_attribute: int = 65_536  # stride, padding, dilation, resize factor: E2009
    kernel_extent: int = 1 << 20  # kernel times dilation: E2009
    image_side: int = 1 << 24  # a side of an image in pixels: E2019
    shown_diagnostics: int = 50  # errors a renderer shows before it counts
    kept_diagnostics: int = 1_000  # errors of one file that are collected at all
