"""The look of the page, light and dark. Colours after Okabe and Ito, told apart in all common colour blindness.

Each holds at least 4.5:1 against its ground where it is text.
"""

from __future__ import annotations

LIGHT = """
--ground:#ffffff;--raised:#f5f6f8;--line:#d9dde3;--ink:#1b1f24;--muted:#59626e;
--helps:#0062a3;--hurts:#b34700;--same:#4d5661;--unknown:#6b6f76;--failed:#a3175c;
--variant:#0072b2;--control:#c67a00;--noise:#7a828d;--band:#e7ebf0;--code:#eef0f3;
"""
DARK = """
--ground:#14171b;--raised:#1d2126;--line:#363c45;--ink:#e8eaed;--muted:#a3acb8;
--helps:#6cbcf0;--hurts:#ff9a57;--same:#c3cad3;--unknown:#a3a8b0;--failed:#ff8cc0;
--variant:#56b4e9;--control:#e69f00;--noise:#8d96a3;--band:#262c34;--code:#22272e;
"""

CHARTS = """
svg text{font:13px system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif;fill:var(--ink)}
svg .halo{paint-order:stroke;stroke:var(--ground);stroke-width:4px;stroke-linejoin:round}
svg .muted{fill:var(--muted)}svg .small{font-size:12px}svg .strong{font-weight:600}
"""

PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:1160px;margin:0 auto;padding:0 24px}
header{padding-top:40px}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 12px;font-weight:600}
h2{font-size:1.2rem;margin:52px 0 10px;line-height:1.3}
p{margin:10px 0;max-width:76ch}
.finding{margin:5px 0}.eyebrow{margin:0 0 6px;color:var(--muted);font-size:.85rem}
.summary{font-size:1.6rem;line-height:1.3;font-weight:650;letter-spacing:-.01em;margin:0 0 16px;max-width:48ch}
.details{margin:0;padding:0;list-style:none;color:var(--muted);font-size:.9rem;display:flex;flex-wrap:wrap;gap:2px 20px}
.scroll{overflow-x:auto;margin:16px 0;overflow-wrap:normal}
.scroll:focus-visible{outline:2px solid var(--variant);outline-offset:2px}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;min-width:min(100%,30rem)}
.caption{color:var(--muted);font-size:.88rem;margin:22px 0 4px}.caption+.scroll{margin-top:0}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;white-space:nowrap}
thead th{white-space:normal;overflow-wrap:break-word;min-width:4.2rem;
color:var(--muted);font-weight:500;vertical-align:bottom;border-bottom-color:var(--muted)}
th:first-child,.words{text-align:left}
.words{white-space:normal;min-width:8rem}
tbody th{font-weight:600;white-space:normal;overflow-wrap:anywhere;min-width:12.5rem;max-width:17rem}
.helps{color:var(--helps);font-weight:600}.hurts{color:var(--hurts);font-weight:600}
.same{color:var(--same);font-weight:600}.unknown{color:var(--unknown);font-weight:600}
.failed{color:var(--failed);font-weight:600}.quiet{color:var(--muted)}
figure{margin:18px 0}
figcaption{color:var(--muted);font-size:.88rem;max-width:76ch;margin-top:6px}
svg{display:block;max-width:100%;height:auto}.many svg{width:100%}
.narrow{display:none}
.many{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr));gap:18px}
.pictures{display:flex;flex-wrap:wrap;gap:10px}
.pictures>div{flex:1 1 180px;max-width:250px;min-width:0}
.pictures.few>div{max-width:none}
.pictures img{display:block;width:100%;height:auto;border-radius:4px}
.pictures span{display:block;font-size:.82rem;color:var(--muted);padding-top:3px}
details{margin:16px 0}summary{cursor:pointer;color:var(--variant)}
pre,code{font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{color:var(--muted);font-size:.85rem;padding-top:40px;padding-bottom:48px}
@media (max-width:640px){
header,main,footer{padding-left:16px;padding-right:16px}header{padding-top:24px}
.summary{font-size:1.3rem}.wide.paired{display:none}.narrow{display:block}tbody th{min-width:9rem}}
@media print{.scroll{overflow:visible}}
"""

SHEET = f":root{{color-scheme:light dark;{LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}{CHARTS}{PAGE}"
