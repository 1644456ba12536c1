"""Quantization methods: calibration, bias correction, mixed precision, compression, quantization-aware training."""
