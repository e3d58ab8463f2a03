"""Mean-field inference in a fully connected CRF (Krähenbühl & Koltun 2011, arXiv 1210.5644)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compiler.crf.features import Term, Weights
from compiler.crf.features import bilateral as bilateral
from compiler.crf.features import gaussian as gaussian
from compiler.crf.features import pairwise as pairwise
from compiler.crf.messages import Message, Settings, class_weights, messages_of, weighted

METHODS = "lattice", "window", "exact"
GIVEN = "logits", "energy", "proba"
START = "softmax", "log_softmax"
RETURNS = "proba", "logits", "log_proba"
NORMS = "symmetric", "before", "after", "mean", "none"

LEAST = 1e-5
"""Probabilities are at least this before their logarithm is taken."""


def mean_field(
    logits: Tensor,
    terms: Sequence[Term],
    *,
    method: str = "lattice",
    iterations: int = 10,
    window: int = 7,
    blur: int = 1,
    include_self: bool = True,
    mix: Weights | None = None,
    unary_weight: Weights = 1.0,
    given: str = "logits",
    start: str = "softmax",
    returns: str = "proba",
    tail: float = 6e-6,
) -> Tensor:
    """Scores refined by pairwise terms: all pixels update at once, `iterations` times.

    x = unary_weight logits + mix (sum of compat Khat q) - sum of energy Khat q; q = softmax(x).

    Args:
        logits: [N, C, h, w]. Computation is in float32, in float64 where they are float64.
        terms: From `gaussian`, `bilateral`, `pairwise`.
        method: `lattice` (permutohedral, approximate), `window` (cut off) or `exact` (all pairs).
        iterations: At least 0, where the scores themselves are returned.
        window: Side of the window, odd; for `method="window"`.
        blur: Messages are computed on a grid this much coarser: 1 or even; for `window`.
        include_self: Whether a pixel sends a message to itself; `False` not for `lattice`.
        mix: Compatibility matrix [C, C] over the sum of the attracting messages.
        unary_weight: A number or [C].
        given: What `logits` holds: `logits`, `energy` (their negative) or `proba`.
        start: `softmax`, or `log_softmax` for the first message (a habit of ConvCRF).
        returns: `proba`, `logits` (the last x) or `log_proba`.
        tail: Pairs with a kernel below this may be left out; for `exact`; 0 keeps all.

    Returns:
        [N, C, h, w], in the dtype of `logits`; under autocast in float32, as a softmax.

    Raises:
        ValueError: An argument is out of range or does not fit the others, with the shapes;
            scores that are NaN, +inf, or -inf for all classes of a pixel.
    """
    check_word("given", given, GIVEN)
    check_word("start", start, START)
    check_word("returns", returns, RETURNS)
    inputs = [logits, mix, unary_weight, *(part for term in terms for part in term)]
    learned = any(isinstance(part, Tensor) and part.requires_grad for part in inputs)
    tracked = learned and torch.is_grad_enabled()
    settings = Settings(method, window, blur, include_self, tail, tracked)
    check_settings(settings, terms, iterations)
    device = logits.device.type
    wide = torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False):
        scores = unary_scores(logits, given)
        rows = scores if method == "window" else scores.flatten(2).transpose(1, 2)
        axis = 1 if method == "window" else 2
        messages = messages_of(terms, scores, settings, mix is not None)
        mixing = None if mix is None else class_weights(mix, scores, "mix")
        x = rows.contiguous()
        anchor = x
        if not isinstance(unary_weight, (int, float)) or unary_weight != 1:
            anchor = weighted(class_weights(unary_weight, scores, "unary_weight"), x, axis)
        spare: list[Tensor | None] = [None, None]
        if not tracked:
            spare = [torch.empty_like(anchor), torch.empty_like(anchor)]
        for step in range(iterations):
            if step == 0 and start == "log_softmax":
                q = torch.log_softmax(x, axis)
            else:
                q = torch.softmax(x, axis, out=spare[0])
            x = updated(anchor, messages, mixing, q, axis, spare[1])
        if returns != "logits":
            x = (torch.softmax if returns == "proba" else torch.log_softmax)(x, axis)
        out = x if method == "window" else x.transpose(1, 2).reshape(scores.shape)
        if out.data_ptr() == logits.data_ptr():
            out = out.clone()
    return out.contiguous() if wide else out.contiguous().to(logits.dtype)


def updated(
    anchor: Tensor,
    messages: list[Message],
    mixing: Tensor | None,
    q: Tensor,
    axis: int,
    out: Tensor | None,
) -> Tensor:
    """The scores x after one iteration; written to `out` unless a graph is recorded."""
    x = anchor if out is None else out.copy_(anchor)
    total = x if mixing is None else torch.zeros_like(x)
    for message in messages:
        if not message.attracts or mixing is None:
            x = message.added(x, q, axis)
        else:
            total = message.added(total, q, axis)
    return x if mixing is None else x + weighted(mixing, total, axis)


def unary_scores(logits: Tensor, given: str) -> Tensor:
    """The scores as logits, in the precision of the computation.

    Raises:
        ValueError: They are not four-dimensional floats, or hold values without a meaning.
    """
    if logits.dim() != 4 or not logits.is_floating_point() or 0 in logits.shape:
        shape = f"{str(logits.dtype).removeprefix('torch.')} {list(logits.shape)}"
        raise ValueError(f"the scores are [N, C, h, w] in floating point, not {shape}")
    scores = logits if logits.dtype == torch.float64 else logits.float()
    if given == "energy":
        scores = -scores
    elif given == "proba":
        low, high = (float(end) for end in scores.detach().aminmax())
        if not (low >= 0 and high <= 1 + 1e-3):
            raise ValueError(f"probabilities lie in [0, 1], these in [{low:g}, {high:g}]")
        scores = scores.clamp(min=LEAST).log()
    top = scores.detach().amax(1)
    if not bool(top.isfinite().all()):
        kind = "NaN" if bool(top.isnan().any()) else "an infinity"
        raise ValueError(f"the scores {list(logits.shape)} hold {kind}")
    return scores


def check_settings(settings: Settings, terms: Sequence[Term], iterations: int) -> None:
    """Refuse arguments that are out of range or that the method does not take."""
    method, window, blur, own, tail, tracked = settings
    check_word("method", method, METHODS)
    for term in terms:
        check_word("norm", term.norm, NORMS)
    wrong = ""
    if iterations < 0:
        wrong = f"`iterations` is at least 0, not {iterations}"
    elif window < 1 or window % 2 == 0:
        wrong = f"`window` is odd, not {window}"
    elif blur < 1 or (blur > 1 and blur % 2):
        wrong = f"`blur` is 1 or even, not {blur}"
    elif not 0 <= tail < 1:
        wrong = f"`tail` lies in [0, 1), not {tail}"
    elif method != "window" and (window, blur) != (7, 1):
        wrong = f"`window` and `blur` are for method='window', not for {method!r}"
    elif method != "exact" and tail != 6e-6:
        wrong = f"`tail` is for method='exact', not for {method!r}"
    elif method == "lattice" and not own:
        wrong = "the lattice always includes a pixel's own message: use 'window' or 'exact'"
    elif method == "lattice" and tracked and any(learned_sigma(term) for term in terms):
        wrong = "the lattice has no gradient for sigmas: use 'window' or 'exact'"
    if wrong:
        raise ValueError(wrong)


def learned_sigma(term: Term) -> bool:
    """Whether a sigma of the term wants a gradient."""
    return any(isinstance(part, Tensor) and part.requires_grad for part in (term.sxy, term.sigma))


def check_word(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is none of the known ones."""
    if value not in known:
        raise ValueError(f"`{name}` is one of {', '.join(known)}, not {value!r}")
