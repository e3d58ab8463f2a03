"""What `benchmarks/gpu.py` measures: cases of each kernel, how they are checked and timed."""
