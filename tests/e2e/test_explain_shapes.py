"""`postrider explain FILE.eml` on bounces, complaints, automatic replies and letters in many shapes: see bounces/."""
import json
import pathlib
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER

FOLDER = pathlib.Path(__file__).parent / "bounces"
KEYS = ["address", "action", "status", "reply", "remote", "class", "verdict"]


def expectations():
    lines = (FOLDER / "expected.tsv").read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def explain(octets):
    done = subprocess.run([str(POSTRIDER), "explain", "--json"], input=octets, capture_output=True, timeout=PATIENCE,
                          check=False)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def described(found):
    return [found["kind"]] + [" ".join("-" if r[key] is None else str(r[key]) for key in KEYS)
                              for r in found["recipients"]]


def test_every_file_is_expected_something_of():
    assert sorted(row[0] + ".eml" for row in expectations()) == sorted(p.name for p in FOLDER.glob("*.eml"))
    assert len(expectations()) >= 75


@pytest.mark.parametrize("name, kind, recipients", [(row[0], row[1], row[2:]) for row in expectations()],
                         ids=[row[0] for row in expectations()])
def test_shape(name, kind, recipients):
    octets = (FOLDER / f"{name}.eml").read_bytes()
    found = explain(octets)
    assert described(found) == [kind, *recipients], found
    assert set(found) == {"kind", "recipients"}
    for one in found["recipients"]:
        assert set(one) == {*KEYS, "diagnostic"}
    assert explain(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == found


@pytest.mark.parametrize("name", [row[0] for row in expectations()])
def test_a_shape_that_is_cut_anywhere_is_read_without_harm(name, tmp_path):
    """Each tenth of the file: what is left may be a letter, a text or nothing, but never a crash."""
    octets = (FOLDER / f"{name}.eml").read_bytes()
    paths = []
    for tenth in range(1, 10):
        paths.append(tmp_path / f"{tenth}.eml")
        paths[-1].write_bytes(octets[:len(octets) * tenth // 10])
    done = subprocess.run([str(POSTRIDER), "explain", "--json", *map(str, paths)], capture_output=True,
                          timeout=PATIENCE, check=False)
    assert done.returncode in (0, 65), done
    for found in json.loads(done.stdout or b"[]"):
        assert "kind" in found or "class" in found
