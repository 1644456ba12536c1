"""The table that ends a conversion: what each file is and how close it stayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spot_bench import metrics
from spot_bench.intervals import bootstrap
from spot_bench.tables import align

if TYPE_CHECKING:
    from spot_convert.family import Converted

__all__ = ["family_table"]


def family_table(made: Sequence[Converted]) -> str:
    """One row a file: its size, parity with Keras, temperature, and what it does on validation."""
    rows = [["file", "MB", "max |score - Keras|", "same first rank", "temperature", "balanced accuracy on validation"]]
    for converted in made:
        parity, validation = converted.parity, converted.validation
        balanced = bootstrap(metrics.balanced_accuracy, validation.groups, validation.truth, validation.scores)
        rows.append(
            [
                converted.path.name,
                f"{len(converted.model.content) / 1e6:.2f}",
                f"{parity.largest:.2g}",
                f"{100 * parity.agreement:.1f} % of {parity.images}",
                f"{converted.model.spec.temperature:.3f}",
                f"{balanced.value:.3f} ({balanced.low:.3f} to {balanced.high:.3f}, {balanced.groups} groups)",
            ]
        )
    return "\n".join(align(rows))
