from __future__ import annotations

from openbook.lm.kernels import cpu


def test_what_is_missing_is_named(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset({"avx512f", "avx512bw", "avx512vl"}))
    assert "avx512vnni" in cpu.why_not_int8()
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset(cpu._INT8_NEEDS))
    assert cpu.why_not_int8() == ""
