"""python convert_weights.py SOURCE TARGET [--dtype float16|float32] [--quantize 8|4]: see i2v_mlx/convert.py."""

import sys

from i2v_mlx.convert import main

if __name__ == "__main__":
    sys.exit(main())
