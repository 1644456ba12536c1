"""Assemble a model file: flatbuffer, float tail, metadata."""
