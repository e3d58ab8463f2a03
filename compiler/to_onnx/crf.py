"""Mean-field inference in ONNX: kernels once, then a Loop over the iterations, or all of them.

Everything is f32, also in files of half precision. Kernels over all pairs of pixels are refused
where they would not fit, and the lattice has no form in ONNX: its tables depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.to_onnx.crf_blur import BlurredKernel
from compiler.to_onnx.crf_exact import DenseKernel, SeparableKernel
from compiler.to_onnx.crf_kernels import Kernel, Operands, scaled
from compiler.to_onnx.crf_window import WindowKernel
from compiler.to_onnx.lower import emit
from compiler.to_onnx.site import Site
from segdsl.diagnostics import Diagnostic, SegError, text_helps
from segdsl.infer import at_user
from segdsl.ops.crf import MeanField
from segdsl.ops.terms import Amount, Term
from segdsl.symbolic import Size
from segdsl.types import Feature

EPSILON = 1e-20
"""Added to divisors, as `compiler.crf` does."""

CLIP = 1e-5
"""Probabilities are at least this before their logarithm is taken."""

DENSE = 64 * 64
"""Pixels up to which all pairs are written without `--allow-dense`: a kernel takes 64 MiB."""

WIDEST = 31
"""The widest window that is written: each offset is several nodes."""

PASSES = 50
"""The most iterations that are written out one by one."""


@emit.register
def mean_field(op: MeanField, site: Site, x: ir.Value, *others: ir.Value) -> ir.Value:
    _refuse(op, site)
    start = len(site.values.nodes)
    result = _Inference(op, Operands(op, site, (x, *others))).run()
    site.values.keep_single(start)
    return result


def _refuse(op: MeanField, site: Site) -> None:
    """Raise for what has no form, or none that fits.

    Raises:
        SegError: E6001.
    """
    if not op.terms or not op.iterations:
        return
    if op.method == "lattice":
        helps = ("use `method=window`, or end the graph at the scores and run `segdsl refine`",)
        raise _unwritable(site, "`mean_field(method=lattice)` has no ONNX form", helps)
    if op.method == "window" and op.size > WIDEST:
        message = (
            f"`mean_field` with a window of {op.size} has {op.size**2:,} offsets of some nodes"
        )
        raise _unwritable(site, message, (f"a window of at most {WIDEST}",))
    if site.unroll and op.iterations > PASSES:
        message = f"`mean_field` with {op.iterations} iterations is too long written out"
        raise _unwritable(site, message, ("leave out `--unroll`: a Loop has no limit",))
    dense = op.method == "exact" and any(term.guide is not None for term in op.terms)
    if dense and not site.dense:
        _refuse_dense(site)


def _refuse_dense(site: Site) -> None:
    height, width = site.x.height, site.x.width
    if isinstance(height, int) and isinstance(width, int):
        if height * width <= DENSE:
            return
        size = 4 * (height * width) ** 2 / 2**20
        message = f"`mean_field(method=exact)` at {height}x{width} makes {size:,.0f} MiB of pairs"
        raise _unwritable(
            site, message, ("`method=window`", "`--allow-dense` writes it all the same")
        )
    message = "`mean_field(method=exact)` makes a kernel over all pairs of pixels at any size"
    helps = (
        "fix a size of at most 64x64 pixels with `--size`",
        "`method=window`",
        "`--allow-dense` writes it all the same",
    )
    raise _unwritable(site, message, helps)


def _unwritable(site: Site, message: str, helps: tuple[str, ...]) -> SegError:
    span = site.node.parts.get("method", site.node.span)
    full = f"target `onnx`: {message}"
    found = Diagnostic("E6001", full, span, helps=text_helps(*helps))
    return SegError(at_user(found, site.node.scope))


@dataclass(frozen=True)
class _Message:
    """A kernel with its scales, and what its messages are multiplied by (None: nothing).

    `mixed` ones go through `mix`; the others are added, or subtracted where they repel.
    """

    send: Callable[[ir.Value], ir.Value]
    weight: Amount | None
    attracts: bool
    mixed: bool


class _Inference:
    """Writes one operator."""

    def __init__(self, op: MeanField, reads: Operands) -> None:
        self.op = op
        self.reads = reads
        self.site = reads.site
        self.x = reads.site.x

    def run(self) -> ir.Value:
        """The result, from logits to what is returned."""
        logits = self._logits()
        scores = logits
        if self.op.iterations:
            anchor = self._weighted(self.op.unary_weight, logits)
            messages = list(self._messages()) if self.op.terms else []
            scores = self._iterated(logits, anchor, messages)
        if self.op.returns == "logits":
            return scores
        kind = "Softmax" if self.op.returns == "proba" else "LogSoftmax"
        return self.site.add(kind, scores, axis=1)

    def _logits(self) -> ir.Value:
        x = self.reads.values[0]
        if self.op.given == "energy":
            return self.site.add("Neg", x)
        if self.op.given == "proba":
            return self.site.add("Log", self.site.add("Clip", x, self.site.number(CLIP)))
        return x

    # -- iterations

    def _iterated(self, logits: ir.Value, anchor: ir.Value, messages: list[_Message]) -> ir.Value:
        """The scores after all iterations; a first one on log-probabilities stands alone."""
        left, scores = self.op.iterations, logits
        if self.op.start == "log_softmax":
            scores = self._updated(anchor, messages, self.site.add("LogSoftmax", scores, axis=1))
            left -= 1
        if not messages:
            return anchor
        if self.site.unroll or left <= 1:
            for _ in range(left):
                scores = self._updated(anchor, messages, self._proba(scores))
            return scores
        if anchor is self.reads.values[0]:
            # What the body reads must be f32 in files of half precision as well.
            anchor = self.site.add("Identity", anchor)
        turns = self.site.array(np.array(left, np.int64))

        def body(state: ir.Value) -> ir.Value:
            return self._updated(anchor, messages, self._proba(state))

        return self.site.values.loop(turns, scores, self.x, self.site.stem, body)

    def _proba(self, scores: ir.Value) -> ir.Value:
        return self.site.add("Softmax", scores, axis=1)

    def _updated(self, anchor: ir.Value, messages: list[_Message], q: ir.Value) -> ir.Value:
        """Anchor + mix * (what attracts) - (what repels)."""
        mixed: ir.Value | None = None
        scores = anchor
        for message in messages:
            part = message.send(q)
            if message.weight is not None:
                part = self._weighted(message.weight, part)
            if message.mixed:
                mixed = part if mixed is None else self.site.add("Add", mixed, part)
            else:
                scores = self.site.add("Add" if message.attracts else "Sub", scores, part)
        if mixed is not None and self.op.mix is not None:
            scores = self.site.add("Add", scores, self._weighted(self.op.mix, mixed))
        return scores

    def _weighted(self, amount: Amount, x: ir.Value) -> ir.Value:
        """`x` times a number, by class, or through a matrix over the classes."""
        if amount == 1.0:
            return x
        value, rank = self.reads.amount(amount)
        if rank == 2:
            return self.site.add("Conv", x, value)
        return self.site.add("Mul", x, value)

    # -- messages

    def _messages(self) -> Iterator[_Message]:
        """One message per term; those of windows with plain numbers are summed beforehand."""
        sums: dict[bool, WindowKernel] = {}
        for place, term in enumerate(self.op.terms):
            kernel = self._kernel(place, term)
            pre, post = self._scales(term, kernel)
            attracts = term.weighted_by == "compat"
            mixed = attracts and self.op.mix is not None
            if isinstance(kernel, WindowKernel) and isinstance(term.weight, float):
                weight = term.weight if attracts else -term.weight
                whole = kernel.scaled(pre, post, weight)
                sums[mixed] = whole if mixed not in sums else sums[mixed].plus(whole)
            else:
                send = _sender(self.reads, kernel, pre, post)
                yield _Message(send, term.weight, attracts, mixed)
        for mixed, kernel in sums.items():
            yield _Message(kernel.apply, None, True, mixed)

    def _kernel(self, place: int, term: Term) -> Kernel:
        if self.op.method == "window":
            blurred = self.op.coarseness > 1
            return (BlurredKernel if blurred else WindowKernel).of(self.reads, place, term)
        if term.guide is None:
            return SeparableKernel.of(self.reads, place, term)
        return DenseKernel.of(self.reads, place, term)

    def _scales(self, term: Term, kernel: Kernel) -> tuple[ir.Value | None, ir.Value | None]:
        """What multiplies before and after the kernel; n = K 1."""
        if term.norm is None:
            return None, None
        site, shape = self.site, kernel.images
        n = kernel.apply(_ones(self.reads, shape))
        one = _map(self.x, shape)
        if term.norm == "mean":
            one = Feature((shape, 1, 1, 1))
            n = site.add("ReduceMean", n, site.ints(2, 3), to=one, keepdims=1)
        n = site.add("Add", n, site.number(EPSILON), to=one)
        if term.norm == "symmetric":
            n = site.add("Sqrt", n, to=one)
        scale = site.add("Reciprocal", n, to=one)
        return {
            "symmetric": (scale, scale),
            "before": (scale, None),
            "after": (None, scale),
            "mean": (None, scale),
        }[term.norm]


def _sender(
    reads: Operands, kernel: Kernel, pre: ir.Value | None, post: ir.Value | None
) -> Callable[[ir.Value], ir.Value]:
    def send(q: ir.Value) -> ir.Value:
        return scaled(reads, kernel.apply(scaled(reads, q, pre)), post)

    return send


def _map(x: Feature, images: Size) -> Feature:
    return Feature((images, 1, x.height, x.width))


def _ones(reads: Operands, images: Size) -> ir.Value:
    """A map of ones with one channel."""
    site, x = reads.site, reads.values[0]
    first = site.ints(images) if isinstance(images, int) else site.sizes(x, 0, 1)
    shape = site.join(first, site.ints(1), reads.space(2))
    return site.add("Expand", site.number(1.0), shape, to=_map(site.x, images))
