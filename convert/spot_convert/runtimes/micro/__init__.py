"""Files for microcontrollers: their memory needs in tflite-micro, their predictions, and the model as C++ source."""
