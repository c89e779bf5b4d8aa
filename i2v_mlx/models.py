"""Which models are here, and where; moves one to another disk, or removes it: ``python -m i2v_mlx models``."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import eight_bit, hub
from .download import held, link, write_ref
from .download_progress import amount
from .errors import I2VError
from .files import atomic, free_bytes, output_error, sha256_of
from .transfer import discard


def move(name: str, folder: Path | str) -> Path:
    """Moves a complete model to another cache and leaves links, so that it is found as before. Returns its new folder.

    Its 8-bit copy goes with it.

    The old files go when the new ones are whole; to break off leaves the model where it was.

    Raises I2VError ``model_not_found``, ``output_folder_missing``, ``disk_full``, ``output_unwritable``,
    ``model_not_linked``, ``download_busy``.
    """
    repo = hub.repository(name)
    old, root = hub.cached(repo), Path(folder).expanduser()
    if old is None:
        raise _not_here(repo)
    if not root.is_dir():
        raise I2VError("output_folder_missing", f"There is no folder {root}.", "Make it, or choose another.")
    new = hub.snapshot(repo, old.name, root)
    with held(old):
        sources = {file: (old / file).resolve() for file in _files(old)}
        sources = {file: at for file, at in sources.items() if not at.is_relative_to(new.parents[1].resolve())}
        small = eight_bit.folder(repo)
        moves = small is not None and small.is_dir() and small.parents[1] != new.parents[1]
        size = sum(at.stat().st_size for at in sources.values()) + (_size(small) if small and moves else 0)
        if free_bytes(root / "model") < size:
            raise I2VError("disk_full", f"{repo} needs {amount(size)} in {root}.", "Choose another disk.")
        for file, at in sources.items():
            _copy(at, new / file)
        if small and moves:
            _copy_folder(small, new.parents[1] / small.parent.name / small.name)
        if repo not in hub.pinned():
            write_ref(new, new.name)
        link(repo, new)
        shared = _used_by_others(old)
        left = [at for at in sources.values() if at not in shared and not at.is_symlink()]  # `link` replaces files
        places = _delete(left, old.parents[1].name)
        if small and moves:
            shutil.rmtree(small.parent, ignore_errors=True)
    _tidy(places)
    return new


def remove(name: str) -> int:
    """Deletes what is here of a model, wherever the cache leads to, and broken-off parts. Returns the bytes freed.

    Its 8-bit copy goes too; by the copy's own name, only that. A file that another revision needs stays.

    Raises I2VError ``model_not_found``, ``download_busy``.
    """
    repo = hub.repository(name)
    folder = _folder(repo)
    if folder is None:
        raise _not_here(repo)
    with held(folder):
        freed = eight_bit.remove(repo)
        if hub.is_eight_bit(name):
            return freed
        shared = _used_by_others(folder)
        parts = list(folder.rglob("*.part"))
        links = [folder / file for file in _files(folder)]
        files = [at for at in (here.resolve() for here in links) if at not in shared and at.exists()]
        freed += sum(path.stat().st_size for path in (*parts, *files))
        for part in parts:
            discard(part.with_suffix(""))
        places = _delete(files, folder.parents[1].name)
        for here in links:
            here.unlink(missing_ok=True)
    _tidy({folder.parents[1], *places})
    return freed


def describe() -> list[str]:
    """Of every model that we know, what is here of it and under which licence."""
    lines = []
    for model in hub.pinned().values():
        folder, whole = _folder(model.repo), hub.cached(model.repo)
        if whole is not None:
            state = f"{amount(sum((whole / file).stat().st_size for file in _files(whole)))} in {hub.real(whole)}"
        elif folder is not None:
            state = f"{amount(sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()))} of " \
                    f"{amount(model.bytes)} fetched; `python -m i2v_mlx download {model.name}` carries on"
        else:
            state = f"not here; `python -m i2v_mlx download {model.name}` fetches {amount(model.bytes)}"
        lines += [f"{model.name}: {state}", f"  licence: {model.licence}. {model.note}"]
        if whole is not None:
            small = eight_bit.folder(model.repo)
            state = f"{amount(_size(small))} in {small}" if small and small.is_dir() else "made of it on first use"
            lines.append(f"{model.name}{hub.EIGHT_BIT}, for Macs with 8 GB: {state}")
    return lines


def _folder(repo: str) -> Path | None:
    """The cache's folder of a model, whole or not."""
    whole, known = hub.cached(repo), hub.pinned().get(repo)
    folder = whole or (hub.snapshot(repo, known.revision) if known else None)
    return folder if folder is not None and folder.is_dir() else None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _files(folder: Path) -> list[str]:
    return hub.wanted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                      if path.is_file() or path.is_symlink())  # the disk that a link leads to may be away


def _used_by_others(folder: Path) -> set[Path]:
    """The files that other revisions in the same repository folder lead to."""
    others = [other for other in folder.parent.iterdir() if other != folder]
    return {path.resolve() for other in others for path in other.rglob("*") if path.is_file()}


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as part:
            shutil.copyfile(source, part)
            if sha256_of(part) != sha256_of(source):
                raise I2VError("model_not_copied", f"{target} did not become what {source} is.", "Check that disk.")
    except OSError as error:
        raise output_error(error, target) from error


def _copy_folder(source: Path, target: Path) -> None:
    if target.is_dir():  # an earlier move was broken off behind it
        return
    try:
        target.parent.mkdir(exist_ok=True)
        with atomic(target) as part:
            shutil.copytree(source, part)
    except OSError as error:
        raise output_error(error, target) from error


def _delete(files: list[Path], name: str) -> set[Path]:
    """Deletes those that lie in a folder of the repository, and returns these folders. Others are the user's own."""
    places = set()
    for file in files:
        place = next((parent for parent in file.parents if parent.name == name), None)
        if place is not None:
            file.unlink()
            places.add(place)
    return places


def _tidy(repositories: set[Path]) -> None:
    """Removes revisions without files, and repositories without revisions."""
    for repository in repositories:
        for revision in (repository / "snapshots").glob("*"):
            if all(path.is_dir() and not path.is_symlink() for path in revision.rglob("*")):
                shutil.rmtree(revision, ignore_errors=True)
        if not any((repository / "snapshots").glob("*")):
            shutil.rmtree(repository, ignore_errors=True)


def _not_here(repo: str) -> I2VError:
    return I2VError("model_not_found", f"The model {repo} is not on this machine.", "`models list` says what is.")
