"""On a busy machine a second thread makes small networks ten times slower."""

import torch

torch.set_num_threads(1)
