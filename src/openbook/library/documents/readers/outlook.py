"""Outlook messages (.msg), by python-oxmsg."""

from __future__ import annotations

import io
from email.header import decode_header, make_header

from openbook.library.documents.build import Builder, flat
from openbook.library.documents.model import Document
from openbook.library.documents.readers.html import add_html
from openbook.library.documents.readers.mail import add_attachment, add_head
from openbook.library.documents.readers.plain import add_text
from openbook.library.documents.source import Source


def read(source: Source) -> Document:
    from oxmsg import Message

    builder = Builder("msg")
    message = Message.load(io.BytesIO(source.data))
    subject = flat(message.subject or "")
    headers = {key.title(): flat(value) for key, value in message.message_headers.items()}
    sent = message.sent_date.isoformat(" ", "minutes") if message.sent_date else ""
    recipients = ", ".join(flat(f"{each.name} <{each.email_address}>") for each in message.recipients if each.name)
    fields = {
        "From": _decoded(message.sender or headers.get("From", "")),
        "To": recipients or headers.get("To", ""),
        "Cc": _decoded(headers.get("Cc", "")),
        "Date": sent or headers.get("Date", ""),
    }
    add_head(builder, subject, fields)
    if (body := message.body) and body.strip():
        add_text(builder, body.replace("\r\n", "\n"))
    elif html := message.html_body:
        add_html(builder, html)
    else:
        builder.missing("the body is rich text only (open it in Outlook and save it as .eml or .html)")
    for attachment in message.attachments:
        name = flat(attachment.file_name or "") or "unnamed"
        add_attachment(builder, source, name, attachment.file_bytes or b"")
    return builder.document(subject or source.stem, {key.lower(): value for key, value in fields.items() if value})


def _decoded(text: str) -> str:
    """A header with its =?utf-8?...?= words decoded."""
    try:
        return flat(str(make_header(decode_header(text))))
    except (LookupError, UnicodeDecodeError, ValueError):
        return flat(text)
