"""Training and retraining: recipes, many models at once, and what is remembered."""

import os

# Read by PyTorch's matrix library, MKL, when it is first used. Without it products on some
# processors round by how many there are at once, and a model depends on those trained beside it.
os.environ.setdefault("MKL_CBWR", "AUTO")
