"""The engines that turn a Keras network into a quantized body."""
