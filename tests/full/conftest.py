import i2v_mlx  # noqa: F401  before anything that imports mlx: it loads OpenBLAS
