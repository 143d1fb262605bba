"""Make a finished run the embedded default.

Usage: python benchmarks/dofa_tiny/publish.py RUN [reconstruction.png ...]

Writes weights/dofa_tiny.safetensors in half precision, its checksum and size into weights/dofa-tiny.toml, and into
docs/dofa_tiny/ the curves, pictures and list of images that the model card points to.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path

import torch

from dofa_cli.model.checkpoint import load_checkpoint, save_checkpoint
from dofa_cli.weights.checksum import sha256

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "weights" / "dofa_tiny.safetensors"
ENTRY = ROOT / "weights" / "dofa-tiny.toml"
SHOWN = ROOT / "docs" / "dofa_tiny"
DIGITS = 16
"""Of each checksum that is kept: enough to recognise an image."""


def main(run: Path, *pictures: str) -> None:
    save_checkpoint(load_checkpoint(run / "encoder.safetensors").model, CHECKPOINT, torch.float16)
    CHECKPOINT.chmod(0o644)
    entry = re.sub(r"^(sha256|size) = .*\n", "", ENTRY.read_text(), flags=re.MULTILINE)
    facts = f'sha256 = "{sha256(CHECKPOINT, fresh=True)}"\nsize = {CHECKPOINT.stat().st_size}\n'
    ENTRY.write_text(entry.replace("licence =", f"{facts}licence =", 1))
    SHOWN.mkdir(exist_ok=True)
    for picture in ("loss.png", *pictures):
        shutil.copyfile(run / picture, SHOWN / picture)
    write_images(run / "images.csv", SHOWN / "images.csv")
    print(f"{CHECKPOINT}: {CHECKPOINT.stat().st_size / 1e6:.1f} MB")


def write_images(listed: Path, kept: Path) -> None:
    """List the images that were trained on or measured: source, file name, first digits of the checksum."""
    with listed.open(encoding="utf-8", newline="") as file:
        used = [row for row in csv.DictReader(file) if row["use"] in ("trained on", "held out")]
    with kept.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("source", "file", "sha256", "use"))
        table.writerows((row["source"], Path(row["path"]).name, row["sha256"][:DIGITS], row["use"]) for row in used)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
