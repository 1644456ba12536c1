"""Training: images in, a run directory out. Keras 3 without TensorFlow operators, so any Keras backend trains it."""
