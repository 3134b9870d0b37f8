"""Embeddings as documents: the same numbers, of the type that the schema describes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.service.embeddings import MOST_NUMBERS, Embeddings, as_json, as_npy
from experiments.service.problems import ServiceError

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TOKENS = arrays(np.float32, st.tuples(*[st.integers(0, 3)] * 3), elements=NUMBERS)


@given(layers=st.dictionaries(st.text(max_size=5), TOKENS, max_size=3))
def test_a_document_holds_what_it_was_made_of(layers):
    about = Embeddings(model="a", seconds=1.5, window_starts=[0.0], tokens=["cls", "é"], layers={})
    read = Embeddings.model_validate_json(as_json(about, layers))
    assert read == about.model_copy(update={"layers": {name: array.tolist() for name, array in layers.items()}})


def test_a_document_that_would_take_the_memory_of_the_service_is_refused():
    about = Embeddings(model="a", seconds=1.5, window_starts=[0.0], tokens=["cls"], layers={})
    long = np.broadcast_to(np.float32(0), (MOST_NUMBERS // 2, 1, 1))
    with pytest.raises(ServiceError, match=r"10,000,002 numbers, .* form=npy") as refused:
        as_json(about, {"a": long, "b": long, "c": long[:2]})
    assert refused.value.status == 422


@given(TOKENS)
def test_a_numpy_file_holds_what_it_was_made_of(array):
    read = np.load(io.BytesIO(as_npy(array)), allow_pickle=False)
    assert read.dtype == np.float32
    assert np.array_equal(read, array)
