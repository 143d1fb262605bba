"""The Hugging Face Hub, and the cache on this machine that its client fills.

huggingface_hub reads ``HF_HUB_OFFLINE``, ``HF_ENDPOINT`` and ``HF_HOME`` when it is imported, so it is
imported inside functions. It takes a broken transfer up again where it stopped.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from dofa_cli.errors import DamagedWeights, NoSpace, NoWeights
from dofa_cli.weights.manifest import Checkpoint


def address(wanted: Checkpoint) -> str:
    """Return the address that ``wanted`` is downloaded from; ``HF_ENDPOINT`` changes the server."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision)


def cached(wanted: Checkpoint) -> Path | None:
    """Return the file of ``wanted`` in the client's cache, not checked, or None; asks no server."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision)
    return Path(path) if isinstance(path, str) else None


def announced(path: Path) -> str:
    """Return the sha256 that the hub announced for a cached file: the name of its blob. Empty if unknown."""
    blob = path.readlink().name if path.is_symlink() else ""
    return blob if re.fullmatch("[0-9a-f]{64}", blob) else ""


def discard(path: Path) -> None:
    """Delete a cached file with its blob, which the client would otherwise hand out again."""
    path.resolve().unlink()
    path.unlink(missing_ok=True)


def fetch(wanted: Checkpoint, by_hand: Path, progress: bool = True) -> Path:
    """Download ``wanted`` into the client's cache and return its path there.

    ``by_hand`` is the folder that a :class:`NoWeights` names for a file fetched in another way. Raises also
    :class:`DamagedWeights` for a short transfer and :class:`NoSpace` for a full disk.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # type: ignore[attr-defined]

    bar: Any = None if progress else _silent_bar()
    try:
        return Path(hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision, tqdm_class=bar))
    except LocalEntryNotFoundError as error:  # neither cached nor to be had: the reason is its cause
        raise _unreachable(wanted, by_hand, error.__cause__ or error) from error
    except (HTTPError, RuntimeError) as error:  # RuntimeError is how hf_xet reports a failed transfer
        raise _unreachable(wanted, by_hand, error) from error
    except OSError as error:
        raise _not_kept(wanted, error) from error


def _silent_bar() -> type[Any]:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

    return SilentBar


def _unreachable(wanted: Checkpoint, by_hand: Path, cause: BaseException) -> NoWeights:
    return NoWeights(
        f"'{wanted.name}' is not on this machine and cannot be fetched: {_reason(cause)}. "
        f"Download {wanted.file} from {address(wanted)} elsewhere and put it into {by_hand}, "
        "or set DOFA_WEIGHTS to the folder that has it."
    )


def _reason(cause: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(cause, OfflineModeIsEnabled):
        return "offline mode is on (HF_HUB_OFFLINE)"
    if isinstance(cause, HfHubHTTPError):
        return f"the server answered {cause.response.status_code}"
    return (str(cause) or type(cause).__name__).splitlines()[0].rstrip(".")


def _not_kept(wanted: Checkpoint, error: OSError) -> DamagedWeights | NoSpace | NoWeights:
    """Return the error for a transfer that the disk, or the client's own check of the size, refused."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if error.errno is None:  # the client's "Consistency check failed" comes without a number
        return DamagedWeights(f"'{wanted.name}' arrived damaged: {_reason(error)}. Try again later.")
    if error.errno == errno.ENOSPC:
        return NoSpace(f"No room for {wanted.file} in {HF_HUB_CACHE}. Free some, or set HF_HOME to another disk.")
    return NoWeights(f"Cannot keep {wanted.file} in {HF_HUB_CACHE}: {error.strerror}. Set HF_HOME to another folder.")
