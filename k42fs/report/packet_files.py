"""The files of a recording as a row of packets, plain ones and those in zstd alike.

Whatever bytes they hold: a packet without a head that can be read stands in the row with the empty head, what is no
packet at all is counted in `torn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from k42fs.machine.tracing.frames import HEAD_AT, MARK, SUFFIX, Piece, frames_bytes, pieces, unpack_body
from k42fs.machine.tracing.packets import HEAD_BYTES, PACKET_BYTES

METADATA: Final = "metadata"


class PacketFile:
    """A file of packets as they are. `torn` bytes at its end, known when the heads were read, are no whole packet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.torn = 0

    @property
    def plain_name(self) -> str:
        """What the file is called when it is not compressed."""
        return self.name

    def heads(self) -> Iterator[bytes]:
        """Yield the head of each packet. Raises OSError."""
        size = self.path.stat().st_size
        with self.path.open("rb") as source:
            for offset in range(0, size - PACKET_BYTES + 1, PACKET_BYTES):
                source.seek(offset)
                yield source.read(HEAD_BYTES)
        self.torn = size % PACKET_BYTES

    def body(self, index: int, nbytes: int) -> bytes:
        """Return the first *nbytes* after the head of packet *index*; fewer, or none, if they cannot be read."""
        with self.path.open("rb") as source:
            source.seek(index * PACKET_BYTES + HEAD_BYTES)
            return source.read(nbytes)

    def is_whole(self, index: int) -> bool:
        """Tell whether all that there is of packet *index* can be read, and nothing else lies after it."""
        return len(self.body(index, PACKET_BYTES - HEAD_BYTES)) == PACKET_BYTES - HEAD_BYTES


class CompressedFile(PacketFile):
    """The same of a file that was written with --zstd."""

    @property
    def plain_name(self) -> str:
        return self.name.removesuffix(SUFFIX)

    def heads(self) -> Iterator[bytes]:
        self.torn = 0
        if not self._pieces:
            return
        *whole, last = self._pieces
        with self.path.open("rb") as source:
            for piece in whole:
                source.seek(piece.offset)
                start = source.read(HEAD_AT + HEAD_BYTES)
                yield start[HEAD_AT:] if start.startswith(MARK) else b""
            source.seek(last.offset)
            data = source.read(last.nbytes)
        # Nothing says where the last one should end but its own frame.
        used = frames_bytes(data) if data.startswith(MARK) else 0
        if used:
            yield data[HEAD_AT : HEAD_AT + HEAD_BYTES]
        self.torn = len(data) - used

    def body(self, index: int, nbytes: int) -> bytes:
        return unpack_body(self._piece(index))[:nbytes]

    def is_whole(self, index: int) -> bool:
        data = self._piece(index)
        # A packet whose mark is damaged is in the piece before it.
        return frames_bytes(data) == len(data)

    def _piece(self, index: int) -> bytes:
        piece = self._pieces[index]
        with self.path.open("rb") as source:
            source.seek(piece.offset)
            return source.read(piece.nbytes)

    @cached_property
    def _pieces(self) -> list[Piece]:
        with self.path.open("rb") as source:
            return list(pieces(source))


def packet_files(directory: Path) -> list[PacketFile]:
    """Return the files in *directory* that may hold packets, by name. Raises OSError.

    Of a file that is there plain and compressed, as when somebody was interrupted who changes that, one is enough.
    """
    names = {each.name for each in directory.iterdir() if each.is_file() and each.name[0] != "."} - {METADATA}
    kept = names - {name + SUFFIX for name in names}
    return [
        CompressedFile(directory / name) if name.endswith(SUFFIX) else PacketFile(directory / name)
        for name in sorted(kept)
    ]
