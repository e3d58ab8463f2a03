"""A mean field as a module of a network, with parameters that can be learned."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compiler.crf.densecrf import warn_of_small_guide
from compiler.crf.features import Term
from compiler.crf.field import check_settings, check_word, mean_field
from compiler.crf.messages import Settings

LEARNABLE = "compat", "mix", "sigma"


class MeanField(nn.Module):
    """Refines scores [N, C, h, w] by pairwise terms; see `mean_field` for the arguments.

    Args:
        terms: Made with the guide `None`: guides come with each call.
        learn: Any of `compat` (the weights of all terms, energies too), `mix` and `sigma`.
        classes: C; needed where `mix` is learned from the identity.
        mix: The compatibility matrix to begin with, the identity if `None`.
        settings: Further arguments of `mean_field`.

    Attributes:
        weights: Of each term, where they are learned.
        log_sxy: Logarithms of the places' sigmas, where they are learned: sigmas stay positive.
        log_sigma: The same for the guides' sigmas.
        mix: The matrix, a parameter where it is learned.

    Raises:
        ValueError: An unknown word in `learn`, a setting out of range, a sigma learned on the
            lattice, which has no gradient for it.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        method: str = "lattice",
        iterations: int = 10,
        learn: Iterable[str] = (),
        classes: int | None = None,
        mix: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        wanted = frozenset([learn] if isinstance(learn, str) else learn)
        for word in wanted:
            check_word("learn", word, LEARNABLE)
        if "sigma" in wanted and method == "lattice":
            raise ValueError(
                "the lattice has no gradient for sigmas: learn them with 'window' or 'exact'"
            )
        self.terms = tuple(terms)
        self.settings = {"method": method, "iterations": iterations, **settings}
        self._check()
        self.weights = _parameters([t.weights for t in self.terms], "compat" in wanted)
        sigma = "sigma" in wanted
        self.log_sxy = _parameters([t.sxy for t in self.terms], sigma, logarithm=True)
        self.log_sigma = _parameters([t.sigma for t in self.terms], sigma, logarithm=True)
        self.mix = self._mix(mix, "mix" in wanted, classes)

    def _check(self) -> None:
        """Refuse settings that no call could take."""
        own = {"window": 7, "blur": 1, "include_self": True, "tail": 6e-6} | self.settings
        unknown = set(own) - set(inspect.signature(mean_field).parameters)
        if unknown:
            raise TypeError(f"a mean field has no setting {', '.join(sorted(unknown))}")
        values = (own[name] for name in ("method", "window", "blur", "include_self", "tail"))
        check_settings(Settings(*values), self.terms, own["iterations"])

    @staticmethod
    def _mix(mix: Any, learned: bool, classes: int | None) -> nn.Parameter | None:
        if mix is None and not learned:
            return None
        if mix is None and classes is None:
            raise ValueError("`learn` names the mix: give `classes`, its size")
        start = torch.eye(classes or 0) if mix is None else torch.as_tensor(mix).float()
        return nn.Parameter(start.detach().clone(), requires_grad=learned)

    def forward(self, logits: Tensor, *guides: Tensor) -> Tensor:
        """The refined scores; guides in the order of the terms that need one, or one for all."""
        return mean_field(logits, self._filled(guides), mix=self.mix, **self.settings)

    def _filled(self, guides: Sequence[Tensor]) -> list[Term]:
        """The terms with the guides of this call and the parameters of now."""
        needed = sum(term.sigma is not None for term in self.terms)
        if len(guides) != needed and not (len(guides) == 1 and needed):
            raise ValueError(f"these terms need {needed} guides, or one for all, not {len(guides)}")
        queue = iter(guides if len(guides) == needed else list(guides) * needed)
        filled = []
        for place, term in enumerate(self.terms):
            key = str(place)
            if key in self.weights:
                term = term._replace(weights=self.weights[key])
            if key in self.log_sxy:
                term = term._replace(sxy=self.log_sxy[key].exp())
            if term.sigma is not None:
                guide = next(queue)
                warn_of_small_guide(guide.detach(), _plain(term.sigma))
                term = term._replace(guide=guide)
            if key in self.log_sigma:
                term = term._replace(sigma=self.log_sigma[key].exp())
            filled.append(term)
        return filled

    def extra_repr(self) -> str:
        names = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{len(self.terms)} terms, {names}"


def _parameters(
    values: Sequence[Any], learned: bool, *, logarithm: bool = False
) -> nn.ParameterDict:
    """Parameters by the place of their term, without those that are `None`."""
    found = nn.ParameterDict()
    for place, value in enumerate(values):
        if learned and value is not None:
            start = torch.as_tensor(value, dtype=torch.float32).detach().clone()
            found[str(place)] = nn.Parameter(start.log() if logarithm else start)
    return found


def _plain(sigma: Any) -> Any:
    return sigma.detach().cpu().numpy() if isinstance(sigma, Tensor) else sigma
