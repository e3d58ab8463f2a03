"""The kernels of the Triton target: a package that needs torch and triton only.

`segdsl compile --target triton` copies it whole beside the emitted module, so it imports nothing of
segdsl. Each file holds one operation: the raw `@triton.jit` kernel, its launcher, the same function
in plain torch (the CPU implementation and, in float64, the reference of tests and benchmarks), the
configurations that may be launched, and the custom op with its fake.
"""

from __future__ import annotations

OLDEST = (3, 6)
"""The oldest triton that the kernels were compiled with."""


def _check() -> None:
    """Say what is missing, in place of an error from deep inside.

    Raises:
        ModuleNotFoundError: triton is not installed.
        ImportError: it is too old.
    """
    needed = ".".join(map(str, OLDEST))
    try:
        import triton
    except ModuleNotFoundError as error:
        message = f"the kernels need triton {needed} or newer: pip install 'triton>={needed}'"
        raise ModuleNotFoundError(message, name=error.name) from error
    found = str(triton.__version__)
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise ImportError(f"triton {found} is installed; the kernels need {needed} or newer")


_check()
