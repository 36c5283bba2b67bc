"""Labels that a recipe does not name."""

from __future__ import annotations

import pytest

from openbook.core.config import split_override
from openbook.core.errors import BadData
from openbook.training.data.labelled import LabelledRow, check_labels


def test_the_remedy_names_the_labels_as_the_recipe_wants_them() -> None:
    """Without quotation marks YAML takes no and yes for false and true."""
    rows = [LabelledRow("a", None, "no"), LabelledRow("b", None, "yes"), LabelledRow("c", None, "no")]
    check_labels(rows, ["yes", "no"])
    with pytest.raises(BadData, match="'no'") as caught:
        check_labels(rows, ["good"])
    assert split_override(caught.value.remedy) == ("classifier.labels", ["no", "yes"])
