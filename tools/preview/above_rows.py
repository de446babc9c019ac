"""What a talk rests on, where a JSON document says it once, above the array of its rows: nobody reads it from there."""

from stages.collect.contexts import name_in_rows, texts_above
from stages.collect.readers import one_a_file
from stages.collect.sources import Columns, Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import normalize
from tools.preview.again import Again
from tools.preview.contexts import said_by, written_out
from tools.preview.sample import MOST_ROWS, Sample, file_of, read_whole


def refuse_above(source: Source, sample: Sample, mapping: Columns | None, again: Again) -> None:
    """Raise where such a text stands above rows that do not say it. `mapping`: None if the names tell nothing."""
    if source.format != "json":
        return
    said = said_by(mapping, sample) if mapping else set()
    for one in one_a_file(source)[:MOST_ROWS]:
        whole = read_whole(one)
        document = whole.rows[0].values if whole else {}
        rows = [row.values for row in sample.rows if file_of(row) == one.path]
        if not rows:
            continue
        for key, texts in texts_above(document, rows, source.array).items():
            if any(normalize(text) not in said for text in texts):
                columns = [f"{field}={name}" for field, name in written_out(mapping).items()] if mapping else []
                command = again.command(columns=columns)
                without = f"look with `{command}`" if columns else "say by --columns which column holds what"
                raise ReprotuneError(
                    f"{one.path}: {key!r} stands above the rows and may hold what all of them rest on, but only rows are read. "
                    f"Put it into each row, under {name_in_rows(key)}, and look again; or {without}, by which it is not used"
                )
