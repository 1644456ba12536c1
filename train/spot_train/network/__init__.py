"""The network: backbones, evidence head, pretrained weights."""
