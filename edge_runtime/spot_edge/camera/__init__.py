"""Cameras as iterators of JPEG bytes: USB dermatoscopes through V4L2, the Pi's own through picamera2, and folders."""
