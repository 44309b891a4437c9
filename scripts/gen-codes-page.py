#!/usr/bin/env python3
"""Writes the catalogue as one page for browsers, docs/codes.html: no server, no other file, searchable.

usage: gen-codes-page.py [OUT [DATA]]     OUT is docs/codes.html if not given, "-" standard output; DATA is
                                          src/codes/data

The build makes the page too, and installs it; a test compares docs/codes.html with what this writes.
"""

import html
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

VERDICTS = {2: "success", 3: "intermediate", 4: "temporary", 5: "permanent"}

CSS = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 0 1rem 4rem; }
h1 { margin-bottom: 0; }
form { position: sticky; top: 0; background: Canvas; padding: .75rem 0; border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; z-index: 1; }
input, select { font: inherit; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: .3rem; }
input { flex: 1 1 16rem; }
output { color: var(--quiet); }
article { border-bottom: 1px solid var(--line); padding: .75rem 0; scroll-margin-top: 5rem; }
article:target { background: var(--soft); }
h3 { margin: 0; font-size: 1.1rem; }
h3 a { color: inherit; text-decoration: none; font-family: ui-monospace, monospace; margin-right: .75rem; }
h3 a:hover, h3 a:focus { text-decoration: underline; }
p { margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .3rem 0 0; font-size: .9rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.tag { font-size: .8rem; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; margin-left: .3rem; }
[hidden] { display: none; }
"""

# Plain old JavaScript: the matching is apart from the page, so that it can be tested without a browser.
SCRIPT = """
"use strict";
var OPEN = /^x$/i;
// A row is {code: "550" or "X.7.1", classes: "245", text, ...}; a word is a code, a part of one, or stands in the text.
function fitsCode(code, word) {
  if (code.indexOf(".") >= 0 || word.length > code.length) return false;
  for (var i = 0; i < word.length; i++)
    if (!OPEN.test(word[i]) && word[i] !== code[i]) return false;
  return true;
}
function fitsStatus(row, word) {
  if (row.code.indexOf(".") < 0) return false;
  var have = row.code.split("."), want = word.split(".");
  if (!OPEN.test(want[0]) && row.classes.indexOf(want[0]) < 0) return false;
  if (have[1] === "X") return false;
  for (var i = 1; i < want.length && i < 3; i++)
    if (want[i] !== "" && !OPEN.test(want[i]) && want[i] !== have[i]) return false;
  return true;
}
function fitsWord(row, word) {
  if (/^[0-9][0-9x]{0,2}$/i.test(word)) return fitsCode(row.code, word);
  if (/^[245x](\\.[0-9x]*){1,2}$/i.test(word)) return fitsStatus(row, word);
  return row.text.indexOf(word.toLowerCase()) >= 0;
}
function fits(row, words, wanted) {
  for (var key in wanted)
    if (wanted[key] && (" " + row[key] + " ").indexOf(" " + wanted[key] + " ") < 0) return false;
  for (var i = 0; i < words.length; i++)
    if (words[i] && !fitsWord(row, words[i])) return false;
  return true;
}
function start(document, location) {
  var form = document.getElementById("search"), rows = [], all = document.getElementsByTagName("article");
  for (var i = 0; i < all.length; i++)
    rows.push({ element: all[i], code: all[i].getAttribute("data-code"), classes: all[i].getAttribute("data-classes"),
                "class": all[i].getAttribute("data-class"), actor: all[i].getAttribute("data-actor"),
                verdict: all[i].getAttribute("data-verdict"), kind: all[i].getAttribute("data-kind"),
                text: all[i].textContent.toLowerCase() });
  function show() {
    var words = form.elements.words.value.trim().split(/\\s+/), shown = 0, wanted = {};
    ["kind", "class", "actor", "verdict"].forEach(function (key) { wanted[key] = form.elements[key].value; });
    rows.forEach(function (row) {
      var fit = fits(row, words, wanted);
      row.element.hidden = !fit;
      shown += fit ? 1 : 0;
    });
    document.getElementById("count").textContent = shown + " of " + rows.length;
  }
  form.addEventListener("input", show);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  var asked = /^#q=(.*)$/.exec(location.hash || "");
  if (asked) form.elements.words.value = decodeURIComponent(asked[1].replace(/\\+/g, " "));
  form.hidden = false;
  show();
}
if (typeof document !== "undefined") start(document, location);
"""


def read_tsv(path):
    lines = path.read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


# ---- what a code alone is about: the rules without a text, as src/codes/rules.c reads them -------------------------


def code_fits(patterns, code):
    if patterns == "*":
        return True
    return any(re.fullmatch(p.replace("x", r"\d"), code) for p in patterns.split(",") if p != "-") if code else (
        "-" in patterns.split(","))


def status_fits(patterns, status):
    if patterns == "*":
        return True
    if not status:
        return "-" in patterns.split(",")
    return any(re.fullmatch(p.replace(".", r"\.").replace("x", r"\d+"), status) for p in patterns.split(","))


def class_of(rules, code, status):
    for _, codes, statuses, text, klass, *_ in rules:
        if text == "*" and code_fits(codes, code) and status_fits(statuses, status):
            return klass
    return "unknown"


# ---- the page ------------------------------------------------------------------------------------------------------


def facts(pairs):
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs if value)
    return f"<dl>{rows}</dl>"


def article(code, kind, classes, klass, verdicts, actor, title, standing, body):
    name = f"{html.escape(title)} " if title else ""
    return (f'<article id="{code}" data-code="{code}" data-kind="{kind}" data-classes="{classes}" '
            f'data-class="{klass}" data-verdict="{verdicts}" data-actor="{actor}">\n'
            f'<h3><a href="#{code}">{code}</a>{name}<span class="tag">{standing}</span></h3>\n{body}\n</article>\n')


def code_article(row, rules):
    code, standing, commands, source, meaning, statuses, client, dots, actor, advice, note = row
    success = code[0] in "123"
    klass = "unknown" if success else class_of(rules, code, dots)
    verdict = VERDICTS.get(int(code[0]), "unknown")
    body = f"<p>{html.escape(meaning[0].upper() + meaning[1:])}.</p>\n<p>{html.escape(advice)}</p>\n" + facts([
        ("drawn by", commands), ("goes with", statuses), ("client", client), ("class", klass), ("verdict", verdict),
        ("who acts", actor), ("source", source), ("note", note)])
    return article(code, "reply", code[0], klass, verdict, actor, "", standing, body)


def status_article(row, rules):
    kind, code, standing, sample, codes, classes, meaning, source, actor, advice, note = row
    digits = [int(digit) for digit in classes.split(",")]
    failing = "5" if 5 in digits else "4" if 4 in digits else ""
    klass = class_of(rules, "", failing + code[1:]) if kind == "detail" and failing else "unknown"
    verdicts = " ".join(VERDICTS[digit] for digit in digits)
    body = f"<p>{html.escape(meaning[0].upper() + meaning[1:])}.</p>\n<p>{html.escape(advice)}</p>\n" + facts([
        ("reply codes", codes), ("class", klass), ("verdict", verdicts.replace(" ", ", ")), ("who acts", actor),
        ("source", source), ("note", note)])
    return article(code, "enhanced", "".join(map(str, digits)), klass, verdicts, actor, sample, standing, body)


def status_key(row):
    """Classes, then each subject with its details; of a number twice, the registry's first."""
    kind, code, standing = row[:3]
    numbers = [int(part) if part.isdigit() else -1 for part in code.split(".")]
    return (kind != "class", numbers[1], numbers[2], standing != "registered", numbers[0])


def select(name, label, values):
    options = "".join(f"<option>{html.escape(value)}</option>" for value in values)
    return f'<select name="{name}" aria-label="{label}"><option value="">{label}</option>{options}</select>\n'


def class_table(classes):
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(meaning)}</dd>" for name, meaning, *_ in classes)
    return f"<details><summary>What the classes mean</summary><dl>{rows}</dl></details>\n"


def unique_ids(articles):
    """Codes with two rows get two places."""
    seen = {}
    for text in articles:
        code = re.search(r'id="([^"]+)"', text).group(1)
        seen[code] = seen.get(code, 0) + 1
        yield text if seen[code] == 1 else text.replace(f'id="{code}"', f'id="{code}-{seen[code]}"', 1)


def render(data):
    codes, statuses = read_tsv(data / "codes.tsv"), read_tsv(data / "statuses.tsv")
    classes, rules = read_tsv(data / "classes.tsv"), read_tsv(data / "classify.tsv")
    articles = [code_article(row, rules) for row in sorted(codes, key=lambda row: int(row[0]))]
    articles += [status_article(row, rules) for row in sorted(statuses, key=status_key)]
    actors = ["sender", "operator", "remote-operator", "nobody"]
    return "".join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>The reply codes and enhanced status codes of SMTP</title>\n",
        f"<style>{CSS}</style>\n</head>\n<body>\n<h1>The codes of SMTP</h1>\n"
        "<p>Every reply code and enhanced status code that a standard gives or that servers use: what it means, who "
        "has to act, and what to do. Search for a code or a part of it (550, 55x, 5.7.1, x.2), or for words.</p>\n",
        '<form id="search" hidden>\n<input type="search" name="words" autofocus autocomplete="off" '
        'placeholder="550, 5.7.1, mailbox full ..." aria-label="Search">\n',
        select("kind", "all codes", ["reply", "enhanced"]),
        select("class", "any class", [row[0] for row in classes]),
        select("actor", "whoever acts", actors),
        select("verdict", "any verdict", VERDICTS.values()),
        '<output id="count" aria-live="polite"></output>\n</form>\n',
        class_table(classes),
        "<main>\n", *unique_ids(articles), "</main>\n",
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
    ])


def main(args):
    out = args[0] if args else str(ROOT / "docs/codes.html")
    text = render(pathlib.Path(args[1]) if len(args) > 1 else ROOT / "src/codes/data")
    if out == "-":
        sys.stdout.write(text)
    else:
        pathlib.Path(out).write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
