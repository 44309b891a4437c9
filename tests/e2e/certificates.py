"""Certificates for the tests, made with openssl's own tool: good ones, and ones with any fault that is asked for."""
import datetime
import itertools
import pathlib
import ssl
import subprocess


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(map(str, args))}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


def date(days):
    """So many days from now, as openssl has it."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days)).strftime("%Y%m%d%H%M%SZ")


EC = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")
WEAK = ("RSA", "-pkeyopt", "rsa_keygen_bits:1024")

# What the certificate of an authority says; what that of a server has to say is its name alone.
CA = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")

# `openssl ca` alone takes any dates; it wants a configuration, and a register of what it has signed.
CONFIG = """
[ca]
default_ca = here
[here]
database = {register}
new_certs_dir = {folder}
rand_serial = yes
default_md = {digest}
policy = any
unique_subject = no
{x509_extensions}
[any]
commonName = optional
[req]
distinguished_name = nothing
[nothing]
[extensions]
{extensions}
"""


class Certificate:
    """A certificate and its key, in files; `chain` has it and those between it and its root."""

    def __init__(self, stem, issuer):
        self.issuer = issuer # None: signed by itself
        self.key = None
        self.pem, self.chain = (pathlib.Path(f"{stem}.{end}") for end in ("pem", "chain"))

    def context(self, **keys):
        """A server's settings of TLS with it, however weak it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(self.chain, self.key)
        for key, value in keys.items():
            setattr(context, key, value)
        return context

    def serial(self):
        return openssl("x509", "-in", self.pem, "-noout", "-serial").strip().partition("=")[2]


class Authority:
    """Makes certificates below a root of its own."""

    def __init__(self, folder, common="Root"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.numbers = itertools.count(1)
        self.requests = {}
        self.root = self.make(common, extensions=CA, issuer=None, owner="root")

    def _config(self, stem, digest="sha256", extensions=()):
        config, register = pathlib.Path(f"{stem}.cnf"), pathlib.Path(f"{stem}.register")
        register.write_text("")
        config.write_text(CONFIG.format(register=register, folder=self.folder, digest=digest,
                                        extensions="\n".join(extensions),
                                        x509_extensions="x509_extensions = extensions" if extensions else ""))
        return config, register

    def _request(self, owner, key, config):
        """A request to sign a key, and the key. The root has one of its own; the others share one, to be quick."""
        if (owner, key) not in self.requests:
            stem = self.folder / f"k{next(self.numbers)}"
            made = stem.with_suffix(".csr"), stem.with_suffix(".key")
            openssl("genpkey", "-algorithm", *key, "-out", made[1])
            openssl("req", "-new", "-key", made[1], "-out", made[0], "-subj", "/", "-config", config)
            self.requests[owner, key] = made
        return self.requests[owner, key]

    def make(self, common, names=(), extensions=(), issuer="root", key=EC, digest="sha256", since=-1, days=30,
             incomplete=False, broken=False, owner="others"):
        """`names` are those of subjectAltName ("DNS:a"); issuer None: signed by itself. `since`: days from now.

        incomplete: its chain ends before it comes to the root; broken: its signature is not right.
        """
        made = Certificate(self.folder / f"c{next(self.numbers)}", self.root if issuer == "root" else issuer)
        extensions = [*extensions, *(["subjectAltName=" + ",".join(names)] if names else [])]
        config, _ = self._config(made.pem.with_suffix(""), digest, extensions)
        request, made.key = self._request(owner, key, config)
        signer = ("-cert", made.issuer.pem, "-keyfile", made.issuer.key) if made.issuer else \
            ("-selfsign", "-keyfile", made.key)
        openssl("ca", "-config", config, "-batch", "-notext", "-preserveDN", *signer, "-in", request, "-out", made.pem,
                "-subj", f"/CN={common}" if common else "/", "-startdate", date(since), "-enddate", date(since + days))
        if broken:
            der = bytearray(ssl.PEM_cert_to_DER_cert(made.pem.read_text()))
            der[-1] ^= 1
            made.pem.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))
        chain, link = made.pem.read_text(), made.issuer
        while link and link.issuer and not incomplete:
            chain += link.pem.read_text()
            link = link.issuer
        made.chain.write_text(chain)
        return made

    def between(self, common="Intermediate", extensions=CA, **keys):
        """An authority below the root."""
        return self.make(common, extensions=extensions, **keys)

    def revocations(self, *revoked, issuer=None, since=-1, days=30):
        """A file with the list of what an issuer has revoked."""
        issuer = issuer or self.root
        stem = self.folder / f"crl{next(self.numbers)}"
        config, register = self._config(stem)
        register.write_text("".join(f"R\t{date(300)[2:]}\t{date(-1)[2:]}\t{c.serial()}\tunknown\t/CN=x\n"
                                    for c in revoked))
        out = pathlib.Path(f"{stem}.crl")
        openssl("ca", "-config", config, "-gencrl", "-cert", issuer.pem, "-keyfile", issuer.key, "-out", out,
                "-crl_lastupdate", date(since), "-crl_nextupdate", date(since + days))
        return out
