"""Links: where they really go, and whether their text says so."""

from common.fingerprint import Content
from rendering.links import host_flags, host_of, read_link, short_target, unicode_host
from rendering.render import render_message

# Texts and targets: where the text names another address, and where it does not.
LIES = [
    ("https://acme.example/pay", "https://evil.example/"),
    ("Log in at www.acme.example now", "https://evil.example/"),
    ("acme.com.", "https://acme.com.evil.io/"),
    ("ACME.COM", "https://acme-com.example/"),
    ("аcme.example", "https://acme.example/"),
    ("ac\u200bme.example", "https://evil.example"),
    ("ana@acme.example", "mailto:eva@acme.example"),
    ("acme.example", "mailto:ana@evil.example"),
    ("Call 030/123 45-67 today", "tel:+493012345670"),
    ("+49 30 1234567", "tel:+7-49-30-1234567"),
    ("(555) 010-9999", "sms:+15550100000?body=555-010-9999"),
    ("+４９ ３０ １２３４５６７", "tel:+4930999999"),
    ("+49 30 1234567", "tel:"),
    # What is no ASCII digit is none in an address, and Kelvin's K is no k.
    ("+49 30 1234567", "tel:+4930123456７"),
    ("kate@acme.example", "mailto:\u212aate@acme.example"),
    # Other ways to call or to write.
    ("ana@acme.example", "facetime-audio://eva@acme.example"),
    *(
        ("+49 30 1234567", f"{start}4930999999")
        for start in (
            *("callto:+", "callto://", "skype:+", "facetime:+"),
            *("whatsapp://send?text=1&phone=", "whatsapp://chat?number=%2B"),
            *("https://t.me/+", "https://signal.me/#p/+", "https://wa.me/"),
            "https://api.whatsapp.com/send/?phone=",
        )
    ),
    ("+49 30 1234567", "skype:eva?call"),
    ("+49 30 1234567", "https://t.me/eva"),
    # Domains below a private suffix belong to others.
    ("shop.github.io", "https://evil.github.io/"),
    ("acme.co.uk", "https://evil.co.uk/"),
    # Dots in disguise.
    *((f"acme{dot}example", "https://evil.example/") for dot in "。．｡․﹒٠ꓸ"),
    *(
        (f"acme{dot}com", "https://evil.example/")
        for dot in ("[.]", " (dot) ", "%2E", "\u00ad.", "\u200a.\u200a")
    ),
    ("see…acme.com", "https://evil.example/"),
    ("a." * 200 + "acme.com", "https://evil.example/"),
    ("a" * 80 + ".acme.com", "https://evil.example/"),
    ("请访问acme.cn。谢谢", "https://evil.example/"),
]
TRUTHS = [
    ("https://acme.example/pay", "https://www.acme.example/pay?x=1"),
    ("acme.co.uk", "https://shop.acme.co.uk/"),
    ("README.md and setup.py", "https://git.example/"),
    ("Ana@Acme.example", "mailto:ana@acme.example?subject=hi"),
    ("", "https://acme.example/"),
    ("12.30", "https://acme.example/"),
    ("+49 (0)30 123 45 67", "tel:+49-30-1234567"),
    ("0049 30 1234567, 24/7", "tel:+49301234567"),
    ("(555) 010-9999", "sms:+15550109999?body=Hi%201234567"),
    ("+49 30 1234567", "https://wa.me/49301234567?text=Order%20123456"),
    ("https://wa.me/4930?text=1234567", "https://wa.me/4930?text=1234567"),
    ("+49 30 1234567", "skype:+49301234567?call"),
    ("ana@acme.example", "facetime:ana@acme.example"),
    ("Call Ana", "skype:ana?call"),
    ("ana@acme.example, eva@b.example", "mailto:ana@acme.example?cc=eva%40b.example"),
    ("company.logo", "https://evil.example/"),
    # Scripts without spaces between words, and the full stop of a sentence.
    ("请访问acme.cn。谢谢", "https://acme.cn/"),
    ("例え.jp", "https://xn--r8jz45g.jp/"),
]


def test_text_that_names_another_address_is_a_lie_and_other_text_is_none():
    assert [
        pair
        for pair in (*LIES, *TRUTHS)
        if "text_says_other_domain" in read_link(*pair).flags
    ] == LIES


# Targets, where they lead, and what is odd about them.
TARGETS = [
    ("https://acme.example/a", "acme.example", ()),
    ("http://acme.example/a", "acme.example", ("not_https",)),
    ("https://ACME.example.:443/", "acme.example", ()),
    ("https://acme.example:8443/", "acme.example", ("unusual_port",)),
    ("https:\\\\evil.example\\a", "evil.example", ()),
    (f"https:{'/' * 11}evil.example/a", "evil.example", ()),
    ("ht\ntps://evil.ex\tample/", "evil.example", ()),
    ("https://0177.0.0.1/", "127.0.0.1", ("ip_address",)),
    ("https://[::1]/", "::1", ("ip_address",)),
    ("https://pаypal.example/", "xn--pypal-4ve.example", ("punycode", "mixed_script")),
    ("https://%65vil.example/", "evil.example", ()),
    ("https://acme.com%2Eevil.example/", "acme.com.evil.example", ("disguised_dot",)),
    ("mailto:ana@acme.com。evil.example", "acme.com.evil.example", ("disguised_dot",)),
    ("javascript:alert(1)", "", ("unusual_scheme",)),
    ("mailto:ana@b@acme.example", "acme.example", ()),
    ("https://1.2.300.4/", "1.2.300.4", ()),
    ("mailto:ana@acme.example?subject=hi", "acme.example", ()),
    *(
        (f"mailto:{rest}", "acme.example", ("hidden_recipient",))
        for rest in (
            "ana@acme.example?Cc=eva%40evil.example",
            "ana@acme.example?subject=hi&bcc=eva@evil.example",
            "eva@evil.example,ana@acme.example",
        )
    ),
    ("mailto:?to=eva@evil.example", "", ("hidden_recipient",)),
    ("callto:+49123", "", ("unusual_scheme",)),
    # No scheme: this s is no ASCII letter.
    ("http\u017f://evil.example/", "", ()),
    ("tel:+49123", "", ()),
]


def test_target_is_read_as_browsers_read_it():
    links = [(target, read_link("x", target)) for target, _, _ in TARGETS]
    assert [(target, link.host, link.flags) for target, link in links] == TARGETS
    assert read_link("x", "https://" + "a." * 5000 + "example").flags == ()


# What people may open from the desk, and what not. ſ and the blanks are not of ASCII.
OPENABLE = ["https://a.example/b?c#d", "HTTP://a", "mailto:ana@acme.example"]
NOT_OPENABLE = [
    *("https:a.example", "https://?a", "//a.example", "mailto:", "tel:1", "/a", ""),
    *("http\u017f://a.example", "https://a\u2003b", "https://a\xa0b", "javascript:a"),
    "https://" + "a" * 8_000,
]


def test_usual_addresses_of_web_pages_and_mail_are_openable():
    targets = [*OPENABLE, *NOT_OPENABLE]
    assert [one for one in targets if read_link("x", one).is_openable] == OPENABLE


# Letters, and what their links are found to name. In order: split over elements, over
# links, over links and words, over cells, beside a link; then titles, the texts in
# place of pictures, and what is read aloud.
EVIL = "<a href=https://evil.example/>"
SPLIT = {
    f"{EVIL}pay<b>pal</b>.com</a>": ["paypal.com"],
    f"{EVIL}pay</a>{EVIL}pal.com</a>": ["paypal.com", "pal.com"],
    f"{EVIL}paypal</a><a href=https://evil.test>.com</a>": ["paypal.com"] * 2,
    f"{EVIL}paypal.</a>com": ["paypal.com"],
    "pay<wbr>p&shy;<a href=https://al.com>al.com</a>": ["paypal.com"],
    f"<table><tr><td>{EVIL}paypal</a></td>\n<td>{EVIL}.com</a></td></tr></table>": [
        "paypal.com"
    ]
    * 2,
    "ana@<a href=mailto:ana@evil.example>acme.com</a>": ["acme.com"],
    "<a href=mailto:ana@evil.example>ana</a>@acme.com": ["ana@acme.com"],
    "<a href=https://evil.example title='https://paypal.com'>here</a>": [
        "https://paypal.com"
    ],
    f"{EVIL}<span aria-label=paypal.com>here</span></a>": ["paypal.com"],
    f"{EVIL}<img src=https://x.example/a.png alt='paypal․com'></a>": ["paypal․com"],
}
WHOLE = [
    "Write <a href=https://acme.com>acme.com</a>.",
    "acme<a href=https://t.example></a>.com",
    "<a href=https://acme.com/u>Unsubscribe</a> <a href=https://acme.com>acme.com</a>",
    "<a href=https://x.com style='padding:0 8px'>X.com</a><a href=https://fb.com style='padding:0 8px'>Facebook</a>",
    "<a href=https://fb.com style='margin-right:1em'>Facebook</a><a href=https://x.com>X.com</a>",
    "<table><tr><td><a href=https://fb.com>Facebook</a></td><td><a href=https://x.com>X.com</a></td></tr></table>",
    "<table><tr><td><a href=https://a.com>Now.</a></td><td><a href=https://b.com>In store</a></td></tr></table>",
    "<table><tr><td><a href=https://a.com>acme</a><tr><td><a href=https://b.com>.com is a suffix</a></table>",
    "<b style='display:inline-block;width:9em'>Facebook</b>"
    "<b style='display:inline-block'><a href=https://x.com>X.com</a>",
    "<a href=https://acme.com><h3>Visit us</h3><p>acme.com</p></a>",
    "<a href=https://acme.com><span style='display:block'>Sale</span>acme.com</a>",
    "<a href=https://acme.com>Visit us<br>acme.com</a>",
    "<a href=https://acme.com><img src=cid:1 alt=Acme>acme.com</a>",
    "<a href=https://acme.com title='Acme, the shop'><img src=https://cdn.example/logo.png alt='acme.logo'></a>",
    "<a href=mailto:ana@acme.com>ana</a>@acme.com or www.<a href=https://acme.com>acme.com</a>/pay",
    "请访问<a href=https://acme.cn>acme.cn</a>。谢谢您",
    "请访问<a href=https://acme.cn>acme.cn</a>谢谢您",
    "<a href=https://acme.com style='overflow:hidden;max-width:300px;max-height:20px'>acme.com</a>",
]


def claims_of(html):
    links = render_message(Content(html=html)).links
    return [link.claim for link in links if link.claim]


def test_address_that_is_split_or_named_by_a_label_is_a_lie():
    for html, claims in SPLIT.items():
        assert claims_of(html) == claims, html
    for html in WHOLE:
        assert claims_of(html) == [], html
    # What names it nowhere but in the next link tells so where it stands.
    shown = render_message(Content(html=f"{EVIL}paypal</a>{EVIL}.com</a>"))
    assert "paypal</a> <span" in shown.document
    # A phone number that goes on beside its link is read whole.
    for called, claims in (("+49301234567", []), ("+4930999999", ["30 1234567"])):
        html = f"<p>+49 <a href=tel:{called}>30 123</a>4567</p>"
        assert claims_of(html) == claims


def test_address_in_plain_text_ends_where_its_sentence_does():
    text = "付款 https://acme.cn。谢谢 https://acme.com。evil.example/a https://acme.com%2Eevil.example，好"
    links = {
        link.target: link.flags for link in render_message(Content(markdown=text)).links
    }
    assert links == {
        "https://acme.cn": (),
        "https://acme.com。evil.example/a": ("disguised_dot",),
        "https://acme.com%2Eevil.example": ("disguised_dot",),
    }


def test_hosts_and_short_targets_read_well():
    assert unicode_host("xn--mnchen-3ya.example") == "münchen.example"
    for host in ("xn--\x80\x80.example", "xn--ib9b.example"):
        assert unicode_host(host) == host
    assert short_target("https://acme.example/p?id=1") == "acme.example/p?id=1"
    assert host_of("https://a.example/x") == "a.example"
    # Scripts that one language combines are not mixed.
    for host in ("カタカナabc.example", "ひらがな漢字.example", "한글abc.example"):
        assert host_flags(host) == ("punycode",)
