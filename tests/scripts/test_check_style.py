"""check-style finds each kind of fault that it promises to find."""
import pathlib
import re
import subprocess

import pytest

STYLE = pathlib.Path(__file__).resolve().parents[2] / "scripts/check-style"

BASE = {
    "src/base/a.h": "#ifndef BASE_A_H\n#define BASE_A_H\n#endif\n",
    "src/conf/keys.def": 'KEY("hostname", TEXT)\n',
    "src/cli/commands.c": '\t\t.name = "queue",\n',
    "man/postrider.conf.5": "hostname\n",
    "man/postrider.1": "queue\n",
    "scripts/x": "#!/bin/sh\n",
    ".ci/run": "#!/bin/sh\n",
}

# What replaces or joins the good tree, the check that must fail, and its words.
BAD = [
    ("README.md", "a line \n", "whitespace", "README.md:1: white space at the end"),
    ("README.md", "a line\r\n", "whitespace", "a carriage return"),
    ("README.md", "no end", "whitespace", "no newline at the end"),
    ("src/base/a.c", "/* " + "x" * 120 + " */\n", "columns", "src/base/a.c:1: 126 columns"),
    ("src/base/a.c", "\t" * 15 + "x\n", "columns", "121 columns"),
    ("src/base/a.c", "/* TO" + "DO: more */\n", "unfinished", "reads as unfinished"),
    ("src/base/b.h", "int f(void);\n", "header-guards", "not guarded by BASE_B_H"),
    ("src/mail/b.c", '#include "smtp/x.h"\n', "layers", "layer mail comes before layer smtp"),
    ("src/conf/keys.def", 'KEY("hostname", TEXT)\nKEY("data_dir", TEXT)\n', "man-keys", "key data_dir"),
    ("src/cli/commands.c", '\t\t.name = "trace",\n', "man-commands", "sub-command trace"),
    ("scripts/x", "echo\n", "scripts", "no #! line"),
]


def tree(root, more=()):
    for name, text in [*BASE.items(), *more]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        if name in ("scripts/x", ".ci/run"):
            path.chmod(0o755)


def check(root):
    return subprocess.run([STYLE, "--root", root], capture_output=True, text=True, check=False)


def test_a_good_tree_passes(tmp_path):
    tree(tmp_path)
    done = check(tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed, 0 failed\Z", done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("name, text, failing, words", BAD, ids=[f"{c}-{n}" for n, _, c, _ in BAD])
def test_each_fault_fails_its_check_alone(tmp_path, name, text, failing, words):
    tree(tmp_path, [(name, text)])
    done = check(tmp_path)
    assert done.returncode == 1
    assert re.findall(r"^FAIL (\S+)", done.stdout, re.M) == [failing]
    assert words in done.stdout


def test_a_table_may_be_wide(tmp_path):
    wide = "/* clang-format off */\n/* " + "x" * 120 + " */\n/* clang-format on */\n"
    tree(tmp_path, [("src/base/a.c", wide)])
    assert check(tmp_path).returncode == 0
