"""What every family is made of.

Shapes: B videos, F frames, H and W latent rows and columns, C channels, L = H*W positions, D channels of a head.
Channels come last everywhere: ``(B*F, H, W, C)`` for spatial work, the free view ``(B, F, L, C)`` for temporal work.

Precision: layers compute in the dtype of their weights, except the statistics of norms: float32.
"""
