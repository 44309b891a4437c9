"""Golden traces: what the simulator tells of each story is, word for word, what stands in golden/NAME.txt.

    tests/sim/test_golden.py build/src/sim/postrider-sim             # shows what differs
    tests/sim/test_golden.py --update build/src/sim/postrider-sim    # writes the files anew: read the difference
"""
import difflib
import pathlib
import subprocess
import sys

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"


def tell(sim, *arguments):
    done = subprocess.run([sim, *arguments], capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def differs(name, wanted, text):
    lines = difflib.unified_diff(wanted.splitlines(), text.splitlines(), f"golden/{name}.txt", "now", lineterm="", n=2)
    print("\n".join(lines))


def main():
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    update = len(arguments) < len(sys.argv) - 1
    names = tell(arguments[0], "--stories")[1].split()
    failed = len(names) < 12
    for name in names:
        path = GOLDEN / f"{name}.txt"
        status, text = tell(arguments[0], "--story", name)
        wanted = path.read_text() if path.exists() else ""
        good = status == 0 and (update or text == wanted)
        if update and status == 0:
            path.write_text(text)
        print("ok" if good else "not ok", name)
        if not good:
            failed = True
            differs(name, wanted, text)
    for path in GOLDEN.glob("*.txt"):
        if path.stem not in names:
            failed = True
            print(f"not ok: no story is called {path.stem}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
