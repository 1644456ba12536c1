"""From bytes to the tensor that the network reads, and checks of image quality."""
