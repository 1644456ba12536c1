"""Run files in every runtime: LiteRT, tflite-runtime in another environment, browsers, microcontrollers."""
