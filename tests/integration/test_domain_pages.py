"""The page of domains, on the real gateway: the records of a domain, and what DNS has."""

import pytest

from gateway import domains
from tests.markup import says, text_of, words_of


@pytest.mark.slow
def test_domain_is_added_with_its_records_checked_and_removed(
    signed_in, admin, account, settings, monkeypatch
):
    """Point 8: the page shows the DNS records; none of them names this machine."""
    settings.DNS_SERVER = ("127.0.0.1", 9)
    monkeypatch.setattr(domains, "LIMIT_OF_ALL", 0.1)
    client = signed_in(admin)
    path = f"/domains/{account.connection.pk}"

    def press(act, **form):
        return client.post(f"{path}/{act}/", form, follow=True)

    says(client.post(f"{path}/add/", {"domain": "no domain"}), 422, 'value="no')
    page = press("add", domain="shop.example")
    says(page, 200, "shop.example was added")
    articles = page.text.split("<article")[1:]
    (article,) = [
        one for one in articles if "shop.example" in one.partition("</h3>")[0]
    ]
    for words in ("v=DKIM1; k=rsa; p=", "v=spf1", "v=DMARC1", "Not verified"):
        assert words in words_of(article), words
    assert "127.0.0.1" not in article.partition("</article>")[0]
    rows = account.ask("GET", "/v1/domains").json()["domains"]
    (domain,) = [row["id"] for row in rows if "shop.example" in row.values()]
    says(press(f"{domain}/verify"), 200, "Checked shop.example: 0 of")
    says(press(f"{domain}/rotate"), 422, "is waiting for its DNS record")
    says(press(f"{domain}/delete"), 200, "shop.example was removed.")
    assert "shop.example" not in text_of(client.get("/domains/"))
