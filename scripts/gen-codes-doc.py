#!/usr/bin/env python3
"""Writes docs/codes.md: which situation and which test draws each reply code and each enhanced status code.

usage: gen-codes-doc.py [OUT]     OUT is docs/codes.md if not given; "-" is standard output

The facts come from the conformance matrix, tests/e2e/test_conformance.py, which draws each row of
src/codes/replies.def and fails when the committed docs/codes.md differs from what this writes.
"""

import collections
import pathlib
import re
import sys

sys.dont_write_bytecode = True

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODES = ROOT / "src/codes"

Row = collections.namedtuple("Row", "name code status text situation")


def read_rows():
    """The rows of replies.def."""
    text = r'"((?:\\.|[^"\\])*)"'
    row = re.compile(rf"^REPLY\(REPLY_(\w+), (\d+), {text}, {text}, {text}\)$", re.M)
    source = (CODES / "replies.def").read_text("ascii")
    rows = [Row(m[1], int(m[2]), *(re.sub(r"\\(.)", r"\1", m[i]) for i in (3, 4, 5))) for m in row.finditer(source)]
    assert len(rows) == len(re.findall(r"^REPLY\(", source, re.M)), "a row of replies.def is not understood"
    return rows


def read_tsv(name):
    lines = (CODES / "data" / name).read_text("ascii").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def standard_codes():
    """(code, meaning, source) of each reply code that a standard gives."""
    return [(int(r[0]), r[4], r[3]) for r in read_tsv("codes.tsv") if r[1] in ("standard", "extension")]


def registered_statuses():
    """(X.Y.Z, sample text, source) of each registered enhanced code."""
    return [(r[1], r[3], r[7]) for r in read_tsv("statuses.tsv") if r[0] == "detail" and r[2] == "registered"]


HEAD = """# Every code, and what draws it

Made by `scripts/gen-codes-doc.py` from the conformance matrix, `tests/e2e/test_conformance.py`: change that, not this.
Each row of `src/codes/replies.def` is a situation; the test named `test_row[ROW]` draws it from a live server over a
socket and checks the code, the enhanced code, the text, the grammar of the reply and the state of the session behind
it. Enhanced codes that stand in delivery reports rather than in replies name the test that reads such a report.
"""


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def draws_of(rows, later):
    return "<br>".join(f"{cell(row.situation)}: `test_row[{row.name}]`" for row in rows if row.name not in later)


def later_of(rows, later):
    return "<br>".join(f"{cell(row.situation)}: not yet, {cell(later[row.name])}" for row in rows
                       if row.name in later)


def line(key, meaning, rows, later, others, reason):
    """One line of a table; `others` are draws that are no rows, `reason` stands where there is nothing else."""
    parts = [part for part in (draws_of(rows, later), "<br>".join(map(cell, others)), later_of(rows, later)) if part]
    assert bool(parts) != bool(reason), f"{key}: drawn and not drawn, or neither: {parts} {reason}"
    return f"| {key} | {cell(meaning)} | {'<br>'.join(parts) if parts else 'not yet: ' + cell(reason)} |\n"


def render(matrix):
    """The text; `matrix` is the module tests/e2e/test_conformance.py."""
    rows = read_rows()
    codes, statuses = standard_codes(), registered_statuses()
    out = [HEAD]
    drawn = {row.code for row in rows if row.name not in matrix.LATER}
    shown = {re.sub("^.", "X", row.status) for row in rows if row.status and row.name not in matrix.LATER}
    shown |= set(matrix.REPORTS)
    of_codes = sum(code in drawn for code, _, _ in codes)
    of_statuses = sum(status in shown for status, _, _ in statuses)
    out.append(f"\nDrawn: {of_codes} of {len(codes)} reply codes, {of_statuses} of {len(statuses)} enhanced codes, "
               f"by {len(rows) - len(matrix.LATER)} of {len(rows)} situations.\n")
    out.append("\n## Reply codes\n\n| code | meaning | drawn by |\n| --- | --- | --- |\n")
    for code, meaning, _ in codes:
        these = [row for row in rows if row.code == code]
        out.append(line(code, meaning, these, matrix.LATER, [], None if these else matrix.CODES_LATER[code]))
    out.append("\n## Enhanced codes\n\n| code | meaning | drawn by |\n| --- | --- | --- |\n")
    for status, meaning, _ in statuses:
        these = [row for row in rows if re.sub("^.", "X", row.status) == status]
        others = [f"{what}: `{test}`" for what, test in matrix.REPORTS.get(status, [])]
        reason = None if these or others else matrix.STATUSES_LATER[status]
        out.append(line(status, meaning, these, matrix.LATER, others, reason))
    return "".join(out)


def main(args):
    sys.path.insert(0, str(ROOT / "tests/e2e"))
    import test_conformance

    text = render(test_conformance)
    if args == ["-"]:
        sys.stdout.write(text)
    else:
        pathlib.Path(args[0] if args else ROOT / "docs/codes.md").write_text(text, "ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
