"""docs/codes.html: made of the data, whole without a server, and its search finds: test_page.py PAGE POSTRIDER"""
import html.parser
import json
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE, POSTRIDER = (pathlib.Path(a).resolve() for a in sys.argv[1:3])


class Reader(html.parser.HTMLParser):
    """The articles with their attributes and text, links, ids, and whether tags are closed."""

    VOID = {"meta", "input", "br", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.articles, self.links, self.ids, self.tags = [], [], [], [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[k] for k in ("href", "src", "action") if k in attrs]
        if tag == "article":
            self.articles.append((attrs, []))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if "article" in self.open:
            self.articles[-1][1].append(data)


def read_page():
    reader = Reader()
    reader.feed(PAGE.read_text("utf-8"))
    reader.close()
    return reader


def tsv(name):
    lines = (ROOT / "src/codes/data" / name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def rows_of_page():
    return [{"code": a["data-code"], "classes": a["data-classes"], "class": a["data-class"], "actor": a["data-actor"],
             "verdict": a["data-verdict"], "kind": a["data-kind"], "text": "".join(text).lower()}
            for a, text in read_page().articles]


def javascript(lines):
    """What the lines print, behind the page's own script."""
    script = re.search(r"<script>(.*)</script>", PAGE.read_text("utf-8"), re.S).group(1)
    source = PAGE.parent / "codes-page-test.js"
    source.write_text(script + "\n" + lines, "utf-8")
    done = subprocess.run(["duk", str(source)], capture_output=True, text=True, check=False, timeout=60)
    source.unlink()
    assert done.returncode == 0, done
    return done.stdout


def search(words, **wanted):
    """The codes that the page's search leaves, in the order of the page."""
    out = javascript(f"var rows = {json.dumps(rows_of_page())};\n"
                     f"rows.forEach(function (row) {{ if (fits(row, {json.dumps(words.split())}, "
                     f"{json.dumps(wanted)})) print(row.code); }});\n")
    return out.split()


def listed(*args):
    done = subprocess.run([str(POSTRIDER), "codes", "--json", *args], capture_output=True, text=True, check=False,
                          timeout=60)
    return [row["code"] for row in json.loads(done.stdout)]


class Page(unittest.TestCase):
    def test_the_page_in_docs_is_the_one_that_the_build_makes(self):
        self.assertTrue(PAGE.read_text("utf-8") == (ROOT / "docs/codes.html").read_text("utf-8"),
                        "run scripts/gen-codes-page.py")

    def test_every_row_of_the_data_is_an_article(self):
        codes = sorted(a["data-code"] for a, _ in read_page().articles)
        self.assertEqual(codes, sorted([r[0] for r in tsv("codes.tsv")] + [r[1] for r in tsv("statuses.tsv")]))

    def test_every_article_tells_meaning_advice_and_source(self):
        texts = {}
        for attrs, text in read_page().articles:
            texts.setdefault(attrs["data-code"], []).append(re.sub(r"\s+", " ", "".join(text)).lower())
        for code, meaning, advice, source in [(r[0], r[4], r[9], r[3]) for r in tsv("codes.tsv")] + [
                (r[1], r[6], r[9], r[7]) for r in tsv("statuses.tsv")]:
            for part in (meaning, advice, source):
                self.assertTrue(any(part.lower() in text for text in texts[code]), (code, part))

    def test_it_needs_nothing_beside_itself(self):
        page, text = read_page(), PAGE.read_text("utf-8")
        self.assertFalse(page.open)
        self.assertFalse(page.tags & {"link", "img", "iframe", "object"})
        self.assertNotRegex(text, r"(?i)(https?:)?//[a-z0-9.-]+\.[a-z]{2,}/|fetch\(|XMLHttpRequest|@import|url\(")
        self.assertEqual(len(page.ids), len(set(page.ids)))
        for link in page.links:
            self.assertTrue(link.startswith("#") and link[1:] in page.ids, link)

    def test_search_by_code_part_and_word(self):
        self.assertEqual(search("550"), ["550"])
        self.assertEqual(search("55x"), [c for c in search("5") if c.startswith("55")])
        self.assertEqual(search("4.2.2"), ["X.2.2"])
        self.assertIn("X.7.26", search("x.7 dmarc"))
        self.assertEqual(search("no such words"), [])
        self.assertEqual(len(search("")), len(rows_of_page()))

    def test_search_by_class_actor_verdict_and_kind(self):
        self.assertEqual(search("", **{"class": "full-mailbox"}), ["422", "522", "X.2.2"])
        self.assertIn("452", search("", verdict="temporary", kind="reply"))
        self.assertNotIn("452", search("", verdict="permanent"))
        for code in search("", actor="nobody", kind="reply"):
            self.assertIn(code, [r[0] for r in tsv("codes.tsv") if r[8] == "nobody"])

    def test_the_page_and_the_command_find_the_same(self):
        for args, words, wanted in [
                (["452"], "452", {}), (["55x"], "55x", {}), (["4.7"], "4.7", {}), (["x.1.1"], "x.1.1", {}),
                (["mailbox", "full"], "mailbox full", {}), (["--class", "rate-limit"], "", {"class": "rate-limit"}),
                (["--class", "authentication"], "", {"class": "authentication"}),
                (["--who", "operator"], "", {"actor": "operator"}),
                (["--verdict", "intermediate"], "", {"verdict": "intermediate"})]:
            with self.subTest(args=args):
                self.assertEqual(sorted(search(words, **wanted)), sorted(listed(*args)))

    def test_the_script_runs_on_a_page(self):
        """A document of the least that the script needs: the search field is read and rows are hidden."""
        out = javascript("""
            function element(code, text) {
              return { attributes: { "data-code": code, "data-classes": "5", "data-class": "c", "data-actor": "a",
                       "data-verdict": "v", "data-kind": "reply" }, textContent: text, hidden: false,
                       getAttribute: function (name) { return this.attributes[name]; } };
            }
            var articles = [element("550", "No Mailbox"), element("452", "no room")], listeners = {}, count = {};
            var form = { elements: { words: { value: "" }, kind: { value: "" }, "class": { value: "" },
                         actor: { value: "" }, verdict: { value: "" } }, hidden: true,
                         addEventListener: function (name, f) { listeners[name] = f; } };
            var page = { getElementById: function (id) { return id === "search" ? form : count; },
                         getElementsByTagName: function () { return articles; } };
            start(page, { hash: "#q=mail+box" });
            print(form.hidden, form.elements.words.value, count.textContent);
            form.elements.words.value = "45"; listeners.input();
            print(articles[0].hidden, articles[1].hidden, count.textContent);
        """)
        self.assertEqual(out.splitlines(), ["false mail box 1 of 2", "true false 1 of 2"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
