#!/usr/bin/env python3
"""Writes postrider-log(5) from the table of events: gen-log-man.py events.def OUT.5"""
import re
import sys

ROW = re.compile(r'^LOG_EVENT\((LOG_\w+), LOG_(DEBUG|INFO|WARNING|ERROR), "([a-z0-9-]+)", "([^"\\]+)"\)$')
SECTION = re.compile(r"^/\* ([^*]+?) \*/$")

HEAD = r""".TH POSTRIDER\-LOG 5 "" Postrider
.SH NAME
postrider\-log \- events that the Postrider mail server logs
.SH DESCRIPTION
.BR postriderd (8)
writes its log to standard error, one event a line.
Each has a time in UTC, a level, the role that speaks, the name of the event, and what belongs to it.
A session and a message keep their names in all lines about them: the id of a message is that of its 250 reply and of
.BR postrider\-trace (1).
.PP
With
.B log_format = logfmt
a line is made of
.IR key = value ;
a value with other than plain characters stands in double quotes.
With
.B log_format = json
it is a JSON object.
.B log_level
leaves out what is below a level: error, warning, info, debug.
.PP
Text from outside is escaped, so that whatever it holds, an event is one line and reads back exactly: octets outside the
printable ASCII characters are
.BI \ex HH\fR,
quotes and backslashes have a backslash before them.
.SH "KEYS OF EVERY EVENT"
.TP
.B time
when it was logged, as 2026\-11\-21T23:04:05.123Z
.TP
.B level
error, warning, info or debug
.TP
.B role
which process: supervisor, receiver, queue, sender, mailbox, admin
.TP
.B event
one of the names below
.SH EVENTS
"""

TAIL = r""".SH SEE ALSO
.BR postriderd (8),
.BR postrider.conf (5),
.BR postrider\-trace (1),
.BR postrider\-explain (1)
"""


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in ".'" else text


def entry(level, name, meaning):
    what, _, keys = meaning.partition("; ")
    lines = [f".TP\n.B {escape(name)}", escape(what[0].upper() + what[1:]) + "."]
    if keys:
        lines.append(f"Keys: {escape(keys)}.")
    lines.append(f"Level: {level.lower()}.")
    return "\n".join(lines) + "\n"


def events(path):
    """The page's parts, in the order of the table. A line that is neither row, section nor comment is an error."""
    comment = False
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            row, section = ROW.match(line), SECTION.match(line)
            if row:
                yield entry(*row.groups()[1:])
            elif section:
                yield f".SS {escape(section.group(1))}\n"
            elif line.startswith("/*") or comment:
                comment = not line.endswith("*/")
            elif line:
                sys.exit(f"{path}:{number}: is no event of the form LOG_EVENT(id, level, name, meaning)")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w", encoding="ascii") as out:
        out.write(HEAD + "".join(events(sys.argv[1])) + TAIL)


main()
