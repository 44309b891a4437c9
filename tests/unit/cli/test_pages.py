"""The manual pages say what the programs say: test_pages.py POSTRIDER SENDMAIL LOG_PAGE"""
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
MAN = ROOT / "man"
POSTRIDER, SENDMAIL, LOG_PAGE = (pathlib.Path(a).resolve() for a in sys.argv[1:4])


def said(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def page(name):
    """The source of a page, as people read it: hyphens are hyphens and fonts are gone."""
    text = (MAN / name).read_text(encoding="ascii")
    return re.sub(r"\\f[BIRP]", "", text).replace("\\-", "-")


def commands():
    return re.findall(r"(?m)^  ([a-z]+) ", said(POSTRIDER, "--help"))


def has(text, option):
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)


class Pages(unittest.TestCase):
    def test_every_command_stands_in_the_page_of_postrider(self):
        text = page("postrider.1")
        self.assertGreaterEqual(len(commands()), 6)
        for command in commands():
            self.assertRegex(text, rf"(?m)^\.BR? {command}\b")
            if command != "help":
                self.assertIn(f"postrider-{command} (1)", text)

    def test_every_option_of_a_command_stands_in_its_page(self):
        for command in commands():
            if command == "help":
                continue
            text, help_text = page(f"postrider-{command}.1"), said(POSTRIDER, command, "--help")
            options = re.findall(r"(?m)^  (?:-(\w),|   ) --([\w-]+)(?: ([A-Z:]+))?", help_text)
            self.assertTrue(options, command)
            for letter, name, argument in options:
                with self.subTest(command=command, option=name):
                    entries = [e for e in re.findall(r"(?m)^\.TP\n(.*)$", text) if has(e, f"--{name}")]
                    self.assertEqual(len(entries), 1)
                    self.assertEqual(bool(letter), bool(letter and has(entries[0], f"-{letter}")))
                    for part in filter(None, argument.split(":")):
                        self.assertIn(part, entries[0])

    def test_no_page_has_an_option_that_is_none(self):
        for command in commands():
            if command == "help":
                continue
            help_text = said(POSTRIDER, command, "--help")
            for entry in re.findall(r"(?m)^\.TP\n(\.B.*)$", page(f"postrider-{command}.1")):
                for option in re.findall(r"(?<![\w-])--?[\w][\w-]*", entry):
                    self.assertTrue(has(help_text, option), (command, option))

    def test_every_word_of_a_command_stands_in_its_page(self):
        for command in ("queue", "user", "domain"):
            words = re.search(r"\[(list[^]]*)\]", said(POSTRIDER, command, "--help")).group(1)
            for word in re.findall(r"\b[a-z]+", words):
                self.assertRegex(page(f"postrider-{command}.1"), rf"(?m)^\.TP\n\.B {word}$")

    def test_every_letter_of_sendmail_stands_in_its_page_and_its_help(self):
        letters = re.search(r'letters\[\] = "([^"]+)"', (ROOT / "src/cli/sendmail.c").read_text()).group(1)
        for letter in re.findall(r"\w", letters):
            with self.subTest(letter=letter):
                self.assertRegex(page("sendmail.1"), rf"(?<![\w-])-{letter}[^\w-]|-{letter}[impsi]\b")
                self.assertRegex(said(SENDMAIL, "--help"), rf"(?<![\w-])-{letter}(?![\w-])|-{letter}[imps.]")

    def test_help_by_both_ways_is_the_same(self):
        for command in commands():
            if command != "help":
                self.assertEqual(said(POSTRIDER, "help", command), said(POSTRIDER, command, "--help"))

    def test_every_event_stands_in_the_page_of_the_log(self):
        table = (ROOT / "src/net/events.def").read_text(encoding="ascii")
        text = LOG_PAGE.read_text(encoding="ascii").replace("\\-", "-")
        names = re.findall(r'(?m)^LOG_EVENT\(\w+, \w+, "([^"]+)"', table)
        self.assertEqual(len(names), table.count("\nLOG_EVENT("))
        for name in names:
            self.assertIn(f"\n.TP\n.B {name}\n", text)

    def test_every_page_is_good_manual_source(self):
        for path in [*sorted(MAN.glob("*.[1-8]")), LOG_PAGE]:
            done = subprocess.run(["man", "--warnings", "-l", str(path)], capture_output=True, text=True, check=False,
                                  timeout=60, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
            with self.subTest(page=path.name):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
                    if section != "SYNOPSIS" or path != LOG_PAGE:
                        self.assertRegex(done.stdout, rf"(?m)^{section}$")

    def test_pages_that_are_referred_to_are_there(self):
        there = {p.name for p in MAN.glob("*.[1-8]")} | {"postrider.conf.5", "postrider-log.5", "postrider-replies.7"}
        for path in MAN.glob("postrider*.[1-8]"):
            for name, section in re.findall(r"(?m)^\.BR ([\w.-]+) \((\d)\)", page(path.name)):
                self.assertIn(f"{name}.{section}", there)


class Check(unittest.TestCase):
    """postrider check, on files of its own."""

    def check(self, text, *args):
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a: b.conf"
            path.write_text(text)
            done = subprocess.run([str(POSTRIDER), "check", *args, str(path)], capture_output=True, text=True,
                                  check=False, timeout=60)
            return path, done

    def test_a_good_file_is_said_to_be_good(self):
        path, done = self.check('hostname = "mx.example.com"\n')
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{path}: good\n", ""))

    def test_each_error_has_file_line_and_the_nearest_name(self):
        path, done = self.check('\nhostnam = "mx.example.com"\n')
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertIn(f"{path}:2: ", done.stderr)
        self.assertIn("hostname", done.stderr)

    def test_json_has_each_problem_taken_apart(self):
        import json
        path, done = self.check('\nhostnam = "mx.example.com"\n', "--json")
        self.assertEqual(done.returncode, 78)
        value = json.loads(done.stdout)
        problem = value["problems"][0]
        self.assertEqual((value["valid"], value["errors"], value["file"]), (False, len(value["problems"]), str(path)))
        self.assertEqual((problem["severity"], problem["file"], problem["line"]), ("error", str(path), 2))
        self.assertNotIn(str(path), problem["text"])

    def test_the_dump_is_a_configuration_that_says_the_same(self):
        _, done = self.check('hostname = "mx.example.com"\n', "--dump")
        self.assertEqual(done.returncode, 0)
        self.assertIn("mx.example.com", done.stdout)
        _, again = self.check(done.stdout, "--dump")
        self.assertEqual((again.returncode, again.stdout), (0, done.stdout))

    def test_a_missing_file_is_an_error_of_configuration(self):
        done = subprocess.run([str(POSTRIDER), "check", "/nonexistent/x.conf"], capture_output=True, text=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 78)
        self.assertIn("/nonexistent/x.conf", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
