"""Files that other people made: found, opened and read with errors a user can act on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from forget_audit.errors import CaseError
from forget_audit.plain_text import utf8

WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
LONGEST_MARK = 4  # bytes by which they are known
EXPECTED: tuple[type[Exception], ...] = (
    OSError, ValueError, EOFError, MemoryError, OverflowError,
)  # fmt: skip


@contextmanager
def reading(name: str, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an error that names the file.

    Args:
        name: Of the file, for the message.
        what: It was read as this.
        errors: Kinds of error besides those of files, numbers and text.

    Raises:
        CaseError: If reading fails.
    """
    try:
        yield
    except CaseError:
        raise
    except EXPECTED + errors as error:
        raise CaseError(f"cannot read {name} as {what}: {error or type(error).__name__}") from error


def regular(path: Path, what: str) -> Path:
    """Return a path, unless it is something that is no file: reading a pipe would never end.

    Raises:
        CaseError: If there is a pipe, a device or a folder.
    """
    if path.exists() and not path.is_file():
        raise CaseError(f"{path.name} is no regular file; expected {what}")
    return path


def refuse_no_text(path: Path) -> None:
    """Refuse a table that is no text in UTF-8, as those that a spreadsheet saves often are.

    Raises:
        ValueError: With what it is instead, or the line.
    """
    with path.open("rb") as file:
        if file.read(LONGEST_MARK).startswith(WORKBOOKS):
            raise ValueError(
                "it is an Excel file or another archive, whatever its name; save the sheet as CSV, "
                "in UTF-8"
            )
        file.seek(0)
        for number, line in enumerate(file, 1):
            utf8(line, number)


def find_folder(path: Path, places: Sequence[str], wanted: str, what: str) -> Path:
    """Return the first folder that holds the file or folder `wanted`.

    Args:
        path: What the user gave.
        places: Sub-folders in which a copy may lie, besides `path` itself.
        wanted: A file or folder that must be there.
        what: The data set, for the message.

    Raises:
        CaseError: If none holds it.
    """
    for folder in (path, *(path / place for place in places)):
        if (folder / wanted).exists():
            return folder
    must_be_folder(path, f"a copy of {what}")
    looked = " or ".join([path.name, *(f"{path.name}/{place}" for place in places)])
    raise CaseError(f"expected {wanted} of {what} in {looked}; unpack the archive there first")


def must_be_folder(path: Path, what: str) -> None:
    """Refuse a path at which there is no folder.

    Raises:
        CaseError: If there is none.
    """
    if not path.is_dir():
        raise CaseError(f"there is no folder {path.name}; expected {what}")


def must_exist(folder: Path, names: Sequence[str], what: str) -> None:
    """Refuse a copy of which files are missing.

    Raises:
        CaseError: With the names of those that are missing.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CaseError(
            f"{folder.name} lacks {len(missing)} of {len(names)} files of {what} "
            f"({', '.join(missing[:3])}); unpack the archive again"
        )


def inside(name: str, where: str) -> str:
    """Return a file name that stands in a table, if it stays inside its folder.

    Args:
        name: Relative path as the table has it.
        where: The table, for the message.

    Raises:
        CaseError: If it is absolute, or leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or path.is_absolute() or PureWindowsPath(name).drive:
        raise CaseError(f"{where}: expected names of files inside the folder, found {name!r}")
    if ".." in path.parts or not path.parts:
        raise CaseError(f"{where}: {name!r} leads out of the folder of the data")
    return path.as_posix()


def identifier(name: str) -> str:
    """Return a file name as an id.

    Raises:
        CaseError: If it is not text.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CaseError(f"the file name {name!r} is not UTF-8; rename the file") from error
    return name


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        CaseError: If it cannot be read.
    """
    with reading(regular(path, "text").name, "text"):
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
