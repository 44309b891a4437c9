"""The checker of layers and purity finds each kind of fault, and is content with code that has none."""
import pathlib
import subprocess

import pytest

CHECKER = pathlib.Path(__file__).resolve().parents[2] / "scripts/check-layers"

GOOD = {
    "base/slice.h": "#ifndef BASE_SLICE_H\n#define BASE_SLICE_H\n#include <stddef.h>\nstruct slice;\n#endif\n",
    "base/heap.c": "#include \"base/slice.h\"\n#include <stdlib.h>\nvoid *h(void)\n{\n\treturn malloc(1);\n}\n",
    "mail/idn.c": "#include \"base/slice.h\"\n#include <idn2.h>\nstatic const char *const names[] = {\"a\"};\n",
    "smtp/server.c": "#include \"mail/address.h\"\n/* strcpy(a, b); time(NULL); */\nconst char *t = \"system(1)\";\n"
                     "int f(struct s *s)\n{\n\treturn s->read(s) + s->clock.time(s) + my_open(s);\n}\n"
                     .replace("const char *t = ", "static const char *const t = "),
    "queue/store.c": "#include <sqlite3.h>\n#include <unistd.h>\n#include \"smtp/server.h\"\nstatic int open_files;\n",
    "net/loop.c": "#include <time.h>\nlong now(void)\n{\n\tstruct timespec t;\n\tclock_gettime(1, &t);\n"
                  "\treturn t.tv_sec;\n}\n",
    "net/key.c": "int f(void)\n{\n\treturn memcmp(a->name, b->name, 16) || CRYPTO_memcmp(a->secret, b->secret, 32);\n"
                 "}\n",
    "role/queue.c": "#include \"net/loop.h\"\n#include \"base/slice.h\"\n",
}

# A file, its text, and what must be said about it.
BAD = [
    ("mail/x.c", '#include "smtp/server.h"\n', "layer mail comes before layer smtp"),
    ("base/x.h", '#include "codes/reply.h"\n', "layer base comes before layer codes"),
    ("queue/x.c", '#include "net/loop.h"\n', "layer queue comes before layer net"),
    ("net/x.c", '#include "role/queue.h"\n', "layer net comes before layer role"),
    ("mail/x.c", "#include <unistd.h>\n", "layer mail is pure"),
    ("smtp/x.c", "#include <sys/socket.h>\n", "layer smtp is pure"),
    ("policy/x.c", "#include <time.h>\n", "layer policy is pure"),
    ("codes/x.c", "#include <locale.h>\n", "layer codes is pure"),
    ("base/x.c", "#include <idn2.h>\n", "layer base is pure"),
    ("smtp/x.c", "int f(void)\n{\n\treturn time(NULL);\n}\n", "only src/net reads clocks"),
    ("queue/x.c", "int f(void)\n{\n\treturn rand();\n}\n", "only src/net reads clocks"),
    ("role/x.c", "int f(void)\n{\n\treturn clock_gettime(0, &t);\n}\n", "only src/net reads clocks"),
    ("mail/x.c", 'int f(void)\n{\n\treturn getenv("HOME") != NULL;\n}\n', "layer mail is pure"),
    ("codes/x.c", "#include <stdlib.h>\nvoid f(void)\n{\n\texit(1);\n}\n", "layer codes is pure"),
    ("mail/x.c", 'int f(void)\n{\n\treturn printf("x");\n}\n', "layer mail is pure"),
    ("base/x.c", "int f(void)\n{\n\treturn read(0, b, 1);\n}\n", "layer base is pure"),
    ("role/x.c", "void f(void)\n{\n\tstrcpy(a, b);\n}\n", "calls strcpy()"),
    ("cli/x.c", "void f(void)\n{\n\tsprintf(a, b);\n}\n", "calls sprintf()"),
    ("cli/x.c", "int f(void)\n{\n\treturn atoi (b);\n}\n", "calls atoi()"),
    ("cli/x.c", "int f(void)\n{\n\treturn system(b);\n}\n", "calls system()"),
    ("net/x.c", "void f(void)\n{\n\tlocaltime(&t);\n}\n", "calls localtime()"),
    ("net/x.c", "void *f(void)\n{\n\treturn malloc(7);\n}\n", "memory comes from base/heap.h"),
    ("smtp/x.c", "static int count;\n", "a mutable global"),
    ("smtp/x.c", "static char buffer[100];\n", "a mutable global"),
    ("mail/x.c", "struct state s = {0};\n", "a mutable global"),
    ("mail/x.c", "static const char *last;\n#define F 1\nstatic struct x y = {\n\t1\n};\n", "a mutable global"),
    ("net/x.c", "int f(void)\n{\n\treturn memcmp(a->secret,\n\t\tb, 32);\n}\n", "calls memcmp() on a secret"),
    ("role/x.c", "int f(void)\n{\n\treturn slice_eq(s->password, p);\n}\n", "calls slice_eq() on a secret"),
    ("util/x.c", "int x;\n", "is no layer"),
]


def check(root):
    return subprocess.run([CHECKER, "--root", root], capture_output=True, text=True, check=False)


def write(root, files):
    for name, text in files.items():
        path = root / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_good_code_passes(tmp_path):
    write(tmp_path, GOOD)
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name, text, words", BAD, ids=[f"{n}-{w}" for n, _, w in BAD])
def test_each_fault_is_found(tmp_path, name, text, words):
    write(tmp_path, GOOD)
    write(tmp_path, {name: text})
    done = check(tmp_path)
    assert done.returncode == 1
    assert words in done.stdout
    assert f"src/{name}:" in done.stdout


def test_the_line_is_that_of_the_fault(tmp_path):
    write(tmp_path, {"mail/x.c": "/* two\n * lines */\nint a(void);\nint f(void)\n{\n\treturn time(NULL);\n}\n"})
    assert "src/mail/x.c:6: " in check(tmp_path).stdout


def test_tests_write_within_bounds_too(tmp_path):
    write(tmp_path, {"../tests/unit/x.c": "void f(void)\n{\n\tsscanf(a, b);\n\tsprintf(a, b);\n}\n"})
    done = check(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("tests/unit/x.c:4: calls sprintf()")
