"""Can the pages be shown? Asked of PDFium, which readers and browsers use, where the file itself leaves doubt."""

MAX_PAGES = 20


def opens(data: bytes) -> bool:
    """Does the renderer open the document and its first 20 pages? What it then shows is not looked at."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except (pypdfium2.PdfiumError, ValueError):
        return False
    try:
        count = len(pdf)
        for place in range(min(count, MAX_PAGES)):
            pdf[place].close()
    except (pypdfium2.PdfiumError, ValueError):
        return False
    finally:
        pdf.close()
    return count > 0
