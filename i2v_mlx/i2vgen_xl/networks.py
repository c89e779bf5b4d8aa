"""Which networks of a model are in memory."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ..model_folder import ModelFolder

NETWORKS = ("text_encoder", "image_encoder", "unet", "vae")


class Networks:
    """Loads a network when it is asked for and lets go of it when its stage is over.

    Attributes:
        keep: nothing is let go.
        staying: these are not let go, because the memory is enough for them beside the others.
        vae_tiling: how the VAE works, whenever it is loaded.
    """

    def __init__(self, folder: ModelFolder, dtype: mx.Dtype, keep: bool):
        self.folder = folder
        self.dtype = dtype
        self.keep = keep
        self.staying: set[str] = set()
        self.vae_tiling = False
        self._loaded: dict[str, nn.Module] = {}
        self._held: set[str] = set()

    @property
    def loaded(self) -> list[str]:
        return sorted(self._loaded)

    def get(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self.folder.load_part(name, self.dtype)
            self.set_vae()
        return self._loaded[name]

    @property
    def may_be_changed(self) -> bool:
        """Whether somebody outside has had one in hand."""
        return bool(self._held)

    def hold(self, name: str) -> Any:
        """The network, which stays from now on: its user may have changed it."""
        self._held.add(name)
        return self.get(name)

    def release(self, *names: str) -> None:
        """These are not needed any more; all of them without names."""
        if not self.keep:
            for name in set(names or NETWORKS) - self._held - self.staying:
                self._loaded.pop(name, None)
        mx.clear_cache()

    def set_vae(self) -> None:
        """Brings a loaded VAE to `vae_tiling`."""
        vae: Any = self._loaded.get("vae")
        if vae is not None:
            (vae.enable_tiling if self.vae_tiling else vae.disable_tiling)()
