"""What to write next: for each operator, how it may be applied to the maps that there are.

Each entry chooses operands and arguments at random. What the operator refuses is drawn again, so
the entries state what is worth trying, not what is right.
"""

from tests.support import written_layers, written_moves, written_pointwise, written_sampling
from tests.support.written_pool import ENTRIES

__all__ = ["ENTRIES", "written_layers", "written_moves", "written_pointwise", "written_sampling"]
