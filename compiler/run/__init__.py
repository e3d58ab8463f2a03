"""Running networks on pictures: `segment` for programs, `run` for files."""

from __future__ import annotations

from compiler.run.files import Report, run
from compiler.run.pictures import Picture, read_picture
from compiler.run.prepare import Normalisation
from compiler.run.segment import Segmentation, segment

__all__ = ["Normalisation", "Picture", "Report", "Segmentation", "read_picture", "run", "segment"]
