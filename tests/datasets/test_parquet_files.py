"""Parquet files with more rows than they can tell apart."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.parquet_files import check_rows


def check_written(file: Path, paths: list[str]) -> None:
    pq.write_table(pa.table({"path": paths}), file, compression="zstd", compression_level=19)
    with pq.ParquetFile(file) as parquet:
        check_rows(parquet, file.stat().st_size)


def test_only_rows_that_differ_can_be_many(tmp_path: Path):
    check_written(tmp_path / "t.parquet", [str(number) for number in range(10**5)])
    with pytest.raises(ValueError, match=r"1000000 rows in \d+ bytes"):
        check_written(tmp_path / "t.parquet", ["a"] * 10**6)
