"""A recording from plain to compressed and back, where it lies.

The new files are made beside the old ones, under names that no reader looks at; when all are whole they take the old
ones' place, one by one. Who is interrupted leaves a recording that can be read: of a file that is there in both forms
readers take one (packet_files.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from k42fs.machine.tracing.frames import BODY_BYTES, SUFFIX, pack_frames
from k42fs.machine.tracing.recordings import is_being_written, write_whole
from k42fs.report.packet_files import METADATA, CompressedFile, PacketFile, packet_files
from k42fs.report.reader import TraceError

HIDDEN: Final = "."
MEND: Final = "nothing was changed: 'k42fs trace fsck --repair NEW' makes a plain copy of what is left"


def pack(directory: Path) -> list[Path]:
    """Compress the plain files of the recording in *directory*; return the new ones.

    Raises:
        TraceError: it is being recorded to, or a file is damaged: nothing has changed.
        OSError: what has changed can be read.
    """
    plain = [each for each in _files(directory) if not isinstance(each, CompressedFile)]
    return _replaced(plain, lambda each: each.name + SUFFIX, lambda packets: map(pack_frames, packets))


def unpack(directory: Path) -> list[Path]:
    """Decompress the files of the recording in *directory*, so that other tools can read it; return the new ones.

    Raises as `pack` does.
    """
    compressed = [each for each in _files(directory) if isinstance(each, CompressedFile)]
    return _replaced(compressed, lambda each: each.plain_name, lambda packets: packets)


def _files(directory: Path) -> list[PacketFile]:
    """Return the files of a recording that nobody writes to."""
    metadata = directory / METADATA
    if not metadata.is_file():
        raise TraceError(f"{directory} holds no recording: it has no metadata")
    if is_being_written(metadata):
        raise TraceError(f"{directory} is being recorded to: end that first")
    return packet_files(directory)


def _replaced(
    files: Iterable[PacketFile],
    name: Callable[[PacketFile], str],
    form: Callable[[Iterator[bytes]], Iterator[bytes]],
) -> list[Path]:
    """Write each file's packets, as *form* gives them, under the new *name*, then take the old files away."""
    made: list[tuple[Path, PacketFile]] = []
    try:
        for file in files:
            path = file.path.with_name(HIDDEN + name(file))
            made.append((path, file))
            with path.open("wb", buffering=0) as out:
                for packet in form(_packets(file)):
                    write_whole(out.fileno(), packet)
    except BaseException:
        for path, _ in made:
            path.unlink(missing_ok=True)
        raise
    for path, file in made:
        os.replace(path, file.path.with_name(name(file)))
        file.path.unlink()
    return [file.path.with_name(name(file)) for _, file in made]


def _packets(file: PacketFile) -> Iterator[bytes]:
    """Yield the packets of *file*. Raises TraceError at the first that cannot be read."""
    for index, head in enumerate(file.heads()):
        if not head or not file.is_whole(index):
            raise TraceError(f"{file.name}: packet {index} is damaged; {MEND}")
        yield head + file.body(index, BODY_BYTES)
    if file.torn:
        raise TraceError(f"{file.name} ends within a packet; {MEND}")
