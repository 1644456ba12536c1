"""Latency, throughput, memory and energy."""
