"""Mirrors that redirect, announce and send what they should not: refused in a sentence, or reported."""

import datetime
import ipaddress
import ssl

import pytest

from skinmnist import facts
from skinmnist.download import main
from tests.conftest import Mirror, serving

NAME = facts.TABLE_FILES[0]
PATH = f"/{NAME}"
MANY_DIGITS = "9" * 5000
HALF = 20_000


def table(side, value):
    pixels = side * side * 3
    rows = [",".join([*[str(value)] * pixels, str(code)]) for code in range(7)]
    return "\n".join(
        [",".join([*(f"pixel{column:04d}" for column in range(pixels)), "label"]), *rows, ""]
    ).encode()


CONTENT, CHANGED = table(28, 9), table(28, 8)
SIZE = len(CONTENT)


def answer(status, *headers, body=b""):
    return "\r\n".join([f"HTTP/1.0 {status}", *headers, "", ""]).encode() + body


def redirect(target):
    return lambda mirror: mirror.redirects.update({PATH: target})


def listed(*lines):
    content = "\n".join(lines).encode()
    return lambda mirror: mirror.files.update({"/SHA256SUMS": content})


def sends(*answers):
    return lambda mirror: mirror.raw.update({PATH: list(answers)})


def announces(*headers, body=CONTENT, version="HTTP/1.0"):
    return sends(*[answer("200 OK", *headers, body=body).replace(b"HTTP/1.0", version.encode())] * 9)


def chunked(size, *headers):
    body = size + b"\r\n" + CONTENT + b"\r\n0\r\n\r\n"
    return announces("Transfer-Encoding: chunked", *headers, body=body, version="HTTP/1.1")


def resumes(rest, *headers, mark='ETag: "one"'):
    """Break off in the middle, go on with a rest that does not belong to it, then serve the changed file."""

    def script(mirror):
        mirror.files[PATH] = CHANGED
        first = answer("200 OK", f"Content-Length: {SIZE}", mark, body=CONTENT[:HALF])
        mirror.raw[PATH] = [first, answer("206 Partial Content", *headers, body=rest)]

    return script


def content_range(first=HALF, last=SIZE - 1, total=SIZE):
    return f"Content-Range: bytes {first}-{last}/{total}"


OLD, NEW = (f"Last-Modified: Mon, 0{day} Jun 2026 10:00:00 GMT" for day in (1, 2))
REST = CHANGED[HALF:]
ANEW = (0, "was restarted: it has changed since the first part")
UNASKED = (2, "a part that was not requested")

#: What the mirror does, the exit code, and what the message says.
HOSTILE = {
    "redirects to itself": (redirect(PATH), 2, "redirects more than 5 times"),
    "redirects for ever": (
        lambda mirror: mirror.redirects.update({PATH: "/0"} | {f"/{i}": f"/{i + 1}" for i in range(99)}),
        2,
        "redirects more than 5 times",
    ),
    "redirects to a file": (redirect("file:///etc/passwd"), 2, "expected an http or https address"),
    "redirects to a port that cannot be": (redirect(f"http://127.0.0.1:{2**70}/"), 2, "cannot be opened"),
    "redirects to a name that cannot be": (redirect("http://a..b/"), 2, "cannot be opened"),
    "redirects to half an address": (redirect("http://[::1"), 2, "expected an http or https address"),
    "sums in a folder": (listed(f"{'0' * 64}  ./x/{NAME}"), 2, "expected 0000"),
    "sums in a folder of Windows": (listed(f"{'0' * 64} *x\\{NAME}"), 2, "expected 0000"),
    "sums of other files": (listed(f"{'0' * 64}  other.csv"), 0, f"no checksum for {NAME} in the list"),
    "two sums": (listed(*(f"{digit * 64}  {digit}/{NAME}" for digit in "01")), 2, "a second SHA-256"),
    "a rest of another ETag": (resumes(REST, content_range(), 'ETag: "two"'), *ANEW),
    "a rest without its ETag": (resumes(REST, content_range()), *ANEW),
    "a rest of another date": (resumes(REST, content_range(), NEW, mark=OLD), *ANEW),
    "a rest of another length": (
        resumes(REST[:-9], content_range(last=SIZE - 10, total=SIZE - 9), OLD, mark=OLD),
        *ANEW,
    ),
    "a range of 5,000 digits": (resumes(REST, content_range(total=MANY_DIGITS), 'ETag: "one"'), *UNASKED),
    "a range that ends before it begins": (resumes(REST, content_range(last=5), 'ETag: "one"'), *UNASKED),
    "a range beyond its file": (resumes(REST, content_range(last=SIZE + 9), 'ETag: "one"'), *UNASKED),
    "a range and a length that disagree": (
        resumes(REST, content_range(), "Content-Length: 9", 'ETag: "one"'),
        *UNASKED,
    ),
    "a rest that goes on after its range": (
        resumes(CONTENT[HALF:] + CONTENT, content_range(), 'ETag: "one"'),
        2,
        "sent more than the",
    ),
    "a part that nobody asked for": (
        sends(answer("206 Partial Content", content_range(first=0), body=CONTENT)),
        *UNASKED,
    ),
    "a length of 5,000 digits": (announces(f"Content-Length: {MANY_DIGITS}"), 2, "announced the length"),
    "a negative length": (announces("Content-Length: -5"), 2, "announced the length '-5'"),
    "two lengths": (announces(f"Content-Length: {SIZE}", "Content-Length: 9"), 2, "announced the length"),
    "more than its length": (chunked(b"%x" % SIZE, "Content-Length: 999"), 2, "sent more than the 999 bytes"),
    "no length": (announces(body=CONTENT), 0, "came without a length or checksum"),
    "a chunk of a negative size": (chunked(b"-5"), 2, "broke off"),
    "a reason with escapes": (sends(answer("403 \x1b[2Jgone")), 2, "was refused (403 '\\x1b[2Jgone')"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    rows = [f"L{code},I{code},{name},histo,50,male,back" for code, name in enumerate(facts.CLASS_NAMES)]
    metadata = "\n".join([",".join(facts.METADATA_COLUMNS), *rows, ""]).encode()
    return {PATH: CONTENT, f"/{facts.TABLE_FILES[1]}": table(8, 9), f"/{facts.METADATA_FILE}": metadata}


def check(mirror, folder, capsys, code, sentence):
    """Check that the file is refused in one sentence, or whole and its fault told."""
    assert main(["--mirror", mirror.url, "--to", str(folder)]) == code
    printed = capsys.readouterr()
    assert sentence in (printed.err if code else printed.out)
    if code:
        assert printed.err.startswith("skinmnist: ")
        assert len(printed.err.splitlines()) == 1
        assert printed.err.rstrip("\n").isprintable()
        assert not (folder / NAME).exists()
    else:
        assert (folder / NAME).read_bytes() == mirror.files[PATH]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mirrors_are_refused_in_a_sentence(name, mirror, files, tmp_path, capsys):
    script, code, sentence = HOSTILE[name]
    mirror.files = files
    script(mirror)
    check(mirror, tmp_path / "out", capsys, code, sentence)


@pytest.fixture
def secure_mirror(tmp_path, monkeypatch):
    """A mirror of HTTPS, whose certificate this process trusts."""
    pytest.importorskip("cryptography", reason="it comes with the extra 'cluster'")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mirror")])
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(own, critical=False)
    pem = tmp_path / "mirror.pem"
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *plain)
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Mirror()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    with serving(server):
        yield server


def test_https_does_not_redirect_to_http(secure_mirror, mirror, files, tmp_path, capsys):
    secure_mirror.files = mirror.files = files
    secure_mirror.redirects[PATH] = mirror.url + PATH
    check(secure_mirror, tmp_path / "out", capsys, 2, "expected https")
    assert mirror.asked == []
    # From http to https, and from there within https, is fine.
    secure_mirror.redirects[PATH] = "/moved.csv"
    secure_mirror.files |= {"/moved.csv": CONTENT}
    mirror.redirects[PATH] = secure_mirror.url + PATH
    check(mirror, tmp_path / "out", capsys, 0, "fetched")


def test_the_body_of_a_redirect_is_not_read(mirror, files, tmp_path, capsys):
    mirror.files = files | {"/moved.csv": CONTENT}
    mirror.raw[PATH] = [answer("302 Found", "Location: /moved.csv", body=bytes(2**26))]
    check(mirror, tmp_path / "out", capsys, 0, "fetched")
    assert mirror.interrupted == [PATH]
