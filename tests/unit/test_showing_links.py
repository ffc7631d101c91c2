"""Links: where they really go, and whether their text says so."""

from approvals.showing.links import (
    host_flags,
    host_of,
    is_remote,
    read_link,
    registered_domain,
    short_target,
    unicode_host,
)
from approvals.showing.loads import of_tag

# Texts and targets: where the text names another address, and where it does not.
LIES = [
    ("https://acme.example/pay", "https://evil.example/"),
    ("acme.example", "https://evil.example/"),
    ("Log in at www.acme.example now", "https://evil.example/"),
    ("acme.com.", "https://acme.com.evil.io/"),
    ("ACME.COM", "https://acme-com.example/"),
    ("аcme.example", "https://acme.example/"),
    ("ac\u200bme.example", "https://evil.example"),
    ("acme。example", "https://evil.example"),
    ("ana@acme.example", "mailto:eva@acme.example"),
    ("acme.example", "mailto:ana@evil.example"),
    ("https://acme.example", "tel:+491234"),
    ("acme.company", "https://evil.example/"),
]
TRUTHS = [
    ("https://acme.example/pay", "https://www.acme.example/pay?x=1"),
    ("acme.co.uk", "https://shop.acme.co.uk/"),
    ("your order", "https://evil.example/"),
    ("README.md and setup.py", "https://git.example/"),
    ("version 2.0, e.g. this", "https://acme.example/"),
    ("Mr.Smith", "https://acme.example/"),
    ("Ana@Acme.example", "mailto:ana@acme.example?subject=hi"),
    ("", "https://acme.example/"),
    ("12.30", "https://acme.example/"),
    ("see acme.company now", "https://evil.example/"),
    ("acme.example", "mailto:ana@acme.example"),
]


def test_text_that_names_another_address_is_a_lie_and_other_text_is_none():
    assert [pair for pair in (*LIES, *TRUTHS) if "text_says_other_domain" in read_link(*pair).flags] == LIES


# Targets, where they lead, and what is odd about them.
TARGETS = [
    ("https://acme.example/a", "acme.example", ()),
    ("http://acme.example/a", "acme.example", ("not_https",)),
    ("https://ACME.example.:443/", "acme.example", ()),
    ("https://acme.example:8443/", "acme.example", ("unusual_port",)),
    ("https://acme.example@evil.example/", "evil.example", ("credentials_in_url",)),
    ("https:\\\\evil.example\\a", "evil.example", ()),
    ("https:/evil.example", "evil.example", ()),
    ("//evil.example/a", "evil.example", ()),
    ("ht\ntps://evil.ex\tample/", "evil.example", ()),
    ("https://127.0.0.1/", "127.0.0.1", ("ip_address",)),
    ("https://0x7f000001/", "127.0.0.1", ("ip_address",)),
    ("https://0x/", "0.0.0.0", ("ip_address",)),
    ("https://0177.0.0.1/", "127.0.0.1", ("ip_address",)),
    ("https://[::1]/", "::1", ("ip_address",)),
    ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", ("punycode",)),
    ("https://münchen.example/", "xn--mnchen-3ya.example", ("punycode",)),
    ("https://pаypal.example/", "xn--pypal-4ve.example", ("punycode", "mixed_script")),
    ("https://%65vil.example/", "evil.example", ()),
    ("javascript:alert(1)", "", ("unusual_scheme",)),
    ("file:///etc/passwd", "", ("unusual_scheme",)),
    ("mailto:ana@acme.example", "acme.example", ()),
    ("mailto:ana@b@acme.example", "acme.example", ()),
    ("https://1.2.300.4/", "1.2.300.4", ()),
    ("tel:+49123", "", ()),
    ("/pay", "", ("relative",)),
    ("#top", "", ()),
]


def test_target_is_read_as_browsers_read_it():
    links = [(target, read_link("x", target)) for target, _, _ in TARGETS]
    assert [(target, link.host, link.flags) for target, link in links] == TARGETS
    assert read_link("x", "https://" + "a." * 5000 + "example").flags == ()


def test_relative_target_goes_where_the_mails_base_says():
    link = read_link("acme.example", "/pay", base="https://evil.example/x")
    assert (link.target, link.host) == ("https://evil.example/pay", "evil.example")
    assert "text_says_other_domain" in link.flags


def test_registered_domain_follows_a_simple_rule():
    domains = {"www.acme.example": "acme.example", "a.b.acme.co.uk": "acme.co.uk", "acme.com.evil.io": "evil.io"}
    domains |= {host: host for host in ("com.io", "127.0.0.1", "localhost")}
    assert {host: registered_domain(host) for host in domains} == domains


def test_written_out_host_and_short_target_read_well():
    assert unicode_host("xn--mnchen-3ya.example") == "münchen.example"
    assert unicode_host("xn--\x80\x80.example") == "xn--\x80\x80.example"
    assert short_target("https://acme.example/p?id=1") == "acme.example/p?id=1"
    assert short_target("javascript:alert(1)") == "javascript:alert(1)"


def test_remote_addresses_are_told_from_those_inside_the_mail():
    assert all(is_remote(url) for url in ("http://a.example", "//a.example", "\\\\a.example", "ftp:x", " hTTp:/a"))
    assert not any(is_remote(url) for url in ("", "cid:1", "data:image/png;base64,", "a.png", "/a.png", "about:blank"))
    assert not is_remote("mid:1@acme.example")
    assert host_of("//a.example/x") == "a.example"


def test_scripts_that_one_language_writes_together_are_not_mixed():
    odd = {"カタカナabc.example": ("punycode",), "ひらがな漢字.example": ("punycode",), "aʰ.example": ("punycode",)}
    odd |= {"한글abc.example": ("punycode",), "pаypal.example": ("punycode", "mixed_script"), "a.б": ("punycode",)}
    assert {host: host_flags(host) for host in odd} == odd


FAR = "https://far.example/x"
# Tags with their attributes, and what each would fetch, and whether that gets no label of its own.
FETCHES = [
    ("img", {"src": FAR}, ("picture", True)),
    ("b", {"src": FAR}, ("picture", False)),
    ("image", {"href": FAR}, ("picture", True)),
    ("use", {"href": FAR}, ("picture", False)),
    ("img", {"href": FAR}, ("picture", True)),
    ("video", {"poster": FAR}, ("video", False)),
    ("td", {"background": FAR}, ("background picture", True)),
    ("a", {"href": FAR, "ping": FAR}, ("report of a click", True)),
    ("form", {"action": FAR}, ("form", False)),
    ("link", {"href": FAR, "rel": "Alternate StyleSheet"}, ("style sheet", False)),
    ("link", {"href": FAR, "rel": "preload"}, ("prefetch", True)),
    ("meta", {"http-equiv": " Refresh ", "content": f"0; url='{FAR}'"}, ("jump to another page", False)),
    ("p", {"style": f"background:url({FAR})"}, ("background picture", True)),
    ("img", {"srcset": f"a.png 1x, {FAR} 2x"}, ("picture", True)),
]


def test_what_a_tag_would_fetch_is_found():
    found = [(tag, attributes, of_tag(tag, attributes)) for tag, attributes, _ in FETCHES]
    assert found == [(tag, attributes, [(kind, FAR, quiet)]) for tag, attributes, (kind, quiet) in FETCHES]
    nothing = [("a", {"href": FAR}), ("img", {"src": "cid:1"}), ("blockquote", {"cite": FAR}), ("p", {})]
    assert [tag for tag, attributes in nothing if of_tag(tag, attributes)] == []
    assert [load.kind for load in of_tag("iframe", {"srcdoc": "x"})] == ["embedded page"]
