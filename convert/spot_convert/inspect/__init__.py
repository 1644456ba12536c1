"""Shows what is in any .tflite: its graph, its kind of quantization, its runtimes, and its error layer by layer."""
