"""Files for microcontrollers: what tflite-micro needs to run one, what it answers, and the file as C source."""
