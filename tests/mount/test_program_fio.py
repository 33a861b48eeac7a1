"""fio writes patterns with several jobs and reads them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from .probes import require_direct
from .support import run

COMMON = [
    *("fio", "--name=verify", "--numjobs=8", "--group_reporting", "--fallocate=none", "--minimal"),
    *("--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--randseed=42", "--thread=0"),
]
WORKLOADS: dict[str, list[str]] = {
    "random": ["--rw=randwrite", "--bs=4k", "--ioengine=psync"],
    "sequential": ["--rw=write", "--bs=128k", "--ioengine=psync"],
    "odd sizes": ["--rw=randwrite", "--bsrange=512-64k", "--bs_unaligned", "--ioengine=psync"],
    "mapped": ["--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
    "mixed": ["--rw=randrw", "--bs=16k", "--ioengine=psync", "--fsync=32"],
}


@pytest.mark.parametrize("size", ["1m", pytest.param("64m", marks=pytest.mark.soak)])
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_what_eight_jobs_write_is_read_back(target: Path, workload: list[str], size: str) -> None:
    run([*COMMON, *workload, f"--size={size}", f"--directory={target}"], cwd=target, seconds=1200)


@pytest.mark.parametrize("size", ["1m", pytest.param("64m", marks=pytest.mark.soak)])
def test_what_eight_direct_jobs_write_is_read_back(target: Path, size: str) -> None:
    require_direct(target)
    words = ["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--direct=1", f"--size={size}"]
    run([*COMMON, *words, f"--directory={target}"], cwd=target, seconds=1200)


@pytest.mark.parametrize("size", ["1m", pytest.param("64m", marks=pytest.mark.soak)])
def test_eight_jobs_share_one_file(target: Path, size: str) -> None:
    # Each job has its own part of the file, so that each can verify what it wrote.
    words = ["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--filename=shared", f"--size={size}"]
    run([*COMMON, *words, f"--offset_increment={size}", f"--directory={target}"], cwd=target, seconds=1200)
