"""Cameras as iterators of JPEG bytes: USB cameras through V4L2, the Pi camera through picamera2, and folders."""
