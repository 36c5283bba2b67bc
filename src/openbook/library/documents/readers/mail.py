"""Mail (.eml) and saved web pages (.mhtml): headers, the body, and attachments that can be read, by their own readers."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, MIMEPart

from openbook.core.errors import UnreadableFile
from openbook.library.documents.build import Builder, flat
from openbook.library.documents.encoding import decode
from openbook.library.documents.model import Document
from openbook.library.documents.readers.html import add_html
from openbook.library.documents.readers.plain import add_text
from openbook.library.documents.source import Source

_HEADERS = ("From", "To", "Cc", "Date")
MAX_DEPTH = 3


def read(source: Source) -> Document:
    is_page = source.suffix in (".mhtml", ".mht")
    builder = Builder("mhtml" if is_page else "eml")
    message = email.message_from_bytes(source.data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    if not message.keys():
        raise source.unreadable("it has no mail headers", "check that it is a saved message")
    subject = _header(message, "Subject")
    if is_page:
        title = add_html(builder, _text(_page(message)), page=True)
        return builder.document(title or subject or source.stem)
    fields = {name: _header(message, name) for name in _HEADERS}
    add_head(builder, subject, fields)
    body = message.get_body(("plain", "html"))
    if body is not None:
        if body.get_content_subtype() == "html":
            add_html(builder, _text(body))
        else:
            add_text(builder, _text(body))
    for attachment in message.iter_attachments():
        name = flat(attachment.get_filename() or "") or f"unnamed.{attachment.get_content_subtype()}"
        if attachment.get_content_type() == "message/rfc822":
            inner = attachment.get_content()
            add_attachment(builder, source, name if name.endswith(".eml") else f"{name}.eml", bytes(inner))
        else:
            payload = attachment.get_payload(decode=True)
            add_attachment(builder, source, name, payload if isinstance(payload, bytes) else b"")
    return builder.document(subject or source.stem, {k.lower(): v for k, v in fields.items() if v})


def add_head(builder: Builder, subject: str, fields: dict[str, str]) -> None:
    builder.add("heading", subject, level=1)
    builder.add("paragraph", "\n".join(f"{name}: {value}" for name, value in fields.items() if value), part="headers")


def add_attachment(builder: Builder, source: Source, name: str, data: bytes) -> None:
    """The attachment's blocks under a heading with its name; why it was not read, when it cannot be."""
    from openbook.library.documents.read import read_source

    builder.add("heading", name, level=2, part=f"attachment:{name}")
    if source.depth >= MAX_DEPTH:
        builder.missing(f"attachment {name}: more than {MAX_DEPTH} messages inside one another")
        return
    try:
        document = read_source(source.inside(name, data))
    except UnreadableFile as error:
        builder.missing(f"attachment {error.message} ({error.remedy})")
        return
    builder.embed(document, part=f"attachment:{name}")
    for text in document.receipt.not_searchable:
        builder.missing(f"attachment {name}: {text}")


def _page(message: EmailMessage) -> EmailMessage:
    for part in message.walk():
        if part.get_content_type() == "text/html":
            assert isinstance(part, EmailMessage)
            return part
    return message


def _text(part: MIMEPart) -> str:
    """The decoded text; a charset that is missing, unknown or wrong is detected instead."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        return data.decode(part.get_content_charset() or "utf-8").replace("\r\n", "\n")
    except (LookupError, UnicodeDecodeError):
        return decode(data).text


def _header(message: EmailMessage, name: str) -> str:
    try:
        return flat(str(message.get(name, "")))
    except (ValueError, IndexError, AttributeError):  # the parser of a malformed address fails in several ways
        return ""
