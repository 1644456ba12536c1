"""The engines that convert a Keras network to a quantized body."""
