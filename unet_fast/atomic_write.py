"""Write a file so that it is either whole or not there: under another name first, then renamed in one step."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` when the block ends without an exception.

    The temporary file lies in the same folder (a rename across file systems is not atomic) and is removed when the
    block fails: then a file that was at `path` before is left as it was.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write to. It has the same suffix as `path`.

    Raises:
        FileNotFoundError: the folder does not exist, or the block wrote nothing.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: wanted an existing folder to write into, got {target.parent}")
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # the bytes before the name: a power cut must not leave an empty file under it
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(folder: Path, target: Path) -> None:
    """Move a folder that is complete to its place on the same file system; what was there before is removed.

    Args:
        folder: what is moved.
        target: where to. For a moment between two renamings neither the old nor the new folder is there.
    """
    if not target.exists():
        folder.rename(target)
        return
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    target.rename(old)
    folder.rename(target)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink()
