"""The body of a request that claims a domain."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from gateway.domain_names import clean_domain
from gateway.schemas.fields import Body


class DomainIn(Body):
    """A domain to claim."""

    model_config = ConfigDict(json_schema_extra={"example": {"domain": "mail.example.com"}})

    domain: Annotated[str, AfterValidator(clean_domain), Field(max_length=300)]
