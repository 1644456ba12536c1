"""From image files to the tensor that the network reads, and the image quality check."""
