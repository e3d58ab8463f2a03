"""Claims about sizes: what the author declares, against what the operators make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from segdsl.analysis.sizes import (
    Condition,
    SizeSet,
    Undecidable,
    condition_of,
    probes,
    solve,
)
from segdsl.analysis.strides import at_stride, last_change, stride
from segdsl.diagnostics import Applicability, Diagnostic, Edit, Help, Label, text_helps
from segdsl.elaborate.net import Elaboration
from segdsl.elaborate.state import Claim, Subject
from segdsl.infer import at_user, is_library
from segdsl.ir import Node
from segdsl.ops.resize import Resize
from segdsl.symbolic import ceil_div, evaluate, floor_div, symbols


def first_outside(allowed: SizeSet, accepted: SizeSet) -> int | None:
    """The smallest size of `allowed` that is not in `accepted`."""
    return next((n for n in probes(allowed, accepted) if n in allowed and n not in accepted), None)


def broken_claims(program: Elaboration, accepted: Mapping[str, SizeSet]) -> Iterable[Diagnostic]:
    """Every claim that is false, or cannot be decided, for some accepted size."""
    told: set[tuple[object, ...]] = set()
    for claim in program.claims:
        for condition in conditions_of(claim):
            problem = disproof(condition, accepted)
            if problem is not None:
                other = _other_stride(program, claim, told)
                yield from [_claim_failure(claim, problem)] if other is None else other
                break


def _other_stride(
    program: Elaboration, claim: Claim, told: set[tuple[object, ...]]
) -> list[Diagnostic] | None:
    """A map at another stride than declared: E3008 behind a resize by a factor, else E3007.

    With the operation that made it so. Nothing where the other axis was told the same; None where
    the strides agree, or one of them has no name.
    """
    subject, found = claim.subject, stride(claim.found)
    whole = stride(claim.declared)
    if claim.code != "E3007" or subject is None or found is None or whole is None:
        return None
    declared = whole * claim.divisor
    if found == declared:
        return None
    key = (subject.what, subject.value, claim.scope, found, declared)
    if key in told:
        return []
    told.add(key)
    change = last_change(program.graph, program.types, subject.value, subject.axis)
    op = change[0].op if change is not None else None
    if change is not None and isinstance(op, Resize) and op.scale is not None:
        like = program.graph.inputs[0] if declared == 1 else "…"
        made = _wrong_factor(claim, change[0], subject, declared, found, like)
    else:
        made = _wrong_stride(claim, change, subject, declared, found)
    return [at_user(made, claim.scope)]


def _wrong_stride(
    claim: Claim,
    change: tuple[Node, Fraction] | None,
    subject: Subject,
    declared: Fraction,
    found: Fraction,
) -> Diagnostic:
    """A map at another stride than declared (E3007), with the operation that last changed it."""
    (symbol,) = symbols(claim.found)
    wanted, here = at_stride(symbol, declared), at_stride(symbol, found)
    message = f"{subject.what} is declared at {wanted} but is at {here}"
    labels: tuple[Label, ...] = ()
    if change is not None and not is_library(change[0].span):
        labels = (Label(change[0].span, _change_words(change[1])),)
    notes = (f"its size is {claim.found}",)
    helps = text_helps(f"declare {here}, or change what halves or enlarges the map before it")
    return Diagnostic("E3007", message, claim.span, labels=labels, notes=notes, helps=helps)


def _change_words(factor: Fraction) -> str:
    if factor.denominator == 1:
        return f"stride {factor} here"
    return f"enlarged {1 / factor}x here"


def _wrong_factor(
    claim: Claim, node: Node, subject: Subject, declared: Fraction, found: Fraction, like: str
) -> Diagnostic:
    """A resize whose factor does not make up for the strides before it (E3008)."""
    op, ratio = node.op, found / declared
    assert isinstance(op, Resize)
    factor = op.factor(subject.axis) * ratio
    (symbol,) = symbols(claim.found)
    wanted = at_stride(symbol, declared)
    share = {Fraction(2): "half", Fraction(1, 2): "twice"}.get(ratio, f"{1 / ratio}")
    message = f"{subject.what} is declared at {wanted}, but is {claim.found}: {share} of it"
    span = node.parts.get("scale", node.span)
    labels = () if is_library(span) else (Label(span, "enlarged here"),)
    words = f"`resize({factor}x)` or `resize(like={like})`"
    alone = not node.scope and isinstance(op.scale, int | float) and "scale" in node.parts
    edits = (Edit(span, f"{factor}x"),) if alone and factor.denominator == 1 else ()
    likely = Applicability.LIKELY if edits else Applicability.TEMPLATE
    return Diagnostic(
        "E3008", message, claim.span, labels=labels, helps=(Help(words, edits, likely),)
    )


def conditions_of(claim: Claim) -> Sequence[Condition]:
    """What a claim says, as comparisons."""
    if claim.condition is not None:
        return [condition_of(claim.condition)]
    if claim.relation == "equal":
        return [Condition(claim.found, "==", claim.declared)]
    return [
        Condition(claim.found, ">=", floor_div(claim.declared, claim.divisor)),
        Condition(claim.found, "<=", ceil_div(claim.declared, claim.divisor)),
    ]


def disproof(condition: Condition, accepted: Mapping[str, SizeSet]) -> dict[str, int] | str | None:
    """An accepted size for which the condition is false; a sentence if it cannot be decided."""
    names = symbols(condition.left) | symbols(condition.right)
    if not names:
        return None if condition.holds({}) else {}
    if len(names) > 1:
        return f"{condition.left} and {condition.right} depend on several sizes"
    (name,) = names
    if name not in accepted:
        return None
    try:
        holds = solve(name, [condition])
    except Undecidable as error:
        return str(error)
    size = first_outside(accepted[name], holds)
    return None if size is None else {name: size}


def _claim_failure(claim: Claim, problem: dict[str, int] | str) -> Diagnostic:
    if isinstance(problem, str):
        note = f"it cannot be decided: {problem}"
    elif not problem:
        note = ""
    else:
        ((name, size),) = problem.items()
        note = f"for {name} = {size} {_claim_values(claim, problem)}"
    diagnostic = Diagnostic(
        claim.code, claim.message, claim.span, labels=claim.labels, notes=(note,) if note else ()
    )
    return at_user(diagnostic, claim.scope)


def _claim_values(claim: Claim, values: Mapping[str, int]) -> str:
    if claim.condition is not None:
        left, right = (evaluate(s, values) for s in (claim.condition.left, claim.condition.right))
        return f"this is {left} {claim.condition.relation} {right}, which is false"
    found = evaluate(claim.found, values)
    declared = evaluate(claim.declared, values)
    shown = str(declared) if claim.divisor == 1 else f"{declared}/{claim.divisor}"
    return f"it is {found}, declared {shown}"
