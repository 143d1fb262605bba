"""Write a small DOFA with random weights, to try the commands without a download. Its features mean nothing."""

import sys
from pathlib import Path

from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import random_dofa


def main(path: Path) -> None:
    config = DofaConfig(version=1, patch_size=16, embed_dim=192, depth=1, num_heads=3)
    save_checkpoint(random_dofa(config, seed=0), path)
    print(f"{path}: random weights, only good for trying things out")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "random.safetensors"))
