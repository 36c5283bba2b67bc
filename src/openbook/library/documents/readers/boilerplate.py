"""Parts of a web page that are not its text: menus, cookie banners, share bars, links that skip to the content.

An element is only taken for such a part when it says so itself (tag, role, id, class) and looks like one (short, or hardly
anything but links). What is doubtful stays: text that is lost is worse than boilerplate that is kept.
"""

from __future__ import annotations

import re
from typing import Any, Literal

Kind = Literal["menu", "cookie banner", "share bar", "skip link"]

_MENU_ROLES = frozenset({"navigation", "menu", "menubar", "search", "contentinfo"})
_COOKIES = re.compile(
    r"cookie[-_ ]?(?:banner|bar|box|consent|law|notice|notification|popup|overlay|message|modal|dialog|prompt|disclaimer)"
    r"|(?:consent|gdpr)[-_ ]?(?:banner|bar|box|dialog|manager|modal|notice|popup|overlay)|onetrust|cookiebot"
    r"|cc-(?:window|banner)",
    re.IGNORECASE,
)
_SHARE = re.compile(
    r"(?:^|[-_ ])(?:(?:social|sharing)[-_ ]?(?:share|sharing|media|links?|buttons?|icons?|bar|tools)"
    r"|share[-_ ]?(?:bar|buttons?|links?|icons?|tools|this|widget))(?:$|[-_ ])|addtoany|addthis|sharethis|a2a_kit",
    re.IGNORECASE,
)
_SKIP = re.compile(
    r"\s*(?:skip|jump)(?: (?:to|over|past))?(?: the)? (?:main |primary )?"
    r"(?:content|navigation|nav|menu|main|search|article|links?)\s*"
    r"|\s*(?:跳到|跳至|跳转到|跳转至|跳过)(?:主要?|正文|页面)?(?:内容|导航|正文|菜单)\s*",
    re.IGNORECASE,
)
_TAGS = frozenset(("div", "section", "aside", "dialog", "ul", "ol", "form", "p", "footer", "header", "span"))
_MOST_COOKIE_TEXT = 1_500
_MOST_SHARE_TEXT = 160


def boilerplate(node: Any, tag: str, attributes: dict[str, str | None]) -> Kind | None:
    """What part of a page's furniture an element is; None for text."""
    role = attributes.get("role")
    if tag == "nav" or role in _MENU_ROLES:
        return "menu"
    if tag in ("ul", "ol") and _is_link_list(node):
        return "menu"
    parent = node.parent
    if tag == "footer" and parent is not None and parent.tag == "body":
        return "menu"
    if tag == "a":
        return "skip link" if (attributes.get("href") or "").startswith("#") and _SKIP.fullmatch(node.text()) else None
    if tag not in _TAGS:
        return None
    named = f"{attributes.get('id') or ''} {attributes.get('class') or ''}"
    if len(named) > 1:
        if _COOKIES.search(named) and len(node.text()) < _MOST_COOKIE_TEXT and not node.css("h1, article, main"):
            return "cookie banner"
        if _SHARE.search(named) and len("".join(node.text().split())) < _MOST_SHARE_TEXT and _is_links(node):
            return "share bar"
    return None


def _is_links(node: Any) -> bool:
    """Whether nearly all of its text is in links and buttons, of which there is at least one."""
    links = node.css("a, button")
    linked = sum(len("".join(link.text().split())) for link in links)
    return bool(links) and linked >= 0.8 * len("".join(node.text().split()))


def _is_link_list(node: Any) -> bool:
    """Twenty short links and hardly anything else: languages, categories, an archive of months."""
    links = node.css("li a")
    if len(links) < 20:
        return False
    linked = sum(len(link.text()) for link in links)
    return linked >= 0.95 * len("".join(node.text().split())) and linked / len(links) < 30


def is_decoration(attributes: dict[str, str | None], alt: str) -> bool:
    """Whether a picture's text says nothing: the page calls it decoration, or it is the name of a file."""
    return (
        attributes.get("role") in ("presentation", "none")
        or re.fullmatch(r"[\w%.-]+\.(?:png|jpe?g|gif|svg|webp|bmp|ico)", alt.strip(), re.IGNORECASE) is not None
    )
