"""Other kinds of files that devices send as photos, and advice for each."""

from __future__ import annotations

import re

CONVERT = "Convert it to JPEG or PNG."
#: iPhones make HEIC unless they are told otherwise.
HEIC_ADVICE = "Set the camera to “Most Compatible” (JPEG), or convert it to JPEG or PNG."

#: The brand of an ISO media file (ISO/IEC 14496-12, `ftyp`) -> its name and advice.
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), ("HEIC", HEIC_ADVICE)),
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", CONVERT)),
    b"crx ": ("a raw photo", "Send the JPEG that the camera makes of it."),
    b"qt  ": ("a video", "Send a photo."),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"M4V ", b"3gp4", b"3gp5"), ("a video", "Send a photo.")),
}
#: How the bytes begin -> name and advice.
BEGINNINGS = [
    (rb"RIFF....WEBP", "WebP", CONVERT),
    (rb"GIF8[79]a", "GIF", CONVERT),
    (rb"BM....\0\0\0\0", "BMP", CONVERT),
    (rb"II\*\0|MM\0\*", "TIFF or a raw photo", CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", CONVERT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000", CONVERT),
    (rb"%PDF-", "PDF", "Send a photo of the page as JPEG or PNG."),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg\b", "SVG", CONVERT),
    (rb"data:image/", "a data URL", "Send the bytes of the picture, not their base64."),
    (rb"/9j/|iVBORw0KGgo", "base64", "Send the bytes of the picture, not their base64."),
]


def refusal(data: bytes) -> str:
    """Why the bytes are refused, and what to do: two sentences if their kind is known."""
    if data[4:8] == b"ftyp":
        brand = BRANDS.get(data[8:12])
        if brand is not None:
            return f"it is {brand[0]}. {brand[1]}"
    for beginning, name, advice in BEGINNINGS:
        if re.match(beginning, data[:1000], re.DOTALL):
            return f"it is {name}. {advice}"
    return "it is of another kind."
