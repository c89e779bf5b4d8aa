"""I2VGen-XL: cascaded diffusion from a picture and a prompt to a video (arXiv 2311.04145), the released one-stage model."""
