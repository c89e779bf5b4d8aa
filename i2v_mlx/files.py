"""Files: checked before the work, written beside their final name, renamed when whole. Standard library only."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import I2VError

FREE_BYTES = 32 * 2**20  # more than any short clip needs
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PART = re.compile(r"\.(\d+)-[0-9a-f]{8}\.part")


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with its suffix, for a file or a folder that the caller makes there.

    It gets its final name when the block ends well and is removed when anything is raised, KeyboardInterrupt included.
    After a kill -9 only ``.<stem>.<pid>-<random>.part<suffix>`` stays; the next write of that name removes it.

    Raises:
        I2VError: ``disk_full``, ``output_unwritable``.
    """
    path = Path(path)
    sweep(path)
    part = path.with_name(f".{_short(path.stem)}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
        try:
            _sync(part)
            part.replace(path)
        except OSError as error:
            raise output_error(error, path) from error
    except BaseException as error:
        _remove(part)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise output_error(error, path) from error
        raise
    with suppress(OSError):  # not every file system can sync a folder
        _sync_one(path.parent)


def output_error(error: OSError, path: Path) -> I2VError:
    """What to tell the user when writing `path` has failed. Pillow and ffmpeg do not always pass the errno on; a disk
    that was unplugged or is read-only is not a full one."""
    parent = path.absolute().parent
    if error.errno in _FULL:
        return disk_full(path)
    if not parent.exists():
        return I2VError("output_folder_missing", f"There is no folder {parent}.",
                        "If it is on another disk, connect it; then start again.")
    if error.errno is None and free_bytes(path) < 2**20:
        return disk_full(path)
    reason = error.strerror or error
    return I2VError("output_unwritable", f"{path} cannot be written: {reason}.", "Choose another folder.")


def disk_full(path: Path) -> I2VError:
    return I2VError("disk_full", f"There is not enough space for {path}.", "Free some space, or choose another disk.")


def free_bytes(path: Path) -> int:
    """Free space where `path` is going to be; 0 if that place has vanished."""
    try:
        return shutil.disk_usage(path.absolute().parent).free
    except OSError:
        return 0


def check_output(path: Path | str, *, folder: bool = False, needed_bytes: int = FREE_BYTES) -> None:
    """Raises I2VError unless `path` can be written: called before the heavy work.

    `folder` says that a folder is going to be made there; it may exist if it is empty.
    """
    path = Path(path)
    parent = path.absolute().parent
    try:
        if not parent.is_dir():
            raise I2VError("output_folder_missing", f"There is no folder {parent}.", "Make it, or choose another.")
        if path.is_dir() and not folder:
            raise I2VError("output_is_folder", f"{path} is a folder.", "Give the name of a file in it.")
        if folder and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
            raise I2VError("output_exists", f"{path} exists already.", "Give the name of a new or empty folder.")
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise output_error(error, path) from error
    if free_bytes(path) < needed_bytes:
        raise disk_full(path)


def check_input(path: Path, kind: str, max_bytes: int) -> None:
    """Raises I2VError ``<kind>_not_found``, ``_not_a_file`` or ``_too_large``, without opening the file.

    A pipe would block for ever and a device has no end: only regular files pass.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise I2VError(f"{kind}_not_found", f"{str(path)!r} cannot be found.", "Check its name and folder.") from error
    if not stat.S_ISREG(status.st_mode):
        raise I2VError(f"{kind}_not_a_file", f"{str(path)!r} is not a file.", "Give the path of a file.")
    if status.st_size > max_bytes:
        raise I2VError(f"{kind}_too_large", f"{path.name} has {status.st_size / 2**20:.0f} MB.",
                       f"Use a file of at most {max_bytes / 2**20:.0f} MB.")


def unused_path(path: Path | str) -> Path:
    """`path`, or the first of name-2, name-3, ... that does not exist."""
    path = Path(path)
    names = itertools.chain([path], (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def sweep(path: Path) -> None:
    """Removes what killed processes have left of `path`."""
    start = f".{_short(path.stem)}."
    with suppress(OSError):
        for left in path.absolute().parent.iterdir():
            match = _PART.match(left.name, len(start) - 1) if left.name.startswith(start) else None
            if match and not _alive(int(match[1])):
                _remove(left)


def resource(name: str) -> Path:
    """A bundled file or folder: i2v_mlx/resources in an installed wheel, resources at the top of a checkout."""
    package = Path(__file__).parent
    for root in (package / "resources", package.parent / "resources"):
        if (root / name).exists():
            return root / name
    raise I2VError("resource_missing", f"The bundled file {name} is missing.", "Install Livestill again.")


def sha256_of(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _short(stem: str) -> str:
    """Leaves room for the rest of a temporary name, within the 255 bytes of a file name."""
    return os.fsencode(stem)[:180].decode(errors="ignore")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # not ours, but there
        return True
    return True


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink()


def _sync(part: Path) -> None:
    for file in part.rglob("*") if part.is_dir() else ():
        _sync_one(file)
    _sync_one(part)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
