"""The networks that a command works with, each loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nncodec import Codec


class Network:
    """Codecs by model id, with the options that ``compress``, ``decompress`` and ``verify`` share.

    Nothing is loaded, torch included, before the first codec is asked for.
    """

    def __init__(self, device: str, batch_size: int | None, weights: str | None) -> None:
        self.device = device
        self.batch_size = batch_size
        self.weights = weights
        self.codecs: dict[str | None, Codec] = {}

    def codec(self, model: str | None = None) -> Codec:
        """Return the codec of a model; None: that of --weights, or the default."""
        if model not in self.codecs:
            from nncodec import Codec

            self.codecs[model] = Codec(
                model, self.device, weights=self.weights, batch_size=self.batch_size
            )
        return self.codecs[model]
