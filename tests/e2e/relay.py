"""A server of our own that sends to many next hops, with a route for each."""
import itertools
import re
import signal

from harness import Postrider, route, wait_for

# Of a next hop, in its certificate.
NAME = "mx.peer.example"
# One attempt is looked at.
LATER = "  retry_first = 1h\n  retry_longest = 1h\n"


class Relay(Postrider):
    """One server for all of these tests. Each adds the routes that it needs."""

    def __init__(self, folder):
        super().__init__(folder)
        self.routes = self.extra = ""
        self.names = itertools.count(1)
        self.mark = 0
        self.tls_timeout = "1m"

    def add(self, *ports, keys="", **more):
        """A route to peers of this machine, with more keys of it; its domain."""
        name = f"d{next(self.names)}.example"
        for key, value in more.items():
            listed = ", ".join(f'"{v}"' for v in value) if isinstance(value, (list, tuple)) else None
            keys += f"  {key} = {{{listed}}}\n" if listed else f'  {key} = "{value}"\n'
        self.routes += route(*ports, name=name, keys=keys)
        return name

    def write(self):
        client = f"senders = 1\nclient {{\n  idle_timeout = 100ms\n  tls_timeout = {self.tls_timeout}\n}}\n"
        return self.configure(queue=LATER, extra=client + self.extra + self.routes)

    def reload(self):
        """The routes are in force. Ports come back: what the log says of them before is about others."""
        self.write()
        self.mark = len(self.log())
        self.signal(signal.SIGHUP)
        wait_for(lambda: "event=reloaded" in self.log()[self.mark:], "the new configuration")

    def send(self, *domains, raw=None):
        """One message to somebody at each; its id."""
        self.reload()
        return self.submit(raw, to=[f"a@{d}" for d in domains])

    def tried(self, number):
        """Waits for the first attempt for each recipient; domain -> how that one stands."""
        def recipients():
            found = self.json("trace", number)["recipients"]
            return all(r["attempts"] for r in found) and found
        found = wait_for(recipients, lambda: f"an attempt for each:\n{self.trace(number)}\n{self.log()[-3000:]}",
                         every=0.2)
        return {r["address"].partition("@")[2]: r for r in found}

    def lines(self, port, event):
        """Of the log since the last reload, about this peer."""
        return re.findall(rf"event={event} remote=\[127\.0\.0\.1\]:{port} .*", self.log()[self.mark:])
