"""Packets in zstd: each by itself, the plain file's bytes for stock tools, and whatever becomes of the bytes."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing.frames import (
    BODY_AT,
    CHUNK_BYTES,
    HEAD_AT,
    MARK,
    SUFFIX,
    Piece,
    frames_bytes,
    pack_frames,
    pieces,
    unpack_body,
)
from k42fs.machine.tracing.mask import LOCK
from k42fs.machine.tracing.packets import HEAD_BYTES, MAGIC, PACKET_BYTES
from k42fs.machine.tracing.recordings import PARTS
from tests.machine.tracing.test_tracer import FullDisk, lab, work


def a_packet(seed: int, noise: bool = False) -> bytes:
    dice = random.Random(seed)
    body = (
        dice.randbytes(PACKET_BYTES - HEAD_BYTES)
        if noise
        else (b"%08d" % seed * 8000)[: PACKET_BYTES - HEAD_BYTES]
    )
    head = MAGIC.to_bytes(4, "little") + dice.randbytes(HEAD_BYTES - 4)
    return head + body.ljust(PACKET_BYTES - HEAD_BYTES, b"\0")


def found(data: bytes) -> list[Piece]:
    return list(pieces(io.BytesIO(data)))


def test_a_packet_comes_back_as_it_was() -> None:
    for packet in (a_packet(1), a_packet(2, noise=True)):
        frames = pack_frames(packet)
        assert frames[HEAD_AT:BODY_AT] == packet[:HEAD_BYTES]
        assert unpack_body(frames) == packet[HEAD_BYTES:]
        assert frames_bytes(frames + b"more") == len(frames)


def test_packets_are_found_wherever_they_lie_also_across_what_is_read_at_a_time() -> None:
    packets = [pack_frames(a_packet(seed, noise=True)) for seed in range(40)]
    data = b"".join(packets)
    assert len(data) > 2 * CHUNK_BYTES
    starts = [sum(map(len, packets[:index])) for index in range(len(packets))]
    assert found(data) == [Piece(at, len(packet)) for at, packet in zip(starts, packets, strict=True)]
    for shift in range(CHUNK_BYTES - len(MARK), CHUNK_BYTES + 1):
        assert found(bytes(shift) + packets[0]) == [Piece(0, shift), Piece(shift, len(packets[0]))]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the command zstd")
def test_the_command_zstd_makes_the_plain_file_of_it(tmp_path: Path) -> None:
    packets = [a_packet(seed, noise=seed == 1) for seed in range(3)]
    (tmp_path / "cpu0.zst").write_bytes(b"".join(map(pack_frames, packets)))
    subprocess.run(["zstd", "-q", "-d", tmp_path / "cpu0.zst"], check=True, timeout=60)
    assert (tmp_path / "cpu0").read_bytes() == b"".join(packets)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 10**9), max_size=3), st.integers(0, 10**9))
def test_whatever_bits_flip_and_wherever_it_ends_nothing_but_packets_comes_back(
    seed: int, flips: list[int], end: int
) -> None:
    packet = a_packet(seed)
    data = bytearray(pack_frames(packet))
    whole = bytes(data)
    for at in flips:
        data[at // 8 % len(data)] ^= 1 << at % 8
    piece = bytes(data[: 1 + end % len(data)])
    body = unpack_body(piece)
    assert body in (b"", packet[HEAD_BYTES:])
    assert frames_bytes(piece) == (len(piece) if body else 0)
    if piece[BODY_AT:] == whole[BODY_AT:]:
        assert body


def test_a_frame_that_promises_more_than_a_packet_is_not_believed() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    assert unpack_body(MARK + bytes(HEAD_BYTES - 4) + bomb) == b""


@pytest.mark.parametrize("limit", [0, 2 * PARTS * PACKET_BYTES])
def test_a_compressed_recording_is_the_plain_one_packet_for_packet(tmp_path: Path, limit: int) -> None:
    """With a bound it holds more, for what counts is what is on disk."""
    kept = {}
    for name, zstd in (("plain", False), ("zstd", True)):
        tracer, cpus = lab()
        tracer.start(tmp_path / name, LOCK, limit, zstd)
        work(tracer, cpus, 200_000 if limit else 60_000)
        status = tracer.stop()
        kept[name] = status.events - status.discarded
        files = {each.name: each for each in (tmp_path / name).iterdir()}
        assert status.bytes_written <= sum(each.stat().st_size for each in files.values()) + 4096 * len(files)
        if limit:
            assert (
                sum(each.stat().st_size for each in files.values() if "cpu" in each.name)
                <= limit + 2 * PACKET_BYTES
            )
            assert status.discarded
    if limit:
        assert kept["zstd"] > 2 * kept["plain"]
        return
    for file in (tmp_path / "plain").iterdir():
        if file.name == "metadata":
            continue
        data = (tmp_path / "zstd" / (file.name + SUFFIX)).read_bytes()
        plain = b"".join(
            data[at + HEAD_AT : at + BODY_AT] + unpack_body(data[at : at + nbytes])
            for at, nbytes in found(data)
        )
        assert plain == file.read_bytes()


def test_a_full_disk_leaves_whole_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK, 0, zstd=True)
    monkeypatch.setattr(os, "write", FullDisk(PACKET_BYTES + 100))
    work(tracer, cpus, 60_000)
    assert "No space left" in tracer.status().failure
    for file in (tmp_path / "t").glob("*.zst"):
        data = file.read_bytes()
        assert found(data)
        assert all(frames_bytes(data[at : at + nbytes]) == nbytes for at, nbytes in found(data)), file
