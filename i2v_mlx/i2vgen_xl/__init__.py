"""I2VGen-XL: cascaded diffusion from picture and prompt to video (arXiv 2311.04145), the released one-stage model."""
