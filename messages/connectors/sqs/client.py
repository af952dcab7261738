"""Clients of SQS and SNS: where they lead, whose they are, and what their errors mean."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from botocore import exceptions as aws
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

from messages.connectors.base import Address, Check

TROUBLES = (aws.BotoCoreError, aws.ClientError, ValueError)  # ValueError: an address that is no URL
Kind = Literal["missing", "login", "denied", "content", "busy", "unreachable", "lost"]

MISSING = {"NonExistentQueue", "QueueDoesNotExist", "NotFound", "NotFoundException", "ResourceNotFoundException"}
LOGIN = {
    "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "InvalidAccessKeyId",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
    "IncompleteSignature", "IncompleteSignatureException", "AuthFailure", "InvalidSecurity", "OptInRequired",
}  # fmt: skip
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedOperation",
}
BUSY = {
    "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
    "KmsThrottled", "OverLimit",
}  # fmt: skip
NO_LOGIN = (aws.NoCredentialsError, aws.PartialCredentialsError)
NOT_SENT = (
    aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError, aws.SSLError, aws.CredentialRetrievalError,
    aws.MetadataRetrievalError,
)  # fmt: skip
MAYBE_SENT = (aws.ReadTimeoutError, aws.ConnectionClosedError, aws.HTTPClientError, aws.ResponseStreamingError)

XML_CODE, XML_WORDS = re.compile(r"<Code>([\w.]+)</Code>"), re.compile(r"<Message>([^<]*)</Message>")
AWS = re.compile(r"\.(amazonaws\.com|amazonaws\.com\.cn|api\.aws)(:[0-9]+)?$")
REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-[0-9]+")

LOADER = Loader()  # it keeps the descriptions of services: a client takes 14 ms instead of 80


def region_of(address: Address) -> str:
    """Return the region: of `?region=`, of the options, of an address that names one, else the one that emulators take."""
    parts = urlsplit(address.url)
    told = parse_qs(parts.query).get("region", [""])[0] or str(address.options.get("region") or "")
    host = parts.hostname or ""
    if not told and parts.scheme == "sqs":
        return host
    return told or next(filter(REGION.fullmatch, host.split(".")), "us-east-1")  # sqs.eu-central-1.amazonaws.com


def endpoint_of(address: Address) -> str | None:
    """Return the endpoint that the address names, None for AWS' own."""
    parts = urlsplit(address.url)
    return None if parts.scheme == "sqs" else f"{parts.scheme.removeprefix('sqs+')}://{parts.netloc.rpartition('@')[2]}"


class Cloud:
    """SQS and SNS as one login sees them. Nothing is sent before the first question.

    The user name is the access key id; the secret is the secret key, with `:` and a session token after it for a temporary one. When
    both are empty, the process's own credentials are taken as every AWS SDK finds them: environment, files, the machine's role.
    We ask again ourselves, so a client never does; where it goes only the address says, not the environment.
    """

    def __init__(self, address: Address, *, timeout_s: float, connect_s: float = 5) -> None:
        self.address = address
        self.config = Config(
            connect_timeout=min(connect_s, 5),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},
            ignore_configured_endpoint_urls=True,
            user_agent_extra="waybill",
        )
        self._session: Session | None = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._urls: dict[str, str] = {}

    def _open(self) -> Session:
        if self._session is None:
            session = Session()
            session.register_component("data_loader", LOADER)
            if self.address.username or self.address.secret:
                key, _, token = self.address.secret.partition(":")
                session.set_credentials(self.address.username, key, token or None)
            self._session = session
        return self._session

    def client(self, service: str, region: str = "") -> Any:
        """Return a client of `sqs` or `sns`; raises TROUBLES when the address or this machine's AWS files are wrong."""
        made = self._clients.get((service, region))
        if made is None:
            endpoint = endpoint_of(self.address)
            if service == "sns" and AWS.search(endpoint or ""):
                endpoint = None  # an address of AWS that names SQS is none of SNS; an emulator speaks both at one
            made = self._clients[service, region] = self._open().create_client(
                service, region_name=region or region_of(self.address), endpoint_url=endpoint, config=self.config
            )
        return made

    def queue(self, name: str) -> tuple[Any, str]:
        """Return a client and the URL of a queue by its name or ARN; raises TROUBLES."""
        parts = name.split(":", 5)
        region, account, bare = (parts[3], parts[4], parts[5]) if len(parts) == 6 else ("", "", name)
        client = self.client("sqs", region)
        if name not in self._urls:
            owner = {"QueueOwnerAWSAccountId": account} if account else {}
            self._urls[name] = client.get_queue_url(QueueName=bare, **owner)["QueueUrl"]
        return client, self._urls[name]

    def close(self) -> None:
        for client in self._clients.values():
            with contextlib.suppress(*TROUBLES):
                client.close()
        self._clients, self._urls = {}, {}


def told(error: Exception) -> tuple[str, str]:
    """Return the broker's own code without its old prefix, and its words; ("", "") of an error that is not the broker's.

    What stands before SQS, as a proxy or moto's check of logins does, may answer in XML where JSON was asked for.
    """
    if not isinstance(error, aws.ClientError):
        return "", ""
    said = error.response.get("Error", {})
    code, words = str(said.get("Code", "")), str(said.get("Message", ""))
    if code.isdigit() and (named := XML_CODE.search(words)):
        code, words = named[1], " ".join(XML_WORDS.findall(words))
    return code.rpartition(".")[2], words


def kind_of(error: Exception) -> Kind:
    """Return what an error means for what was asked.

    missing no such queue · login not believed who we are · denied known, and not allowed · content this very request is wrong ·
    busy throttled or failing, nothing was done · unreachable nothing was sent · lost it may or may not have been done.
    """
    if isinstance(error, aws.ClientError):
        return kind_of_answer(told(error)[0], error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if isinstance(error, NO_LOGIN):
        return "login"
    if isinstance(error, NOT_SENT):
        return "unreachable"
    return "lost" if isinstance(error, MAYBE_SENT) else "content"


def kind_of_answer(code: str, status: int) -> Kind:
    """Return what the broker's code means; the HTTP status decides about codes that nobody knows."""
    if code in MISSING:
        return "missing"
    if code in LOGIN:
        return "login"
    if code in BUSY:
        return "busy"
    if code in DENIED or code.startswith(("Kms", "KMS")):
        return "denied"
    if status == 504:
        return "lost"
    if status == 429 or status >= 500:
        return "busy"
    return "denied" if status == 403 else "content"


def says(error: Exception) -> str:
    """Return the broker's own words on one line; no credential is ever among them."""
    code, words = told(error)
    # of a signature that does not fit AWS shows what it signed itself, and a session token is among that
    text = f"{code}: {words.partition('The Canonical String')[0]}" if code else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def words_of(error: Exception, what: str) -> str:
    """Return an operator's sentence about an error with `what`, such as "queue orders"."""
    if isinstance(error, NO_LOGIN):
        return "there are no credentials: give an access key id and its secret key, or this machine a role"
    return {
        "missing": f"{what} is not there, or this login may not know of it",
        "login": "the credentials are not accepted; were they revoked, or have they expired?",
        "denied": f"this login lacks a right on {what}",
        "content": f"{what} cannot be asked this",
        "busy": "the broker is busy or failing",
        "unreachable": "the broker cannot be reached",
        "lost": "the line broke before the answer",
    }[kind_of(error)] + f" ({says(error)})"


def found(what: str, error: Exception | None = None) -> list[Check]:
    """Return what looking for a queue or topic has answered: reached, authenticated, queue exists."""
    if error is None:
        return [*_accepted(True, "the credentials are accepted"), _exists(True, f"{what} is there")]
    kind, words = kind_of(error), words_of(error, what)
    if isinstance(error, NO_LOGIN):
        asked = Check(question="reached", answer=None, detail="nothing was asked without credentials")
        return [asked, Check(question="authenticated", answer=False, detail=words)]
    if kind in ("unreachable", "lost", "busy") or not told(error)[0]:
        return [Check(question="reached", answer=False, detail=words)]
    if kind == "login":
        return _accepted(False, words)
    return [*_accepted(True, "the credentials are accepted"), _exists(None if kind == "denied" else False, words)]


def _accepted(answer: bool, words: str) -> list[Check]:
    reached = Check(question="reached", answer=True, detail="SQS answers")
    return [reached, Check(question="authenticated", answer=answer, detail=words)]


def _exists(answer: bool | None, words: str) -> Check:
    return Check(question="queue exists", answer=answer, detail=words)
