"""What a broken machine says, in plain words: full disks, missing rights, no memory left."""

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forget_audit.errors import MachineError, MemoryShortage, StorageError

KEPT = "what was finished is kept, and the same command goes on from there"
ADVICE = {
    errno.ENOSPC: f"free some space; {KEPT}",
    errno.EDQUOT: f"free some space or ask for a larger quota; {KEPT}",
    errno.EFBIG: f"the system limits the size of files (ulimit -f), raise it; {KEPT}",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "check the rights of the file and its folder, or choose another place",
    errno.EPERM: "check the rights of the file and its folder, or choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file; choose another place",
    errno.EISDIR: "a folder is there; choose another name",
    errno.EEXIST: "something else is there already; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "the links lead in a circle; give the path itself",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) or use fewer workers",
    errno.EAGAIN: "the system starts no more processes or threads; use fewer workers",
    errno.EIO: f"the medium may be failing; {KEPT}",
}
_SHORT = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "unable to allocate",
    "std::bad_alloc",
    "alloc_failed",
)
_GPU = ("cuda error", "cudnn_status", "cublas_status", "nccl error", "hip error")


def storage_error(error: OSError, path: Path | None = None) -> StorageError:
    """Return what went wrong with a file, with the file and what to do.

    Args:
        error: As the system raised it; a write names no file.
        path: The file, if it is known.
    """
    blocked = error.errno in (errno.EEXIST, errno.ENOTDIR)  # by something above the file
    name = (error.filename if blocked else None) or path or error.filename
    place = "" if name is None else f"{os.fsdecode(name)}: "
    advice = ADVICE.get(error.errno or 0, "look at the file and its folder, then run it again")
    return StorageError(f"{place}{error.strerror or error}; {advice}")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Run the body; what the system refuses within it is told with the name of the file.

    Raises:
        StorageError: In the place of an `OSError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


def refuse_irregular(path: Path) -> None:
    """Refuse what is there and no file: to open a pipe that nobody writes to takes for ever.

    Raises:
        OSError: With the path; also if there is nothing.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, of the machine or of a GPU.

    Python has a type for it; PyTorch's processor side and C++ say it in words.
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _SHORT)
    )


def gpu_lost(error: BaseException) -> bool:
    """Say whether an error means that a GPU failed, other than by running out of memory."""
    text = str(error).lower()
    found = isinstance(error, RuntimeError) and any(words in text for words in _GPU)
    return found and not out_of_memory(error)


def memory_error(what: str) -> MemoryShortage:
    """Return what to say when memory ran out although all that can be made smaller was.

    Args:
        what: For which there was none.
    """
    return MemoryShortage(
        f"not enough memory for {what}: use fewer --workers, a smaller network or fewer rows "
        "([data] train, auxiliary), more steps per epoch ([training] steps_per_epoch, which makes "
        f"each step smaller), or a machine with more memory; {KEPT}"
    )


def gpu_error(error: BaseException) -> MachineError:
    """Return what to say when a GPU failed; its driver's first line is all there is to know."""
    line = str(error).strip().partition("\n")[0][:200]
    return MachineError(
        f"the GPU failed ({line}). Nothing is computed on the processor instead, for it rounds "
        f"otherwise and may take days; {KEPT} as soon as the GPU is back, or with --device cpu"
    )


def prepare_streams() -> None:
    """Let this process speak whatever it was started with.

    A file opened later would otherwise take the number of a standard stream that is missing, and
    what is said would be written into it. Letters that a terminal of another time does not know
    are shown as question marks.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            found = os.open(os.devnull, os.O_RDWR)
            if found != number:
                os.dup2(found, number)
                os.close(found)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
        elif number and isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # it leads elsewhere since Python opened it
                stream.reconfigure(errors="replace")
