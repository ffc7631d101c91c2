"""Links: where they really go, and whether their text says so."""

from common.fingerprint import Content
from rendering.links import (
    read_link,
)
from rendering.render import parse_content, render_message
from risk.jobs import hosts
from simple_form.data import rows

# Texts and targets. The text names another address.
LIES = list(
    rows("""
https://acme.example/pay         https://evil.example/
Log in at www.acme.example now   https://evil.example/
acme.com.                        https://acme.com.evil.io/
аcme.example                     https://acme.example/
ac\u200bme.example               https://evil.example
ana@acme.example                 mailto:eva@acme.example
acme.example                     mailto:ana@evil.example
kate@acme.example                mailto:\u212aate@acme.example
ana@acme.example                 facetime-audio://eva@acme.example
Call 030/123 45-67 today         tel:+493012345670
+49 30 1234567                   tel:+7-49-30-1234567
(555) 010-9999                   sms:+15550100000?body=555-010-9999
+４９ ３０ １２３４５６７            tel:+4930999999
+49 30 1234567                   tel:+4930123456７
+49 30 1234567                   tel:
+49 30 1234567                   callto://4930999999
+49 30 1234567                   skype:eva?call
+49 30 1234567                   whatsapp://send?text=1&phone=4930999999
+49 30 1234567                   https://t.me/+4930999999
+49 30 1234567                   https://wa.me/eva
+49 30 1234567                   https://api.whatsapp.com/send/?phone=4930999999
ana@acme.example, eva@b.example  mailto:ana@acme.example
shop.github.io                   https://evil.github.io/
acme.co.uk                       https://evil.co.uk/
acme。example                    https://evil.example/
acme․example                     https://evil.example/
acme٠example                     https://evil.example/
acme[.]com                       https://evil.example/
acme (dot) com                   https://evil.example/
acme%2Ecom                       https://evil.example/
acme\u200a.\u200acom             https://evil.example/
see…acme.com                     https://evil.example/
请访问acme.cn。谢谢                 https://evil.example/
""")
)
LIES.append(["a." * 200 + "acme.com", "https://evil.example/"])
LIES.append(["a" * 80 + ".acme.com", "https://evil.example/"])
# The text names its own address, or none.
TRUTHS = list(
    rows("""
https://acme.example/pay         https://www.acme.example/pay?x=1
acme.co.uk                       https://shop.acme.co.uk/
README.md and setup.py           https://git.example/
Ana@Acme.example                 mailto:ana@acme.example?subject=hi
ana@acme.example, eva@b.example  mailto:ana@acme.example?cc=eva%40b.example
12.30                            https://acme.example/
+49 (0)30 123 45 67              tel:+49-30-1234567
0049 30 1234567, 24/7            tel:+49301234567
(555) 010-9999                   sms:+15550109999?body=Hi%201234567
+49 30 1234567                   https://wa.me/49301234567?text=Order%20123456
https://wa.me/4930?text=1234567  https://wa.me/4930?text=1234567
+49 30 1234567,,5512093#         tel:+49301234567,,5512093#
Call Ana                         skype:ana?call
company.logo                     https://evil.example/
请访问acme.cn。谢谢                 https://acme.cn/
例え.jp                           https://xn--r8jz45g.jp/
""")
)


def test_text_that_names_another_address_is_a_lie_and_other_text_is_none():
    claimed = [pair for pair in (*LIES, *TRUTHS) if read_link(*pair).claim]
    assert claimed == LIES


# Targets, and what is said of them: host, flags, and "open" if people may open them.
TARGETS = list(
    rows("""
https://acme.example/a#d               acme.example open
HTTP://ACME.example.:80/               acme.example not_https open
https://acme.example:8443/             acme.example unusual_port open
https:\\\\evil.example\\a              evil.example
https:acme.example                     acme.example
https://0177.0.0.1/                    127.0.0.1 ip_address open
https://[::1]/                         ::1 ip_address open
https://1.2.300.4/                     1.2.300.4 open
https://pаypal.example/                xn--pypal-4ve.example punycode mixed_script open
https://ana@%65vil.example/            evil.example credentials_in_url open
https://acme.com%2Eevil.example/       acme.com.evil.example disguised_dot open
https://acme.example/a\u2003b          acme.example
mailto:ana@acme.com。evil.example       acme.com.evil.example disguised_dot open
mailto:ana@acme.example?subject=hi     acme.example open
mailto:ana@acme.example?Cc=eva%40b.c   acme.example hidden_recipient open
mailto:eva@b.c,ana@acme.example        acme.example hidden_recipient open
mailto:?to=eva@evil.example            hidden_recipient
callto:+49123                          unusual_scheme
tel:+49123
http\u017f://evil.example/
""")
)


def test_target_is_read_as_browsers_read_it():
    for target, *said in TARGETS:
        link = read_link("x", target)
        found = [link.host, *link.flags]
        if link.is_openable:
            found.append("open")
        assert " ".join(found).split() == "".join(said).split(), target
    assert read_link("x", "ht\ntps://evil.ex\tample/").host == "evil.example"
    assert read_link("x", "https://" + "a." * 5000 + "example").flags == ()
    assert not read_link("x", "https://acme.example/" + "a" * 8_000).is_openable


# What the links of a letter are found to name, - for nothing, and the letter. EVIL is
# the start of a link to elsewhere. A name is split over elements, links, words or cells,
# or it is in a title, in place of a picture, or read aloud.
LETTERS = list(
    rows("""
paypal.com             EVILpay<b>pal</b>.com</a>
paypal.com pal.com     EVILpay</a>EVILpal.com</a>
paypal.com paypal.com  EVILpaypal</a><a href=https://evil.test>.com</a>
paypal.com             EVILpaypal.</a>com
paypal.com             pay<wbr>p&shy;<a href=https://al.com>al.com</a>
paypal.com paypal.com  <table><tr><td>EVILpaypal</a></td> <td>EVIL.com</a></td></tr></table>
acme.com               ana@<a href=mailto:ana@evil.example>acme.com</a>
ana@acme.com           <a href=mailto:ana@evil.example>ana</a>@acme.com
https://paypal.com     <a href=https://evil.example title='https://paypal.com'>here</a>
paypal.com             EVIL<span aria-label=paypal.com>here</span></a>
paypal․com             EVIL<img src=https://x.example/a.png alt='paypal․com'></a>
30 1234567             <p>+49 <a href=tel:+4930999999>30 123</a>4567</p>
-  <p>+49 <a href=tel:+49301234567>30 123</a>4567</p>
-  Write <a href=https://acme.com>acme.com</a>.
-  acme<a href=https://t.example></a>.com
-  <a href=https://acme.com/u>Unsubscribe</a> <a href=https://acme.com>acme.com</a>
-  EVILFacebook</a><a href=https://x.com style='padding:0 8px'>X.com</a>
-  <a href=https://fb.com style='margin-right:1em'>Facebook</a><a href=https://x.com>X.com</a>
-  <table><tr><td>EVILFacebook</a></td><td><a href=https://x.com>X.com</a></td></tr></table>
-  <table><tr><td>EVILNow.</a></td><td>EVILIn store</a></td></tr></table>
-  <table><tr><td>EVILacme</a><tr><td>EVIL.com is a suffix</a></table>
-  <b style='display:inline-block'>Face</b><b style='display:inline-block'><a href=https://x.com>X.com</a>
-  <a href=https://acme.com><h3>Visit us</h3><p>acme.com</p></a>
-  <a href=https://acme.com><span style='display:block'>Sale</span>acme.com</a>
-  <a href=https://acme.com>Visit us<br>acme.com</a>
-  <a href=https://acme.com title='Acme, the shop'><img src=cid:1 alt=Acme>acme.com</a>
-  <a href=mailto:ana@acme.com>ana</a>@acme.com or www.<a href=https://acme.com>acme.com</a>/pay
-  请访问<a href=https://acme.cn>acme.cn</a>。谢谢您
-  请访问<a href=https://acme.cn>acme.cn</a>谢谢您
""")
)


def shown(letter):
    html = letter.replace("EVIL", "<a href=https://evil.example/>")
    return render_message(Content(html=html))


def test_address_that_is_split_or_named_by_a_label_is_a_lie():
    for claims, letter in LETTERS:
        found = " ".join(link.claim for link in shown(letter).links).strip()
        assert (found or "-") == claims, letter
    # What names it nowhere but in the next link tells so where it stands.
    assert "paypal</a> <span" in shown("EVILpaypal</a>EVIL.com</a>").document


def test_address_in_plain_text_ends_where_its_sentence_does():
    text = "付款 https://acme.cn。谢谢 https://acme.com。evil.example/a https://acme.com%2Eevil.example，好"
    links = render_message(Content(markdown=text)).links
    assert {link.target: link.flags for link in links} == {
        "https://acme.cn": (),
        "https://acme.com。evil.example/a": ("disguised_dot",),
        "https://acme.com%2Eevil.example": ("disguised_dot",),
    }


def hosts_of(markdown):
    content = Content(subject="Hello", markdown=markdown)
    return hosts(content, parse_content(content))


# What stands in a text, and the hosts for the policy.
NAMED = list(
    rows(r"""
Log in at payportal.sh/login               payportal.sh
payportal.zip:8080 or paypal.md?a=1        payportal.zip paypal.md
Log in at payportal.sh./login or pay．sh?%61    payportal.sh pay.sh
See ftp://ana@evil.com/f                   evil.com
See ftp:////ana@evil.com/f                 evil.com
sftp://ana:secret@203.0.113.5:22/x         203.0.113.5
ftp://evil.sh                              evil.sh
a [link](//evil.com/p) without a scheme    evil.com
a <a href='/\\evil.com'>link</a> without a scheme    evil.com
https://acme.example:LONG@evil.com/        acme.example evil.com
“https://acme.example”, *https://acme.example*.    acme.example
README.md, setup.py; have you read README.md? ana@acme.example
""")
)
# The text part is not read as Markdown, and there this is a link to evil.com.
NAMED.append([r"https://evil.com\@acme.example/", "acme.example evil.com"])


def test_hosts_for_the_policy_are_those_that_a_program_may_open():
    for text, *named in NAMED:
        text = text.replace("LONG", "1" * 3000)
        assert hosts_of(text) == sorted(" ".join(named).split()), text
