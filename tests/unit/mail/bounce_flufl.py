#!/usr/bin/python3
"""The bounces that python3-flufl.bounce was tested with give the addresses and verdicts that its own tests expect.

Samples and expectations are read from the installed package: the table DATA of flufl/bounce/testing/helpers.py has rows
of detector, file, addresses, and True where the failure is temporary. Files without a row have no address.

Usage: bounce_flufl.py BOUNCE_DUMP
"""
import ast
import pathlib
import subprocess
import sys

import flufl.bounce

ROWS = 114
FILES = 115  # one file has two rows, two have none
PACKAGE = pathlib.Path(flufl.bounce.__path__[0])

# What a message without recipients is, by the name of its file; all others are bounces.
KINDS = {"qmail_08.txt": "auto-reply", "groupwise_03.txt": "other"}

# Rows that we do not follow: (detector, file), and why. docs/bounces.md has the same table.
DIFFERENCES = {
    ("groupwise", "groupwise_02.txt"): "the message is one of Exchange, and its own row names the recipient",
}


def expectations():
    tree = ast.parse((PACKAGE / "testing" / "helpers.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "DATA":
            for row in ast.literal_eval(node.value):
                yield row[0], row[1], {a.decode() for a in row[2]}, len(row) > 3
            return
    sys.exit("no table DATA in flufl.bounce")


def read(program, path):
    """The kind, and the addresses by verdict."""
    with open(path, "rb") as message:
        run = subprocess.run([program], stdin=message, check=True, capture_output=True)
    lines = [line.split("\t") for line in run.stdout.decode().splitlines()]
    verdicts = {"permanent": set(), "temporary": set(), "unknown": set()}
    for line in lines[1:]:
        verdicts[line[-1]].add(line[0])
    return lines[0][0], verdicts


def without_absent(addresses):
    return addresses - {"-"}


def main():
    program, wrong, followed = sys.argv[1], [], set()
    rows = list(expectations())
    if len(rows) != ROWS:
        wrong.append(f"{len(rows)} rows; expected {ROWS}")
    paths = sorted((PACKAGE / "tests" / "data").glob("*.txt"))
    named = {name for _, name, _, _ in rows}
    rows += [("none", path.name, set(), False) for path in paths if path.name not in named]
    found = {path.name: read(program, path) for path in paths}

    for detector, name, addresses, temporary in rows:
        kind, verdicts = found[name]
        expected = {"permanent": set(), "temporary": set(), "unknown": set()}
        expected["temporary" if temporary else "permanent"] = addresses
        got = {verdict: without_absent(found) for verdict, found in verdicts.items()}
        differs = got != expected
        if differs != ((detector, name) in DIFFERENCES):
            wrong.append(f"{detector} {name}: {got}, expected {expected}")
        if kind != KINDS.get(name, "bounce"):
            wrong.append(f"{name}: kind {kind}")
        followed.add(name)
    if len(paths) != FILES or len(followed) != FILES:
        wrong.append(f"{len(paths)} files, {len(followed)} compared; expected {FILES}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(rows)} expectations over {FILES} files, {len(DIFFERENCES)} not followed")


main()
