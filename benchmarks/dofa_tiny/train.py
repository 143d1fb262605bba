"""Train weights/dofa_tiny.safetensors anew, or go on with it.

Usage: python benchmarks/dofa_tiny/train.py DATA RUN [--after RUN] [--all-bands] [OPTION ...]

DATA is the folder that the paths of config.toml are relative to. RUN becomes the run's folder. With --after it goes on
where another run ended, with the settings of continue.toml. With --all-bands no band of an image is left out in
training, as one embedding a sensor needs it. Further options are those of `dofa pretrain`, for instance --minutes 60
or --ablation no-distillation. Beside RUN stands RUN.toml, the settings with full paths and with the images
that may not be seen.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ALL_BANDS = "--all-bands"
sys.path.insert(0, str(HERE.parent))

from probe_sets import kept_from_training  # noqa: E402

from dofa_cli.cli.main import run  # noqa: E402


def main() -> None:
    data, folder, *options = sys.argv[1:]
    name = "config.toml"
    if options[:1] == ["--after"]:
        name, options = "continue.toml", ["--init", str(Path(options[1]) / "last.pt"), *options[2:]]
    settings = located(tomllib.loads((HERE / name).read_text()), Path(data).resolve())
    if ALL_BANDS in options:
        options.remove(ALL_BANDS)
        settings["data"]["drop_bands"] = 0.0
    config = Path(folder).with_suffix(".toml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(written(settings))
    sys.argv = ["dofa", "pretrain", folder, "--config", str(config), *options]
    run()


def located(settings: dict[str, Any], data: Path) -> dict[str, Any]:
    """Return settings with full paths, and with the images of the probes left out."""
    settings["source"] = [source | {"path": str(data / source["path"])} for source in settings["source"]]
    settings["data"]["exclude"] = [str(path) for path in kept_from_training(data)]
    return settings


def written(settings: dict[str, Any]) -> str:
    """Write tables of plain values, and lists of such tables, as TOML."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not _is_table(value)]
    tables = [
        line
        for name, value in settings.items()
        if _is_table(value)
        for table, entries in (
            [(f"[[{name}]]", one) for one in value] if isinstance(value, list) else [(f"[{name}]", value)]
        )
        for line in ("", table, *(f"{key} = {json.dumps(entry)}" for key, entry in entries.items()))
    ]
    return "\n".join([*plain, *tables]) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


if __name__ == "__main__":
    main()
