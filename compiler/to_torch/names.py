"""Names in emitted source: one function makes identifiers, one set says what is taken."""

from __future__ import annotations

import builtins
import keyword
import re

from compiler.to_torch.lower import EmissionError

HEADER_NAMES = frozenset({"torch", "nn", "F", "Tensor", "NamedTuple"})
"""What the header of an emitted file binds."""

TAKEN = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *HEADER_NAMES, "self", "cls", "super"}
)
"""Names that an emitted class, argument or local variable never has."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

MODULE_ATTRIBUTES = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
        "_apply",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_buffers",
        "_call_impl",
        "_compiled_call_impl",
        "_forward_hooks",
        "_forward_hooks_always_called",
        "_forward_hooks_with_kwargs",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_get_backward_hooks",
        "_get_backward_pre_hooks",
        "_get_name",
        "_is_full_backward_hook",
        "_load_from_state_dict",
        "_load_state_dict_post_hooks",
        "_load_state_dict_pre_hooks",
        "_maybe_warn_non_full_backward_hook",
        "_modules",
        "_named_members",
        "_non_persistent_buffers_set",
        "_parameters",
        "_register_load_state_dict_pre_hook",
        "_register_state_dict_hook",
        "_replicate_for_data_parallel",
        "_save_to_state_dict",
        "_slow_forward",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_version",
        "_wrapped_call_impl",
    ]
)
"""Attributes of nn.Module: no child can be called so. A test compares with the installed torch."""

CONTAINER_ATTRIBUTES = frozenset({"clear", "items", "keys", "pop", "update", "values"})
"""Further attributes of nn.ModuleDict, which no key of one can be."""


def is_identifier(text: str) -> bool:
    """Whether a text is an ASCII identifier that may follow a dot."""
    return bool(_IDENTIFIER.match(text)) and not keyword.iskeyword(text)


def can_be_part(part: str) -> bool:
    """Whether a part of a weight path can be the name of a module in a module."""
    return not part_problem(part)


def part_problem(part: str) -> str:
    """Why a part of a weight path cannot name a module; "" if it can."""
    if part in MODULE_ATTRIBUTES:
        return "is an attribute of every torch module"
    if keyword.iskeyword(part):
        return "is a word of Python"
    return "begins with two underscores, which Python renames" if part.startswith("__") else ""


def identifier(text: str) -> str:
    """The identifier that stands for a name of the language.

    Raises:
        EmissionError: the text is no name.
    """
    if not _IDENTIFIER.match(text) or text.startswith("__"):
        raise EmissionError(f"{text!r} cannot be an identifier")
    return text + "_" if text in TAKEN else text


class Names:
    """Hands out identifiers that differ from each other, by a number at the end."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = set(taken)

    def fresh(self, text: str, separator: str = "_") -> str:
        """`text` as an identifier nobody has: `Up`, then `Up_2`."""
        base = identifier(text)
        name, count = base, 1
        while name in self._taken or name in TAKEN:
            count += 1
            name = f"{base}{separator}{count}"
        self._taken.add(name)
        return name


def cleaned(text: str, limit: int = 200) -> str:
    """A text as part of a comment or docstring: one line of printable ASCII, no quotes."""
    kept = "".join(c if 32 <= ord(c) < 127 else " " for c in text)
    kept = kept.replace("\\", "/").replace('"""', "'''").replace('"', "'")
    return kept[:limit].rstrip()
