"""What an operator is: a frozen dataclass whose fields are its signature in the language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, TypeVar, get_type_hints

from segdsl.taps import Nothing, Sliding, Taps, Whole
from segdsl.types import Axis, Everywhere, Feature, Param, Requirement, Window


class RuleError(Exception):
    """An operator refuses its arguments or operands.

    Knows nothing of spans: `blame` names the attribute (str) or operand slots (int) at fault and
    `segdsl.infer` turns that into carets. `code` is the diagnostic code, `help` advice, `notes`
    facts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        blame: str | int | tuple[str | int, ...] = (),
        help: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.blame = blame if isinstance(blame, tuple) else (blame,)
        self.help = help
        self.notes = notes


class Op:
    """Base of all operators: subclass as a frozen dataclass and register with `@operator`.

    Fields before `KW_ONLY` may be given unnamed in the language, after the operands. A subclass
    states
    `infer`, and either `window` or `taps`; nothing is pointwise by default. `__post_init__` refuses
    arguments that are wrong on their own, so a wrong operator cannot exist.
    """

    name: ClassVar[str]
    operands: ClassVar[tuple[str, ...]] = ("x",)
    """Names of the operands, in slot order."""
    optional: ClassVar[int] = 0
    """How many of the last operands may be left out."""
    variadic: ClassVar[bool] = False
    """The single operand is a list of maps: any number (at least one) of slots."""
    slotted: ClassVar[bool] = False
    """Some fields may be given by maps: their values follow the operands, and the fields hold
    `Slot`s."""
    sizes_only: ClassVar[frozenset[str]] = frozenset()
    """Operands of which only height and width are read (`like`)."""
    internal: ClassVar[bool] = False
    """The language does not know the name: made by syntax or by passes only."""
    random: ClassVar[bool] = False
    """Draws random numbers in training: never merged."""

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the results; depends on attributes only."""
        return ("y",)

    def infer(self, *inputs: Feature) -> Feature | tuple[Feature, ...]:
        """Types in, types out: one feature per name in `results`. Raises RuleError."""
        raise NotImplementedError

    def requirements(self, *inputs: Feature) -> Iterable[Requirement]:
        """Conditions on sizes that must hold for every accepted input size."""
        return ()

    def window(self, axis: Axis) -> Window | Everywhere:
        """Short form of `taps` for operators that slide one window over their operands."""
        raise NotImplementedError

    def taps(self, slot: int, axis: Axis, *inputs: Feature) -> Taps:
        """Which indices of operand `slot` an output index reads along `axis`.

        `inputs` are the operands' types.
        """
        if self.operand_name(slot) in self.sizes_only:
            return Nothing()
        window = self.window(axis)
        return Whole() if isinstance(window, Everywhere) else Sliding(window=window)

    def params(self, *inputs: Feature) -> Mapping[str, Param]:
        """The arrays of the operator by tensor name, in state_dict order."""
        return {}

    def macs(self, *inputs: Feature) -> int:
        """Multiply-accumulates at these (known) sizes, for the batch they state."""
        return 0

    @property
    def macs_at_most(self) -> bool:
        """Whether `macs` is a bound, because the cost depends on the data."""
        return False

    def operand_name(self, slot: int) -> str:
        """The name of the operand in a slot."""
        return self.operands[0] if self.variadic else self.operands[slot]


OPS: dict[str, type[Op]] = {}
"""Every operator by its name in the language."""

Operator = TypeVar("Operator", bound=type[Op])


def operator(cls: Operator) -> Operator:
    """Register an operator class. Refuses one that states neither `window` nor `taps`.

    Raises:
        TypeError: the class inherits both `window` and `taps`, or its name is taken.
    """
    if cls.window is Op.window and cls.taps is Op.taps:
        raise TypeError(
            f"operator {cls.name!r} states neither window nor taps; nothing is pointwise by default"
        )
    if cls.name in OPS:
        raise TypeError(f"operator {cls.name!r} is defined twice")
    OPS[cls.name] = cls
    return cls


_SIGNATURES: dict[type[Op], Mapping[str, tuple[Field[Any], Any]]] = {}


def signature(cls: type[Op]) -> Mapping[str, tuple[Field[Any], Any]]:
    """The fields of an operator with their resolved types, in order.

    The only table of its arguments.
    """
    if cls not in _SIGNATURES:
        hints = get_type_hints(cls)
        own = fields(cls)  # type: ignore[arg-type]
        _SIGNATURES[cls] = {field.name: (field, hints[field.name]) for field in own}
    return _SIGNATURES[cls]
