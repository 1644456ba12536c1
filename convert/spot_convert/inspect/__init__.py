"""Show what is in any .tflite file: its graph, quantization, compatible runtimes, and the error of each layer."""
