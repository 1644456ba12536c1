"""Quantization methods: ranges, bias correction, mixed precision, compression, quantization-aware training."""
