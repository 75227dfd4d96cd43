"""The bill of materials of one APK: what every app of ours holds, the runtime and the models that
this one packs. CycloneDX 1.5; ``docs/notices.py`` writes the common part.
"""

import json
from collections.abc import Sequence
from typing import Any

from mobilekd.android.runtime import Runtime
from mobilekd.android.sources import demo_sources
from mobilekd.formats.artifact import Manifest

BILL = "sbom.cdx.json"


def bill(runtime: Runtime, manifests: Sequence[Manifest]) -> str:
    """The whole bill as JSON; the same bytes for the same runtime and artifacts."""
    document: dict[str, Any] = json.loads((demo_sources() / BILL).read_text(encoding="utf-8"))
    document["components"] += [
        {
            "type": "library",
            "bom-ref": "runtime",
            "name": runtime.name,
            "version": runtime.version,
            "hashes": [{"alg": "SHA-256", "content": runtime.sha256}],
            "description": "the ExecuTorch runtime that this app packs",
        },
        *(
            {
                "type": "library",
                "bom-ref": name,
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "description": "given by whoever built this app (--libraries)",
            }
            for name, digest in runtime.own.items()
        ),
        *(_model(manifest, place) for place, manifest in enumerate(manifests, 1)),
    ]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _model(manifest: Manifest, place: int) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": "model" if place == 1 else f"model-{place}",
        "name": f"{manifest.name} ({manifest.precision})",
        "hashes": [
            {"alg": "SHA-256", "content": digest}
            for name, digest in manifest.files.items()
            if name == manifest.model_file
        ],
        "licenses": [{"license": {"name": manifest.provenance.data_licence or "not stated"}}],
        "description": "the model that this app packs; the licence is that of its data",
    }
