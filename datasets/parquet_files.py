"""Parquet files that anybody may have written."""

from __future__ import annotations

import pyarrow.parquet as pq

ROWS_A_BYTE = 64  # of a compressed table: ids that differ take more


def check_rows(parquet: pq.ParquetFile, size: int) -> None:
    """Refuse more rows than a table of tracks can have in a file of `size` bytes: equal ones take next to none.

    Raises:
        ValueError: There are more.
    """
    if parquet.metadata.num_rows > ROWS_A_BYTE * size:
        raise ValueError(f"{parquet.metadata.num_rows} rows in {size} bytes")
