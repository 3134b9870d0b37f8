"""Misbehaving clients and killed decoders; `python -m benchmarks.service_chaos` does the same 2,000 times."""

from __future__ import annotations

from collections import Counter

from benchmarks.service_chaos import CUT, LEFT, answers, composed, ended, hammered, serving

REST = 1.0  # seconds


def test_every_request_gets_its_own_answer_and_nothing_is_left(tmp_path):
    uploads = composed()
    with serving(tmp_path) as service:
        expected = answers(service.port, uploads)
        good = [expected[one.body] for one in uploads if one.kind == "good"]
        assert len({body for status, body in good if status == 200}) == len(good)
        assert not hammered(service, uploads, expected, 48, 8).wrong
        before = service.state(REST)
        outcome = hammered(service, uploads, expected, 60, 8, kills=3.0)
        after = service.state(REST)
        assert not outcome.wrong
        kinds = Counter(kind for kind, _ in outcome.statuses)
        assert kinds.total() == 60
        assert min(kinds[kind] for kind in ("good", "damaged", "empty", "too large", CUT, LEFT)) > 0
        assert outcome.killed > 0
        assert (after.uploads, after.files) == (0, before.files)
        assert after.processes <= before.processes
        assert after.memory < 1.1 * before.memory
        assert ended(service) == 0
        assert list(service.temporary.iterdir()) == []
