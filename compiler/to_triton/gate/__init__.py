"""The offline gate: kernels compiled for GPUs that are not here, and their machine code read.

`python -m compiler.to_triton.gate --arch sm_90 --json` runs it. It must be a process of its own,
without TRITON_INTERPRET: that variable is read when a kernel is defined.
"""
