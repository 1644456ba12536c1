"""The network: backbones, the evidence head and pretrained weights."""
