# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The common parts of all HTML reports: style, marks and drawings as Jinja macros, and a function to render a template.

The macros are kept here and not in a file because modules run from a bundle of their own. A template imports them with
``{% import 'page' as page %}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

MACROS = r"""
{% macro style() %}
:root {
  --paper: #fbfbf9; --card: #ffffff; --ink: #1d2327; --soft: #5c666d; --rule: #dcdfdf; --frame: #f3f4f2;
  --good: #1a7f4b; --good-tint: #e2f3e9; --bad: #c02424; --bad-tint: #fde8e6; --warn: #8a5a00; --warn-tint: #fdf1d6;
  --c0: #2563b8; --c1: #b4540a; --c2: #7a3fb0; --c3: #0f7f86; --c4: #a8326e; --c5: #5b7a12; --c6: #3d4fc4; --c7: #8c5a2b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1c2125; --ink: #e6e9ea; --soft: #9aa5ac; --rule: #333b41; --frame: #232a2f;
    --good: #5cc98d; --good-tint: #173326; --bad: #ff7b72; --bad-tint: #42191a; --warn: #e3b04b; --warn-tint: #3a2d10;
    --c0: #6ea8f5; --c1: #f0954a; --c2: #bd8cf0; --c3: #4cc3ca; --c4: #ee83b5; --c5: #a5c850; --c6: #94a2ff; --c7: #d3a070;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 28px 24px 56px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 38px 0 10px; }
p { margin: 6px 0; }
.soft { color: var(--soft); }
code, .mono, td.num { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .88em; }
header { display: flex; flex-wrap: wrap; gap: 10px 28px; align-items: flex-start; justify-content: space-between; }
.verdict { border-left: 6px solid var(--good); background: var(--good-tint); padding: 14px 18px; margin: 20px 0 0; border-radius: 4px; }
.verdict strong { font-size: 18px; color: var(--good); }
.verdict.failed { border-color: var(--bad); background: var(--bad-tint); }
.verdict.failed strong { color: var(--bad); }
.note { border-left: 6px solid var(--warn); background: var(--warn-tint); padding: 10px 18px; margin: 10px 0 0; border-radius: 4px; }
.violations { margin: 10px 0 0; padding: 0; list-style: none; }
.violations li { padding: 5px 0 5px 22px; position: relative; border-top: 1px solid color-mix(in srgb, var(--bad) 22%, transparent); overflow-wrap: anywhere; }
.violations li::before { content: "✗"; color: var(--bad); position: absolute; left: 2px; font-weight: 700; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 1000px; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
svg .head { font-size: 12.5px; fill: var(--soft); font-weight: 600; }
svg .name { font-size: 13px; font-weight: 600; }
svg .line { font: 10.8px ui-monospace, "DejaVu Sans Mono", monospace; fill: var(--soft); }
svg rect { fill: var(--card); stroke: var(--rule); stroke-width: 1; }
svg rect.frame { fill: var(--frame); }
svg rect.tinted { stroke: var(--vrf); stroke-width: 1.5; fill: color-mix(in srgb, var(--vrf) 7%, var(--card)); }
svg path { fill: none; stroke: var(--vrf, var(--soft)); stroke-width: 1.8; }
svg path.peer { stroke-dasharray: 2 4; stroke-width: 1.5; }
svg path.leak, svg path.lost { stroke: var(--bad); stroke-width: 3; stroke-dasharray: 9 5; }
svg path.lost { stroke-dasharray: 2 7; }
svg .up circle { fill: var(--good); } svg .down circle { fill: var(--bad); } svg .unknown circle { fill: var(--soft); }
svg .dot text { fill: var(--card); font-size: 11px; font-weight: 700; text-anchor: middle; }
.key { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 8px 0 12px; color: var(--soft); font-size: 13.5px; align-items: center; }
.key .swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; background: var(--vrf); margin-right: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child > th, tr:last-child > td { border-bottom: 0; }
thead th { font-size: 12.5px; color: var(--soft); font-weight: 600; }
.mark { border: 1px solid var(--rule); border-radius: 4px; padding: 0 6px; font-size: 12.5px; white-space: nowrap; line-height: 1.55; color: var(--soft); }
.mark.reach { background: var(--good-tint); border-color: transparent; color: var(--good); }
.mark.bad { background: var(--bad); border-color: var(--bad); color: var(--card); font-weight: 700; }
.mark.unproven { background: var(--warn-tint); border-color: var(--warn); color: var(--warn); }
.good { color: var(--good); } .wrong { color: var(--bad); font-weight: 600; }
details { margin-top: 12px; } summary { cursor: pointer; padding: 4px 0; color: var(--soft); }
@media print { body { font-size: 11px; } main { max-width: none; padding: 0; } .card { overflow: visible; } svg { min-width: 0; } }
{% endmacro %}
{% macro vrf(colour) %}{% if colour is not none %} style="--vrf: var(--c{{ colour }})"{% endif %}{% endmacro %}
{% macro state(ok) %}{% if ok %}<span class="good">✓</span>{% else %}<span class="wrong">✗</span>{% endif %}{% endmacro %}
{% macro box(item) %}
  <g{{ vrf(item.colour) }}>
    <rect class="{{ 'tinted' if item.colour is not none else 'frame' }}" x="{{ item.x }}" y="{{ '%.1f' % item.y }}" width="{{ item.width }}" height="{{ '%.1f' % item.height }}" rx="6"/>
    <text class="name" x="{{ item.x + 10 }}" y="{{ '%.1f' % (item.y + (20 if item.kind != 'cell' else 17)) }}">{{ item.title }}</text>
{% for line in item.lines %}
    <text class="line" x="{{ item.x + 10 }}" y="{{ '%.1f' % (item.y + (37 if item.kind != 'cell' else 31) + loop.index0 * (15 if item.kind != 'cell' else 13)) }}">{{ line }}</text>
{% endfor %}
  </g>
{% endmacro %}
{#- A drawing of verify_report: nothing in it is computed here. #}
{% macro sheet(drawing, label) %}
<svg viewBox="{{ drawing.left }} 0 {{ drawing.width }} {{ '%d' % drawing.height }}" role="img" aria-label="{{ label }}">
{% for title in drawing.titles %}
  <text class="head" x="{{ title.x }}" y="26">{{ title.text }}</text>
{% endfor %}
{% for line in drawing.lines if line.style in ('link', 'peer') %}
  <path class="{{ line.style }}" d="{{ line.path }}"{{ vrf(line.colour) }}/>
{% endfor %}
{% for item in drawing.boxes + drawing.cells %}
{{ box(item) -}}
{% endfor %}
{% for line in drawing.lines if line.style not in ('link', 'peer') %}
  <path class="{{ line.style }}" d="{{ line.path }}"/>
{% endfor %}
{% for dot in drawing.dots %}
  <g class="dot {{ dot.state }}"><title>{{ dot.title }}</title><circle cx="{{ dot.x }}" cy="{{ '%.1f' % dot.y }}" r="8.5"/><text x="{{ dot.x }}" y="{{ '%.1f' % (dot.y + 4) }}">{{ dot.symbol }}</text></g>
{% endfor %}
</svg>
{% endmacro %}
"""  # noqa: E501


def render(template: Path, values: dict[str, Any]) -> str:
    """Return the page. A name in the template without a value is an error; all values are escaped.

    Raises OSError and jinja2.TemplateError.
    """
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"page": MACROS, "report": template.read_text(encoding="utf-8")}),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report").render(values)
