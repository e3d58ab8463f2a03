"""The kernels of the Triton target: a package that needs torch and triton only.

`segdsl compile --target triton` copies it whole beside the emitted module, so it imports nothing of
segdsl. Each file holds one operation: the raw `@triton.jit` kernel, its launcher, the same function
in plain torch (the CPU implementation and, in float64, the reference of tests and benchmarks), the
configurations that may be launched, and the custom op with its fake.
"""
