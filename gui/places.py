"""Where the app keeps its things."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QStandardPaths

from i2v_mlx.errors import I2VError


@dataclass(frozen=True)
class Places:
    """Folders and files of the app, all below one `state` folder, except the clips, which people may want elsewhere."""

    state: Path
    clips: Path

    @property
    def preferences(self) -> Path:
        return self.state / "preferences.json"

    @property
    def queue(self) -> Path:
        return self.state / "queue.json"

    @property
    def draft(self) -> Path:
        """The settings at the end of the last time."""
        return self.state / "draft.json"

    @property
    def estimates(self) -> Path:
        return self.state / "estimates.json"

    @property
    def library(self) -> Path:
        return self.state / "library.db"

    @property
    def checkpoints(self) -> Path:
        """One ``<job>.safetensors`` for every job that can be resumed."""
        return self.state / "checkpoints"

    @property
    def pictures(self) -> Path:
        """Pictures that came as data (pasted, dragged out of a browser) and so have no file of their own."""
        return self.state / "pictures"

    @property
    def shared(self) -> Path:
        """Finished mp4 files waiting to be dragged out of the window."""
        return self.state / "shared"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def create(self) -> None:
        """Makes the folders. Raises OSError when that is impossible."""
        for folder in (self.state, self.clips, self.checkpoints, self.pictures, self.shared, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def with_clips(self, folder: str) -> tuple[Places, I2VError | None]:
        """These places with another folder for clips ("": the same one), or a notice if it cannot be used."""
        if not folder:
            return self, None
        chosen = dataclasses.replace(self, clips=Path(folder))
        try:
            chosen.create()
        except OSError as error:
            return self, I2VError("clips_folder_missing", f"{folder} cannot be used: {error.strerror}.",
                                  f"New clips go to {self.clips}.")
        return chosen, None

    @classmethod
    def below(cls, root: Path) -> Places:
        """Everything below one folder: for tests and screenshots."""
        return cls(state=root / "state", clips=root / "clips")

    @classmethod
    def standard(cls) -> Places:
        """The folders of this system: ~/Library/Application Support/Livestill and ~/Movies/Livestill on macOS."""
        data = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
        movies = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
        return cls(state=Path(data) / "Livestill", clips=Path(movies) / "Livestill")
