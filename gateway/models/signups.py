"""Accounts that somebody asked for by themselves, until their address is confirmed."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.identifiers import ulid
from gateway.modes import Mode


class Signup(models.Model):
    """One wish for an account. Its code is made from the row and the server's secret, and kept as a hash alone."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    # A solved challenge is good for one wish.
    challenge = models.CharField(max_length=64, unique=True)
    operator_name = models.CharField(max_length=80)
    oversight_email = models.CharField(max_length=254)
    slug = models.CharField(max_length=60)
    oversight_mode = models.CharField(max_length=12, choices=Mode)
    physical_address = models.CharField(max_length=300, blank=True)
    use_case = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    # How many codes were made; the newest one counts.
    codes = models.PositiveIntegerField(default=1)
    code_sha256 = models.CharField(max_length=64)
    mailed_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["code_sha256"], condition=Q(confirmed_at=None), name="signup_by_code"),
            models.Index(fields=["next_try_at"], condition=Q(mailed_at=None, confirmed_at=None), name="signup_to_mail"),
        ]

    def __str__(self) -> str:
        return self.slug
