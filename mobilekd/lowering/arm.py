"""An export's golden set on emulated Arm processors."""

from collections.abc import Sequence

from mobilekd.formats.parity_names import GateId, StageId
from mobilekd.lowering import parity
from mobilekd.lowering.exported import Export, ParityReport
from mobilekd.runners.qemu import TRUSTED, outputs

#: Why the rows that Arm processors fill may be empty.
NOT_ASKED = "not asked for; export --verify arm runs the golden set on emulated Arm processors"

NO_SME = (
    "int8 answers are wrong under emulated SME (benchmarks/protocol.md); a phone that has SME must"
    " answer the golden set first"
)


def on_arm(export: Export, report: ParityReport, processors: Sequence[str] = TRUSTED) -> None:
    """The golden set on emulated Arm processors; answers only. Without ``processors`` the table
    says that nobody asked.
    """
    if not export.backend.processor:
        return
    if not processors:
        report.stages.append(parity.unverified(StageId.ARM, StageId.SAVED_FILE, NOT_ASKED))
    for cpu in processors:
        given = [
            one.reshape(want.shape)
            for one, want in zip(
                outputs(export.lowered.model_path, export.golden, cpu), report.golden, strict=True
            )
        ]
        made = parity.stage_rows(
            StageId.ARM,
            StageId.SAVED_FILE,
            given,
            report.golden,
            f"qemu:{cpu}",
            cpu,
            export.threshold,
        )
        report.stages += made
        report.gates.append(
            parity.at_most(
                GateId.GOLDEN_SET,
                max(row.max_error or 0.0 for row in made),
                export.golden_error(ran=True),
                cpu,
            )
        )
    if export.rounded:
        report.stages.append(parity.unverified(StageId.ARM_SME, StageId.SAVED_FILE, NO_SME))
