"""Packets in zstd: a file `cpu0.zst` has two frames for each packet, of which `zstd -d` makes the plain file.

The first frame is the packet's head, stored as it is: heads can be looked through without decompressing anything, a
count in one can be changed in place, and its first 13 bytes, zstd's and CTF's, say where a packet begins however
damaged the one before is. The second frame is the rest, 65,440 bytes, with a checksum. So each packet is readable
without the others here, too, and what a killed writer leaves is good up to the last whole packet.

Source: RFC 8878, 3.1.1 (frames, single segment, raw blocks).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from k42fs.machine.tracing.packets import HEAD_BYTES, MAGIC, PACKET_BYTES

if TYPE_CHECKING:
    from typing import BinaryIO

SUFFIX: Final = ".zst"
LEVEL: Final = 3
"""zstd's own default. Of a recorded build 6 makes the files 12 % smaller and takes three times as long."""

BODY_BYTES: Final = PACKET_BYTES - HEAD_BYTES
FRAME: Final = struct.Struct("<IBBHB")
SINGLE_SEGMENT: Final = 0x20
LAST_RAW_BLOCK: Final = HEAD_BYTES << 3 | 1
HEAD_FRAME: Final = FRAME.pack(
    0xFD2FB528, SINGLE_SEGMENT, HEAD_BYTES, LAST_RAW_BLOCK & 0xFFFF, LAST_RAW_BLOCK >> 16
)
HEAD_AT: Final = len(HEAD_FRAME)
"""Where in its two frames a packet's head begins."""

BODY_AT: Final = HEAD_AT + HEAD_BYTES
MARK: Final = HEAD_FRAME + MAGIC.to_bytes(4, "little")
CHUNK_BYTES: Final = 1 << 20


class Piece(NamedTuple):
    """Where in a file a packet's frames are, with whatever follows up to the next packet's."""

    offset: int
    nbytes: int


@cache
def _compress() -> Callable[[bytes], bytes]:
    from zstandard import ZstdCompressor  # 7 ms that only who compresses must wait

    return ZstdCompressor(level=LEVEL, write_checksum=True).compress


def pack_frames(packet: bytes) -> bytes:
    """Return the frames of a whole *packet*."""
    assert len(packet) == PACKET_BYTES, "a whole packet"
    return HEAD_FRAME + packet[:HEAD_BYTES] + _compress()(packet[HEAD_BYTES:])


def unpack_body(piece: bytes) -> bytes:
    """Return what follows the head in the packet whose frames are at the start of *piece*; b"" if it is damaged.

    Never more than a packet's, whatever the frame says of itself.
    """
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size

    try:
        if frame_content_size(piece[BODY_AT:]) != BODY_BYTES:
            return b""
        return ZstdDecompressor().decompress(piece[BODY_AT:], max_output_size=BODY_BYTES)
    except ZstdError:
        return b""


def frames_bytes(piece: bytes) -> int:
    """Return how many bytes the frames at the start of *piece* take; 0 if they are damaged or torn."""
    if not unpack_body(piece):
        return 0
    from zstandard import ZstdDecompressor

    one = ZstdDecompressor().decompressobj()
    one.decompress(piece[BODY_AT:])
    return len(piece) - len(one.unused_data)


def pieces(file: BinaryIO) -> Iterator[Piece]:
    """Yield where the packets of *file* are. What is before the first, if anything, comes as a piece without a MARK."""
    begun, at, held = 0, 0, b""  # *held*: the bytes of the file from *at* on
    while chunk := file.read(CHUNK_BYTES):
        held += chunk
        found = held.find(MARK)
        while found >= 0:
            if at + found > begun:
                yield Piece(begun, at + found - begun)
            begun = at + found
            found = held.find(MARK, found + 1)
        kept = min(len(held), len(MARK) - 1)
        at, held = at + len(held) - kept, held[len(held) - kept :]
    if at + len(held) > begun:
        yield Piece(begun, at + len(held) - begun)
