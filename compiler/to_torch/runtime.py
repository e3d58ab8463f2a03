"""A package that emitted source imports beside torch: that of a target built upon this one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """What the file imports from it.

    Attributes:
        module: as the import names it, `.kernels.blocks` or an absolute module.
        names: the classes that the file constructs; nothing else in the file may have such a name.
    """

    module: str
    names: tuple[str, ...]

    @property
    def line(self) -> str:
        """The import."""
        return f"from {self.module} import {', '.join(self.names)}"
