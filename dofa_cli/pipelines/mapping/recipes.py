"""Work with a head as another process opens it: the head's file read again, weights loaded once a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dofa_cli.errors import WrongHead
from dofa_cli.heads.build import token_head
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.recipe import OPEN_ENCODERS, Network, RunRecipe, encoder_on, reopened, weights_again
from dofa_cli.pipelines.inference.shards import TileWork, save_map
from dofa_cli.pipelines.mapping.apply_head import HeadFile, open_head
from dofa_cli.pipelines.mapping.from_embedding import Embedding, EmbeddingWork
from dofa_cli.pipelines.mapping.head_model import DenseMap, TokenMap, built_head, map_model, weights_for


@dataclass(frozen=True)
class HeadName:
    """A head's file and its checksum."""

    path: str
    sha256: str

    @classmethod
    def of(cls, file: HeadFile) -> HeadName:
        """Name a head that was read."""
        return cls(str(file.path.absolute()), file.sha256)


@dataclass(frozen=True)
class MapRecipe:
    """The logits of a run through a head."""

    key: str
    run: RunRecipe
    head: HeadName

    def open(self) -> TileWork:
        """Open scene, network and head."""
        weights, encoder, model = _models(self.head, self.run.network)
        return TileWork(reopened(self.run, weights, encoder), save_map, model)


@dataclass(frozen=True)
class EmbeddingRecipe:
    """The logits of stored embeddings."""

    key: str
    embedding: Embedding
    head: HeadName

    def open(self) -> EmbeddingWork:
        """Open embeddings and head."""
        return EmbeddingWork(self.embedding, token_head(head_again(self.head).head))


@lru_cache(maxsize=OPEN_ENCODERS)
def head_again(name: HeadName) -> HeadFile:
    """Read a head once a process; raises :class:`WrongHead` where its file changed."""
    file = open_head(name.path)
    if file.sha256 != name.sha256:
        raise WrongHead(f"{name.path} changed since the run began. Start the run again.")
    return file


@lru_cache(maxsize=OPEN_ENCODERS)
def _models(name: HeadName, network: Network) -> tuple[Weights, Encoder, TokenMap | DenseMap]:
    """Return the weights as the head's training changed them, their encoder, and the head on it."""
    weights = weights_again(network.path, network.name, network.sha256)
    built = built_head(head_again(name).head, weights)
    changed = weights_for(built, weights)
    encoder = encoder_on(network, changed)
    return changed, encoder, map_model(built, encoder)
