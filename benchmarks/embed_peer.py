"""The peer of embed.py: runs sentence-transformers in an environment of its own, driven by JSON lines.

    PEER_PYTHON benchmarks/embed_peer.py MODEL_DIR BACKEND      BACKEND: float32, bfloat16, onnx, onnx-int8, openvino-int8

Prints one line when it is ready; then for each line {"texts": [...], "batch": n, "save": path or null} one line
{"seconds": ...}. It imports nothing of Openbook.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")


def main() -> None:
    directory, backend = sys.argv[1:3]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print goes to stderr
    try:
        model, versions = load(directory, backend)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {str(error)[:300]}"}), file=out, flush=True)
        return
    print(json.dumps({"ready": backend, "versions": versions}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        vectors = model.encode(request["texts"], batch_size=request["batch"], normalize_embeddings=True)
        seconds = time.perf_counter() - start
        if request["save"]:
            import numpy as np

            np.save(request["save"], np.asarray(vectors, dtype=np.float32))
        print(json.dumps({"seconds": seconds}), file=out, flush=True)


def load(directory: str, backend: str) -> tuple[Any, dict[str, str]]:
    import sentence_transformers
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer

    versions = {m.__name__: m.__version__ for m in (sentence_transformers, torch, transformers)}
    match backend:
        case "float32":
            model = SentenceTransformer(directory, device="cpu")
        case "bfloat16":
            model = SentenceTransformer(directory, device="cpu", model_kwargs={"torch_dtype": torch.bfloat16})
        case "onnx":
            model = _onnx(directory, {"export": True})
        case "onnx-int8":
            from sentence_transformers.backend import export_dynamic_quantized_onnx_model

            export_dynamic_quantized_onnx_model(_onnx(directory, {"export": True}), "avx512_vnni", directory)
            model = _onnx(directory, {"file_name": "onnx/model_qint8_avx512_vnni.onnx"})
        case "openvino-int8":
            model = _openvino_int8(directory)
        case _:
            raise ValueError(f"backend {backend!r} is not known")
    return model, versions


def _onnx(directory: str, settings: dict[str, Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        directory, device="cpu", backend="onnx", model_kwargs={"provider": "CPUExecutionProvider", **settings}
    )


def _openvino_int8(directory: str) -> Any:
    """Static quantisation, as sentence-transformers exports it; the calibration texts are ours, since its default set
    would be downloaded.
    """
    import nncf
    import openvino
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(directory, device="cpu", backend="openvino", model_kwargs={"export": True})
    inner = model[0].auto_model
    samples = [" ".join([text] * n) for n in (1, 5, 12) for text in CALIBRATION]
    encoded = [dict(model.tokenizer(text, return_tensors="np", truncation=True)) for text in samples]
    names = {port.get_any_name() for port in inner.model.inputs}
    dataset = nncf.Dataset([{k: v for k, v in one.items() if k in names} for one in encoded])
    inner.model = nncf.quantize(inner.model, dataset, model_type=nncf.ModelType.TRANSFORMER)
    inner.request = openvino.Core().compile_model(inner.model, "CPU")
    return model


CALIBRATION = (
    "the quick brown fox jumps over the lazy dog near the river bank",
    "protein expression in cells increases after treatment with the drug",
    "boundary layer flow over a flat plate at high mach number",
    "the company announced its annual report in London on 3 May 2021",
)

if __name__ == "__main__":
    main()
