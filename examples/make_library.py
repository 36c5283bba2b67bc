"""Makes the binary files of the sample library: pdf, docx, xlsx and pptx, in English and Chinese.

`python examples/make_library.py FONT.ttf`: FONT is any TrueType font with Chinese characters (the files in the repository were
made with Droid Sans Fallback, Apache-2.0); only the characters that are used go into the PDF. The md and html files are their own source.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

LIBRARY = Path(__file__).parent / "library"
WRITTEN = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)

TRAVEL = [
    (
        "Travel policy",
        [
            "This policy holds for all journeys on behalf of Lumen Ferry from 1 September 2026 on.",
            "Journeys of less than 700 km are made by train or by ferry. A flight needs the consent of the head of department, "
            "and business class is booked only when a flight takes longer than seven hours.",
            "Book at least fourteen days ahead through the travel desk. Tickets that were bought privately are refunded only when the "
            "travel desk was closed.",
        ],
    ),
    (
        "Nights and meals",
        [
            "The company pays for a single room up to the following rates for each night, breakfast included: Oslo 190 euros, Hamburg 145 "
            "euros, Gdansk 110 euros, everywhere else 130 euros.",
            "The allowance for meals is 58 euros for a full day and 29 euros for the day of departure and of return. It is not paid "
            "for meals to which somebody else invites you.",
            "Guests may be invited up to 45 euros a head; name them and the reason on the receipt.",
        ],
    ),
    (
        "Getting the money back",
        [
            "Hand in your expenses within 21 days after the end of the journey. What comes later is paid only with the consent of the "
            "finance director.",
            "Receipts are photographed in the expenses app. Without a receipt at most 15 euros can be refunded for each item.",
            "A private car is paid with 0.32 euros for each kilometre, parking and tolls on top. An accident on the way is reported to the "
            "fleet office on the same day.",
        ],
    ),
]
TRAVEL_ZH = [
    (
        "差旅制度",
        [
            "本制度自二〇二六年九月一日起施行，适用于苏州工厂员工的一切公务出行。",
            "六百公里以内乘坐高铁二等座，超过六百公里可以乘坐飞机经济舱。商务座和商务舱须由总经理批准。",
            "行程至少提前七天在差旅系统中预订。",
        ],
    ),
    (
        "住宿与伙食",
        [
            "住宿费上限为每晚：上海和北京六百五十元，省会城市四百八十元，其他城市三百八十元。",
            "伙食补贴每天一百二十元，出发和返回当天各六十元。由对方招待的餐食不再发放补贴。",
        ],
    ),
    (
        "报销",
        [
            "出差结束后十五个工作日内提交报销单，逾期须由财务总监批准。",
            "没有发票的小额支出每笔不超过五十元。自驾车按每公里一元二角补贴，过路费另计。",
        ],
    ),
]
BENEFITS = [
    ("Benefits", []),
    (
        "Pension",
        [
            "The company pays 8 % of the gross salary into the pension fund; you may add up to 4 % of your own, which is matched."
        ],
    ),
    (
        "Learning",
        [
            "Everybody has a learning budget of 1,500 euros and five days a year. What was not used lapses at the end of the year. Courses "
            "that lead to a certificate for high-voltage work are paid on top."
        ],
    ),
    (
        "Parents",
        [
            "The second parent has 12 weeks of leave with full pay, to be taken within the first year. Whoever gives birth has 20 weeks.",
            "A place in the yard's nursery costs 210 euros a month; the waiting list is kept by the works council.",
        ],
    ),
    (
        "Getting to work",
        ["The company pays half of a season ticket, and all of a bicycle lease up to 60 euros a month."],
    ),
]
BENEFITS_ZH = [
    ("福利说明", []),
    ("公积金", ["住房公积金由公司和员工各缴百分之十。补充医疗保险的保费由公司承担，配偶和子女可以自费加入。"]),
    ("培训", ["每位员工每年有三千元培训经费和四天培训假。取得高压电工证的考试费由公司另行报销。"]),
    ("育儿", ["男员工享有三十天陪产假，工资照发。工厂托儿所每月收费六百元，名额由工会安排。"]),
    ("通勤", ["班车免费。骑自行车上班的员工每月补贴一百元。"]),
]
SENSORS = ("Part", "Description", "Range", "Price (EUR)", "Lead time (days)")
PARTS = [
    ("LF-T20", "Temperature probe for battery cells", "-40 to 125 °C", 84.5, 12),
    ("LF-T35", "Temperature probe, hull mounted", "-20 to 60 °C", 61.0, 9),
    ("LF-C80", "Charging plug, 800 V", "up to 350 A", 1290.0, 45),
    ("LF-P11", "Pressure sensor for cooling water", "0 to 6 bar", 132.75, 20),
    ("LF-G07", "Gas detector, hydrogen", "0 to 4 %", 418.0, 30),
]
SERVICE = ("Service", "Interval (months)", "Price (EUR)", "VAT")
SERVICES = [
    ("Battery health report", 6, 950, 0.21),
    ("Hull inspection", 12, 2400, 0.21),
    ("Calibration of all probes", 18, 1180, 0.21),
    ("Fire drill with crew", 12, 640, 0.09),
]
PARTS_ZH_HEAD = ("编号", "名称", "规格", "单价（元）", "交货期（天）")
PARTS_ZH = [
    ("SZ-101", "电池舱盖板", "铝合金，6 毫米", 1860, 25),
    ("SZ-204", "直流充电桩", "480 千瓦", 268000, 90),
    ("SZ-317", "冷却水泵", "每小时 40 立方米", 5420, 35),
    ("SZ-450", "绝缘监测仪", "1000 伏", 3980, 18),
]
SLIDES = [
    ("Your first week", ["Monday: badge, laptop, safety tour", "Tuesday: meet your mentor and your team", "Wednesday: a day on board ferry 7"],
     "The safety tour starts at 08:15 at gate C. Bring an identity card."),
    ("Whom to ask", ["Service desk: extension 300", "Payroll: extension 411, mornings only", "Works council: room B2.14"],
     "Payroll closes its books on the 18th of each month."),
    ("After ninety days", ["Talk with your team lead", "Choose one course from the catalogue", "Sign up for the pension fund"], ""),
]  # fmt: skip
SLIDES_ZH = [
    ("入职第一周", ["周一：领取工牌和电脑，参加安全培训", "周二：认识导师和班组", "周三：参观总装车间"], "安全培训八点整在二号门集合，请带身份证。"),
    ("有事找谁", ["信息科：内线 8300", "薪酬：内线 8411，仅上午", "工会：行政楼 214 室"], "每月二十日为薪酬结算日。"),
]  # fmt: skip


def write_pdf(path: Path, pages: Sequence[tuple[str, Sequence[str]]], footer: str, font: Path | None = None) -> None:
    """A page for each (heading, paragraphs), with a running header and page numbers."""
    from fpdf import FPDF

    class Pages(FPDF):
        def header(self) -> None:
            self.set_font(family, size=8)
            self.cell(0, 6, footer, new_x="LMARGIN", new_y="NEXT")

        def footer(self) -> None:
            self.set_y(-15)
            self.set_font("helvetica", size=8)
            self.cell(0, 6, f"{self.page_no()} / {len(pages)}", align="C")

    pdf = Pages(format="A4")
    family = "body" if font else "helvetica"
    if font:
        pdf.add_font(family, fname=str(font))
    pdf.set_creation_date(WRITTEN)
    pdf.set_title(pages[0][0])
    for heading, paragraphs in pages:
        pdf.add_page()
        pdf.set_font(family, size=18)
        pdf.cell(0, 14, heading, new_x="LMARGIN", new_y="NEXT")
        pdf.set_font(family, size=11)
        for paragraph in paragraphs:
            pdf.multi_cell(0, 6, paragraph, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(3)
    pdf.output(str(path))


def write_docx(path: Path, sections: Sequence[tuple[str, Sequence[str]]]) -> None:
    """The first section is the title; each other one a heading with paragraphs."""
    import docx

    document = docx.Document()
    document.core_properties.title = sections[0][0]
    document.core_properties.created = document.core_properties.modified = WRITTEN.replace(tzinfo=None)
    for number, (heading, paragraphs) in enumerate(sections):
        document.add_heading(heading, level=0 if number == 0 else 1)
        for paragraph in paragraphs:
            document.add_paragraph(paragraph)
    document.save(str(path))


def write_xlsx(path: Path, sheets: Sequence[tuple[str, Sequence[str], Sequence[Sequence[object]]]]) -> None:
    """A sheet for each (name, header, rows); shares below 1 are shown as percentages, prices with two decimals."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, header, rows in sheets:
        sheet = book.create_sheet(name)
        sheet.append([f"{name}, {date(2026, 9, 1).isoformat()}"])
        sheet.append([])
        sheet.append(list(header))
        for row in rows:
            sheet.append(list(row))
            for cell in sheet[sheet.max_row]:
                if isinstance(cell.value, float):
                    cell.number_format = "0 %" if cell.value < 1 else "#,##0.00"
    book.properties.created = book.properties.modified = WRITTEN.replace(tzinfo=None)
    book.save(str(path))


def write_pptx(path: Path, slides: Sequence[tuple[str, Sequence[str], str]]) -> None:
    """A slide for each (title, bullets, speaker notes)."""
    import pptx

    deck = pptx.Presentation()
    for title, bullets, notes in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(bullets)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    deck.core_properties.title = slides[0][0]
    deck.core_properties.created = deck.core_properties.modified = WRITTEN.replace(tzinfo=None)
    deck.save(str(path))


def main() -> None:
    font = Path(sys.argv[1])
    english, chinese = LIBRARY / "handbook", LIBRARY / "手册"
    write_pdf(english / "travel-policy.pdf", TRAVEL, "Lumen Ferry - travel policy 2026")
    write_docx(english / "benefits.docx", BENEFITS)
    write_xlsx(english / "price-list.xlsx", [("Parts", SENSORS, PARTS), ("Services", SERVICE, SERVICES)])
    write_pptx(english / "onboarding.pptx", SLIDES)
    write_pdf(chinese / "差旅制度.pdf", TRAVEL_ZH, "澜渡船舶 差旅制度", font)
    write_docx(chinese / "福利说明.docx", BENEFITS_ZH)
    write_xlsx(chinese / "价目表.xlsx", [("备件", PARTS_ZH_HEAD, PARTS_ZH)])
    write_pptx(chinese / "入职培训.pptx", SLIDES_ZH)


if __name__ == "__main__":
    main()
