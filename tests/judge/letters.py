"""Writes random messages for the judge, with nearly all that HTML and CSS have to hide,
cover, move or add words. `many` returns them.

A message has only one to three odd things: with many, a finding about one would excuse
the others.
"""

import random
import re
from itertools import count, islice


def _each(text):
    return [" ".join(one.split()) for one in text.split(" |")]


def _lines(text):
    """Return the lines of a text; one that begins with | goes on with the one above."""
    return re.sub(r"\n *\| ", " | ", text.strip()).splitlines()


# Properties, each with values that do harm, that do none, and that lie between.
PROPERTIES = _lines("""
    color: #fff | white | transparent | #000 | inherit | foo | rgba(0,0,0,.05) | #fffffe | canvas | currentcolor
      | hsl(0 0% 100%) | light-dark(#fff, #fff) | var(--w) | rgb(from white r g b) | color-mix(in srgb, #fff, #fff)
      | color(srgb 1 1 1) | lab(100 0 0) | oklch(1 0 0) | ffffff | #FFF0 | initial | blue | gray | windowtext
      | highlighttext | rgb(255,255,255)
    background: #fff | #000 | black url(x) | none | linear-gradient(#000,#000) | #000 foo | inherit | var(--b)
      | #000 fixed | url(data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7)
      | #000 left/0 0 no-repeat | #eee
    background-color: #000 | white | inherit | var(--b) | rgb(0 0 0 / .97) | blue | foo | currentcolor | canvastext
    background-image: linear-gradient(#000,#000)
      | url(data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7) | none
      | image-set(url(x) 1x)
    background-clip: text | content-box
    background-size: 0 | 0 0
    display: none | inline | block | contents | table-column | table-cell | table-caption | table-footer-group
      | table-header-group | flex | grid | inline-block | inline-flex | flow-root | list-item | -webkit-box | run-in
      | ruby | ruby-text | math | table-row | inline-table | foo | table | inline flow-root | block math
    visibility: hidden | collapse | visible | foo
    opacity: 0 | .3 | inherit | 0% | .6 | 60% | 1e-9 | 0.61 | calc(0) | var(--z) | +.0
    font-size: 0 | 1px | foo | max(0px, 1px) | calc(1px*0) | .01em | 5% | 0.1vw | 1e-3px | 40px | 6px | 100px
      | min(0px,1px) | 0.0001in | .1Q | 1 | -5px | xx-small | smaller | var(--z) | 0.05rlh | .001lh | 0.01cap | math
      | clamp(0px,0px,0px) | 200px
    font: 0/0 a | 16px a | 0px a | 1e-9px a | calc(0px) a | 16px/0 a | condensed 0px a | 16px/1px a | caption
      | italic bold 1px/1 a | 16px/calc(0) a | 0 a
    font-family: wingdings | monospace | serif | symbol
    font-size-adjust: 0 | .01 | none
    line-height: 0 | 1px | foo | 900px | .8 | .5 | calc(0px) | -1 | 0.81 | normal | 0em | 5% | .1vw | 1e-3 | 0.01lh
      | var(--z) | min(0,1) | 60px
    line-height-step: 90px
    letter-spacing: -1em | -9px | -.8px | -.05em | 6px | 900px | 1in | -1ex | calc(-1em)
    word-spacing: -9px | -99px | 900px | -1.6px | -10em | 12px | -.1em
    text-indent: -9999px | 100% | 100px | -60px | 900px | 24em | hanging 9em
    text-transform: uppercase | lowercase | full-width | capitalize | full-size-kana
    text-align: right | center | justify | -webkit-right | end
    text-decoration: line-through | line-through 30px #fff | underline 40px #fff | line-through 2.5px
      | underline overline line-through 1em | line-through 2em | underline wavy
    text-decoration-thickness: 90px | 2.5px | 100% | .15em
    text-underline-offset: -9px | 40px
    text-emphasis: "W" | filled
    text-shadow: 0 0 9px #000 | -60px 0 9px #fff | 0 0 3px #fff | 0 -20px 0 #fff | 2px 2px #000
    text-overflow: ellipsis | "X"
    text-wrap: nowrap | balance
    text-combine-upright: all
    text-orientation: upright
    text-box-trim: trim-both
    white-space: nowrap | pre | pre-line | break-spaces
    white-space-collapse: preserve
    tab-size: 9999 | 900px
    word-break: break-all | keep-all
    overflow-wrap: anywhere | break-word
    hyphens: auto | manual
    hyphenate-character: "HMN"
    vertical-align: -9999px | super | sub | top | 8px | -8px | 20px | 50% | middle | text-bottom | bottom | -40px | 2em
    baseline-source: last
    dominant-baseline: hanging
    height: 0 | 5px | 100% | auto | 2000px | 1vh | 0% | calc(0px)
    max-height: 0 | 5px | 20px | none | 1em
    min-height: 0 | 100px
    width: 0 | 40px | 39px | 1px | 60px | 100% | 1000px | 10% | max-content | min-content | 5000px | 0% | calc(1px)
    max-width: 0 | 40px | 30px | 600px | 1px
    min-width: 0 | 1000px | 9999px | max-content
    block-size: 0 | 5px
    inline-size: 0 | 40px
    max-block-size: 0
    aspect-ratio: 9/1
    overflow: hidden | clip | auto | scroll | visible
    overflow-x: hidden | clip
    overflow-y: hidden
    overflow-clip-margin: 0px
    line-clamp: 1
    -webkit-line-clamp: 1
    -webkit-box-orient: vertical
    -webkit-box-direction: reverse
    -webkit-box-ordinal-group: 2
    -webkit-box-reflect: below -20px
    position: absolute | relative | fixed | sticky
    left: -9999px | 90px | -60px | 0 | 100% | -100vw
    right: 0 | 100% | -90px
    top: -9999px | 40px | -30px | 0 | 10px | -1lh
    bottom: 0 | 40px
    inset: 0 | -9999px auto auto 0 | 0 auto auto 0
    inset-inline-start: -9999px
    z-index: -1 | 1 | 9
    float: right | left | inline-end | none
    clear: both | left
    margin: -30px 0 0 | -99px | 0 | 250px | 8px 0 | 0 0 0 -90px | auto
    margin-left: -9999px | -80px | 250px | 251px | 15em | auto | 60%
    margin-top: -40px | -9999px | -1.2em | 250px | calc(-40px) | -5%
    margin-bottom: -25px | -40px
    margin-right: -70px | 250px
    margin-inline-start: -9999px | -90px
    margin-block: -20px
    padding: 4px | 9999px | 250px | 40px 0 | 0 0 0 9000px
    padding-left: 9999px | 300px | 250px
    padding-top: 40px | 250px
    padding-block: 30px
    border: 1px solid | 30px solid #fff | 40px solid #fff | 5000px solid
    border-top: 30px solid #fff | 40px solid
    border-bottom: 40px solid #fff
    border-left: 5000px solid | 40px solid
    border-spacing: 60px | 900px | 0 90px
    border-radius: 50%
    border-collapse: collapse
    border-image: linear-gradient(#fff,#fff) 0 0 0 1/1px 1px 0 300px/0 0 30px 0
    border-width: 40px
    border-block-end: 40px solid #fff
    outline: 90px solid #fff | 0 | thin solid | 20px solid | thin solid #fff
    outline-width: 40px
    outline-offset: -20px | 40px
    box-shadow: inset 0 0 0 200px #000 | 0 0 0 90px #fff | 0 0 5px #000 | 0 -30px 0 0 #fff | 0 0 0 5px #fff
      | 0 -40px 0 0 rgba(255,255,255,.35), 0 -40px #fff5, 0 -40px #fff5, 0 -40px #fff5
    transform: scale(0) | rotateY(90deg) | matrix(1,0,0,1,-9999,0) | translate(-90px,0) | rotate(180deg) | scaleX(-1)
      | translateY(-40px) | none | scale(.01) | skew(90deg) | perspective(1px) translateZ(1px)
    transform-origin: -9999px 0
    transform-style: preserve-3d
    backface-visibility: hidden
    perspective: 1px
    scale: 1 0 | 0 | -1 1 | .02
    translate: -9999px | 80px | 0 -40px
    rotate: 180deg | y 90deg | 1turn | 90deg
    offset: path("M-999 0") | ray(0deg) 900px
    zoom: .01 | 0 | 1 | 9 | 5%
    clip: rect(0,1px,1px,0) | auto
    clip-path: inset(50%) | circle(0) | none | inset(0) | polygon(0 0) | url(#x)
    filter: opacity(0) | invert(1) | brightness(9) | blur(90px) | none | contrast(0) | url(#x)
      | drop-shadow(0 0 9px #fff)
    backdrop-filter: brightness(9) | invert(1) | blur(30px)
    mask: linear-gradient(#0000,#0000) | none | url(#x)
    mask-image: linear-gradient(#0000,#0000)
    mask-size: 0
    -webkit-mask-box-image: linear-gradient(#0000,#0000)
    mix-blend-mode: screen | difference | lighten | normal
    background-blend-mode: screen
    isolation: isolate
    will-change: transform
    contain: strict | size | paint | content | inline-size
    contain-intrinsic-size: 0
    content-visibility: hidden | auto
    container-type: size | inline-size
    -webkit-text-fill-color: transparent | #000 | #fff | currentcolor
    -webkit-text-stroke: 9px #fff | 1px #fff
    -webkit-text-security: disc | square
    -webkit-user-select: none
    -webkit-user-modify: read-only
    -webkit-appearance: textfield | none | button
    all: unset | initial | foo | revert
    flex: 0 0 0 | 1 | 1 1 0 | 0 0 9999px | none | 1 0 900px
    flex-direction: row-reverse | column-reverse | column | row
    flex-flow: column-reverse | wrap-reverse | row wrap
    flex-wrap: wrap-reverse | wrap
    flex-basis: 0 | 900px | 40px
    flex-shrink: 0 | 9
    flex-grow: 9
    order: 1 | -1 | 0 | calc(1 + 1) | 2
    justify-content: flex-end | end | space-between | right | safe end
    align-items: end | flex-end | center | baseline
    align-content: end | center
    place-content: end
    align-self: end | center
    justify-items: end
    gap: 9999px | 20px | 100%
    column-gap: 9999px
    row-gap: 9999px
    grid-template-columns: 0 0 | 1fr 1fr | 0px 1fr | repeat(2, 10px) | 1px | min-content 0 | 1000px 1fr
    grid-template-rows: 0fr | 0 0 | 5px 5px
    grid-template-areas: "b a"
    grid-area: 1/1 | 2/1 | a
    grid-row: 1 | 2
    grid-column: 2 | 1
    grid-auto-flow: dense column | column
    grid-auto-rows: 0
    columns: 2 | 9 | 40px
    column-width: 1px | 100px
    column-count: 3
    column-span: all
    column-rule: 60px solid #fff
    writing-mode: vertical-rl | vertical-lr | sideways-lr | tb-rl
    direction: rtl | ltr | foo | inherit
    unicode-bidi: bidi-override | isolate | plaintext | isolate-override | embed
    caption-side: bottom | top | block-end
    table-layout: fixed
    empty-cells: hide
    list-style: none | "HMN " | square inside | "\\201C" | inside | upper-roman | katakana
    list-style-type: "HMN" | none | lower-greek | disc | trad-chinese-informal | katakana | symbols("H" "M")
    list-style-position: inside
    list-style-image: url(data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7)
    quotes: "HMN" "NMH" | none | auto
    counter-increment: list-item 5
    counter-reset: list-item 90
    content: "HMN" | none | normal | url(x) | attr(title)
    animation: gone 1s both | gone 9999s | none | gone 1s infinite alternate
    animation-name: gone
    transition: all 9999s
    color-scheme: dark | light | only dark | light dark
    forced-color-adjust: none
    shape-outside: inset(50%)
    initial-letter: 3
    ruby-position: under
    ruby-align: start
    float-displace: auto
    interpolate-size: allow-keywords
    field-sizing: content | fixed
    print-color-adjust: exact
    scrollbar-gutter: stable both-edges
    scrollbar-width: none
    scroll-padding: 900px
    overscroll-behavior: none
    object-fit: none
    object-position: 900px 0
    pointer-events: none
    text-size-adjust: none
    text-rendering: geometricPrecision
    font-variant: small-caps
    font-stretch: 50%
    font-synthesis: none
    font-feature-settings: "smcp" | normal
    font-palette: dark
    mso-hide: all
    hyphenate-limit-chars: 2
    line-break: anywhere
    hanging-punctuation: first
    inline-sizing: stretch
    margin-trim: all
    position-area: top left
    anchor-name: --a
    alignment-baseline: hanging
    stroke: 9px
    fill: #fff
    paint-order: stroke
    text-spacing-trim: trim-all
    orphans: 9
    page: x
    size: 1px
    -webkit-locale: "ar"
    -webkit-rtl-ordering: visual
    -webkit-line-break: after-white-space
    -webkit-border-image: url(x) 9 9
    -webkit-column-break-before: always
    -webkit-margin-before: -40px
    -webkit-padding-start: 9999px
    -webkit-logical-width: 0
    -webkit-perspective-origin: 0 0
    -webkit-transform: scale(0)
    -webkit-opacity: 0
    -webkit-order: 3
    -webkit-mask: linear-gradient(#0000,#0000)
    -webkit-filter: opacity(0)
    -moz-opacity: 0
    -ms-filter: "alpha(opacity=0)"
""")
# Declarations that do harm together.
RECIPES = _each("""
    height:0;overflow:hidden | max-height:20px;overflow:hidden | white-space:nowrap;overflow:hidden;width:60px |
    line-height:0;overflow:hidden | height:20px;overflow:hidden;padding-top:19px | background:#000;color:#fff |
    background:#000;color:#111 | background:#000;background-color:var(--none);color:#fff |
    background:#000;color:#fff;background-clip:text | background:#000;color:#fff;-webkit-background-clip:text |
    background:#000;color:#fff;width:40px | background:#000;color:#fff;height:100% | color:#fff;background:#036 |
    background:#000;color:#fff;display:inline | background:#000;color:#fff;line-height:60px |
    background:#000;color:#fff;white-space:nowrap;width:90px | background:#000;color:#fff;max-width:60px |
    background:#000;color:#fff;border-radius:50% | background:#000;color:#fff;text-indent:100px |
    background:#000;color:#fff;position:relative;z-index:-1 | position:relative;z-index:-1 |
    background:#fff;position:relative;z-index:1 | position:relative;z-index:-1;color:#333 |
    -webkit-line-clamp:1;display:-webkit-box;-webkit-box-orient:vertical;overflow:hidden |
    position:absolute;left:90px;top:40px | position:relative;left:-60px | position:absolute;left:-9999px |
    position:absolute;clip:rect(0,0,0,0) | position:fixed;top:0;background:#fff | position:relative;top:-30px |
    position:relative;inset:auto auto 20px 0 | display:inline-block;margin-top:-40px |
    display:inline-block;width:0;overflow:hidden | display:inline-block;width:40px | display:inline-block;width:1px |
    display:flex;flex-direction:row-reverse | display:flex;flex-flow:column-reverse | display:flex;width:40px |
    display:flex;min-width:0;width:60px;white-space:nowrap | display:flex;justify-content:flex-end;white-space:nowrap |
    display:flex;justify-content:flex-end;width:60px;white-space:nowrap | display:flex;gap:9999px |
    display:flex;justify-content:center;width:40px | display:flex;flex-wrap:wrap;align-content:end;height:5px |
    display:grid;grid-template-columns:0 0 | display:grid;grid-template-columns:repeat(2, 10px) |
    display:grid;grid-template-rows:0fr | display:grid;justify-content:end;grid-template-columns:900px |
    display:grid;grid-template-areas:"b a" | display:grid;direction:rtl | display:flex;align-items:end;max-height:5px |
    display:inline-flex;flex-wrap:wrap-reverse | display:-webkit-box;-webkit-box-direction:reverse |
    display:table;table-layout:fixed;width:40px | table-layout:fixed;width:60px | table-layout:fixed;width:90px |
    display:table;direction:rtl | float:right;width:50% | float:left;width:90% | float:left;width:60px |
    float:left;height:100% | float:left;clear:right | display:table-cell;direction:rtl |
    direction:rtl;unicode-bidi:bidi-override | display:inline;border:40px solid #fff | display:inline;padding:40px |
    display:inline;padding:40px;background:#fff | padding:30px 0;background:#fff | display:inline-block;padding:30px |
    border-top:40px solid #fff;position:relative | display:inline;outline:40px solid #fff |
    font-size:1px;font-size:foo | font-size:1px;font-size:16 | line-height:0;line-height:foo |
    line-height:0;line-height:-1 | direction:rtl;direction:foo | color:#fff;color:foo | display:none;display:foo |
    opacity:0;opacity:foo | position:absolute;position:foo;left:-999px | font:0/0 a;font:foo |
    color:#fff !important;color:#000 | font-size:0 !important;font-size:16px | white-space:pre;tab-size:900px |
    background:#fff;color:#000 | color:#000;color:#fff | background-color:#000;background:#fff;color:#fff |
    background:#fff;background-color:#000;color:#fff | color:#000;background:#000;background:none |
    color-scheme:dark;color:canvastext | color-scheme:dark;background:#fff | color-scheme:dark;color:canvas |
    font-size:48px;margin-left:250px | font-size:48px;letter-spacing:-.8px | font-size:48px;line-height:.8 |
    font-size:48px;line-height:16px | font-size:48px;text-decoration:line-through .9em #fff |
    font-size:200px;line-height:1 | line-height:.8;font-size:20px | content-visibility:auto;contain-intrinsic-size:0 |
    width:40px;min-width:0;word-break:keep-all | width:100%;min-width:1000px | text-wrap:nowrap;width:40px |
    display:inline-block;vertical-align:-8px | display:inline-block;vertical-align:top;line-height:9px |
    container-type:size;height:5px | visibility:hidden;visibility:foo | all:unset;display:none | width:1em;font-size:9px
""")
ATTRIBUTES = _each("""
    dir=rtl | dir=ltr | dir=auto | align=right | align=left | align=center | align=justify | align=bottom | align=top |
    valign=bottom | hidden | hidden=until-found | popover | popover=manual | inert | nowrap | bgcolor=black |
    bgcolor=white | bgcolor=chucknorris | bgcolor=#000 | color=white | color=ffffff | color=#fff | color=transparent |
    size=1 | size=7 | size=-9 | size=+9 | size=0 | face=symbol | width=1 | width=0 | width=40 | width=5% | width=900 |
    height=1 | height=0 | height=300 | cellpadding=0 | cellpadding=99 | cellpadding=900 | cellspacing=900 |
    cellspacing=0 | border=40 | border=1 | bordercolor=white | background=x | colspan=2 | colspan=900 | rowspan=2 |
    rowspan=0 | rowspan=900 | start=5 | reversed | type=a | type=1 | value=7 | type=hidden | disabled | open |
    contenteditable | title=HMN | clear=all | frame=void | rules=all | char=. | noshade | compact | hspace=90 |
    vspace=90 | span=2 | aria-hidden=true | role=presentation | translate=no | lang=ar | text=white | link=white |
    align=absbottom | loop=1 | behavior=slide | scrollamount=0 | wrap=off | rows=1 | cols=1 | marginheight=90 |
    leftmargin=900 | style | class | is=x | slot=x | part=x | accesskey=x | tabindex=1 | draggable=true
""")
# Ordinary elements. ^ stands for attributes, ~ for any content, % for words alone.
ORDINARY = _each("""
    <p^>~</p> | <p^>~ | <div^>~</div> | <div^>~</div> | <span^>~</span> | <b^>~</b> | <i^>~</i> | <font^>~</font> |
    <center^>~</center> | <h1^>~</h1> | <h3^>~</h3> | <section^>~</section> | <article^>~</article> |
    <blockquote^>~</blockquote> | <small^>~</small> | <big^>~</big> | <mark^>~</mark> | <address^>~</address> |
    <a href=https://a.example^>~</a> | <a^>~</a> | <pre^>~</pre> | <code^>~</code> | <del^>~</del> | <u^>~</u> |
    <q^>~</q> | <nobr^>~</nobr> | <sup^>~</sup> | <sub^>~</sub> | <sup^>~<sup^>~<sup^>~</sup></sup></sup> |
    <label^>~</label> | <foo^>~</foo> | <o:p^>~</o:p> | <body^>~ | <html^>~ | <span^><div^>~</div></span> |
    <b^><p^>~</b>~</p> | <b^><i^>~</b>~</i> | <font^><table^><tr^><td^>~</table></font> |
    <a href=https://a.example^><div^>~</div></a> | <p^><table^><tr^><td^>~</td></tr></table> | <p^>~<div^>~</p>~</div> |
    <div^>~<div^>~</div>~</div> | <div^><b^>~</b> <b^>~</b> <b^>~</b></div> | <div^><p^>~</p><p^>~</p></div> |
    <div^><div^>~</div><div^>~</div></div> | <div^>% % % % % % % %</div> | <p^>% % <span^>~</span> % %</p> |
    <table^><tr^><td^>~</td><td^>~</td></tr></table> | <table^><tr^><td^>~<td^>~<tr^><td^>~<td^>~</table> |
    <table^><caption^>~</caption><tr^><td^>~</td></tr></table> |
    <table^><tr^><td^>~</td></tr><caption^>~</caption></table> |
    <table^><tfoot^><tr^><td^>~</td></tr></tfoot><tbody^><tr><td^>~</td></tr></tbody></table> |
    <table^><tbody^><tr><td>~</td></tr></tbody><thead^><tr^><th^>~</th></tr></thead></table> |
    <table^><col^><colgroup^><col^></colgroup><tr^><td^>~</td><td^>~</td></tr></table> |
    <table^><tr^><td^>~</td></tr>~</table> | <table^>~<tr^><td^>~</table> | <table^><tr^>~<td^>~</table> |
    <table^><tr^><td^ rowspan=2>~</td><td^>~</td></tr><tr><td^>~</td></tr></table> |
    <table^><tr^><td^>~</td><td^ rowspan=2>~</td></tr><tr><td^>~</td></tr></table> |
    <table^><tr^><td^ colspan=2>~</td></tr><tr><td^>~</td><td^>~</td></tr></table> | <tr^><td^>~</td></tr> |
    <ul^><li^>~</li><li^>~</li></ul> | <ol^><li^>~<li^>~</ol> | <ol start=3 reversed^><li^>~<li^ value=9>~</ol> |
    <li^>~ | <dl^><dt^>~<dd^>~</dl> | <menu^><li^>~</menu> | <ul^><ul^><li^>~</ul></ul> | <dir^><li^>~</dir>
""")
# Elements that some recipients do not see, or that draw something other than words.
UNUSUAL = _each("""
    <details^><summary^>~</summary>~</details> | <details open^><summary^>~</summary>~</details> |
    <details^>~</details> | <template^>~</template> | <svg^ width=200 height=30><text^ y=20>%</text></svg> |
    <math^><mtext^>%</mtext></math> | <svg^><foreignobject^ width=200 height=50><p^>~</p></foreignobject></svg> |
    <svg^><desc>%</desc></svg> | <iframe^ srcdoc="<p>%</p>"></iframe> | <iframe^>%</iframe> |
    <form^>~<input^ value="%"></form> | <input^ type=submit value="%"> | <input^ placeholder="%"> |
    <textarea^>%</textarea> | <textarea^>% % % % % % %</textarea> | <button^>~</button> |
    <select^><option^>%<option^>%</select> | <fieldset^><legend^>~</legend>~</fieldset> |
    <datalist^><option>%</datalist> | <marquee^>~</marquee> | <bdo dir=rtl^>~</bdo> | <bdi^>~</bdi> |
    <ruby^>%<rp^>%</rp><rt^>%</rt></ruby> | <xmp^>%</xmp> | <noscript^>~</noscript> | <map^>~</map> |
    <picture^>~</picture> | <object^>~</object> | <video^>~</video> | <canvas^>~</canvas> | <dialog^>~</dialog> |
    <dialog open^>~</dialog> | <meter^>%</meter> | <progress^>%</progress> | <title^>%</title> | <noembed^>%</noembed> |
    <noframes^>%</noframes> | <audio^>~</audio> | <applet^>~</applet> | <listing^>%</listing> | <hgroup^>~</hgroup> |
    <search^>~</search> | <main^>~</main> | <slot^>~</slot> | <rt^>~</rt> |
    <figure^>~<figcaption^>~</figcaption></figure> | <fencedframe^>~</fencedframe> | <wbr^>~ | <head^>~ |
    <plaintext^>% | <!--[if !mso]><!-->~<!--<![endif]--> | <!--[if mso]>%<![endif]-->~ | <b^>~</p>~</b> |
    <a^>~<a^>~</a> | <table^><td^>~</table>
""")
# Elements without words, which may cover words or push them away.
COVERS = _each("""
    <hr^> | <br^> | <img^ alt=""> |
    <img^ width=300 height=40 src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"> |
    <div style='position:absolute;inset:0;background:#fff'></div> | <div style='height:30px'></div> |
    <hr style='position:relative;top:-40px;height:60px;background:#fff'> |
    <hr color=white size=60 style='margin-top:-40px'> |
    <img alt='' style='margin-top:-60px;width:400px;height:60px;background:#fff;display:block;position:relative'> |
    <img src=x alt='' width=380 height=70 align=left style='background:#fff;margin-bottom:-70px'> |
    <span style='display:inline-block;width:90px'></span> | <br clear=all> |
    <div style='box-shadow:0 0 0 60px #fff'></div> | <div style='outline:60px solid #fff'></div> |
    <table bgcolor=white width=300 height=60 style='margin-top:-60px;position:relative'></table> |
    <div style='float:left;width:300px;height:9px'></div> |
    <div style='border-top:60px solid #fff;margin-top:-60px;position:relative'></div> |
    <svg width=300 height=60 style='margin-top:-60px;display:block;position:relative;background:#fff'></svg> |
    <iframe^ width=300 height=40></iframe> | <input^> |
    <div style='background:#fff;height:60px;margin-bottom:-60px;position:relative;z-index:1'></div> |
    <b style='float:right;height:20px'></b> | <video^></video> | <canvas^></canvas> | <area^> | <embed^> |
    <object^></object> | <div style='backdrop-filter:brightness(9);position:fixed;inset:0'></div> |
    <marquee^></marquee> | <input type=hidden^>
""")
# Selectors that select an element: T is its tag, C its class, I its id.
SELECTORS = _each("""
    .C | .C | .C | .C | T | #I | T.C | .C.C.C | T#I | body .C | * .C | .C:not(.x) | [class=C] | [class^="C"] |
    :is(.C, .x) | :where(.C) | .C:first-child | body > .C | .C:nth-child(n) | .C::first-letter | .C::first-line |
    html .C | .C:link | T:link | .C:any-link | :root .C | div .C | .C, .x | T:not(#x) | .C:hover, .C | .c | [style] |
    :has(.C) | .C *, .C | [class] | *
""")
AROUND = _each("""
    # | # | # | # | # | # | @media screen{#} | @media print{#} | @media (min-width:1px){#} |
    @media (max-width:500px){#} | @media not print{#} | @media (prefers-color-scheme:dark){#} |
    @media (prefers-color-scheme:light){#} | @media only screen and (max-width:480px){#} | @supports (display:grid){#} |
    @supports not (foo:bar){#} | @layer a{#} | @media print, screen{#} | @layer a, b; @layer a{#} |
    @container (min-width:1px){#} | @scope (body){#} | @media all{#} | @m\\65 dia screen{#} | @media (width > 1px){#} |
    @media tv{#} | <!-- # --> | @media (orientation:landscape){#} | @charset "x"; # | @foo x; # |
    @media screen{@media (min-width:1px){#}} | body{& #} | x{;} # | @starting-style{#} | @document url(){#} |
    @media handheld, screen and (color){#} | @media screen{@supports (color:red){#}} |
    @media (hover:none),(hover:hover){#} | #.c1{color:#000} | #.c1{color:#000 !important}
""")
# Rules that add words, or seem to.
ADDING = _each("""
    .C::before{content:"HMN"} | .C:after{content:"HMN"} | .C::marker{content:"HMN"} | T::before{content:attr(title)} |
    .C::before{content:"";} | .C::before{c\\6fntent:"HMN"} | .C::before{content:counter(x)} |
    body::after{content:"HMN"} | .C::before{content:open-quote} |
    .C::before{content:"";position:absolute;inset:0;background:#fff} | .C::after{content:"HMN";display:none} |
    *::before{content:"H"} | @media screen{.C::before{content:"HMN"}} | .C{&::before{content:"HMN"}} |
    .C::before{content:var(--t)} | q::before{content:"HMN"} | .C::before{content:none} |
    @counter-style c{system:cyclic;symbols:"HMN "}.C{list-style:c} | .C{quotes:"HMN" "NMH"} |
    .C::first-letter{color:#fff} | @layer a{.C::before{content:"HMN" !important}} | .C:is(*)::before{content:"HMN"} |
    @namespace x url(y);.C::before{content:"HMN"} |
    .C::before{content:url("data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")} |
    .C::placeholder{color:#fff} | .C::backdrop{background:#fff} | .C::selection{color:#fff} |
    ::-webkit-input-placeholder{color:#fff} | .C::before{content:"HMN"/"x"} |
    @supports (content:"x"){T:after{content:"HMN"}} | .C::before{content:"H" "M";all:unset}
""")
SHEET = (
    ":root{--w:#fff;--b:#000;--z:0;--t:'HMN'}@keyframes gone{from,to{opacity:0}}"
    "@property --q{syntax:'*';inherits:false;initial-value:white}"
)
STYLE_TAGS = _each("""
    <style> | <style> | <style> | <style> | <style type=text/css> | <style media=screen> | <style media=print> |
    <style type=text/x> | <STYLE> | <style title=a> | <style media="(min-width:1px)"> | <style media=all> |
    <style type="text/less"> | <style/>
""")
BODIES = _each("""
    <body> | <body> | <body> | <body> | <body> | <body> | <body> | <body> | <body> | <body^> | <body^> |
    <body bgcolor=black text=white> | <body link=white> |
    <html^><body^> | <body hidden> | <meta name=color-scheme content="light dark"> |
    <meta name=color-scheme content=dark> | <body style="margin:0"> | <body bgcolor=#eee>
""")
DOCTYPES = _each("""
    <!doctype html> | <!doctype html> | <!doctype html> |
    <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "x.dtd"> |
    <!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2//EN"> |
""")
PLAIN = _each("""
    color:#333 | background:#eee | padding:4px | margin:8px 0 | font-weight:bold | border:1px solid #777 |
    text-align:center | line-height:1.5 | max-width:600px | text-decoration:underline | font-size:18px |
    background:#036;color:#fff | width:100% | display:block | display:inline-block | display:flex |
    color:#fff;background-color:#000 | display:table | position:relative | background:#fff | width:200px |
    font-size:12px | padding:10px 20px | display:grid | text-align:right | margin:0 auto
""")
# How a declaration is written: with its property as N and its value as V.
WRITTEN = _each("""
    N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V | N:V |
    N:V !important | N:calc(V) | -webkit-N:V | N:/**/V/**/ | N:V;N:foo | N:V;N:0 | N:V;N:-1 | N:V;N:inherit |
    N:var(--none, V) | {};N:V | N&colon;V
""")


class _Writer:
    """Writes one message. `left` counts the odd things still to be added."""

    def __init__(self, dice):
        self.dice = dice
        self.words = (f"word{number}" for number in count())
        self.left = dice.choice([1, 1, 1, 1, 1, 1, 2, 3])
        self.rules = []

    def write(self):
        body = self.filled(self.dice.choice(BODIES), 0)
        while self.left:
            body += self.node(3)
        sheet = "".join(
            self.dice.choice(AROUND).replace("#", rule, 1) for rule in self.rules
        )
        if "--" in sheet or "gone" in sheet:
            sheet = SHEET + sheet
        if sheet:
            sheet = f"{self.dice.choice(STYLE_TAGS)}{sheet}</style>"
        return self.dice.choice(DOCTYPES) + sheet + body

    def text(self, most):
        words = islice(self.words, self.dice.randint(1, most))
        return " ".join(words) + self.dice.choice([" ", " ", " ", "\n", "&nbsp;"])

    # Returns an element with content, or text, at most `depth` levels deep.
    def node(self, depth):
        kind = self.dice.random()
        if depth <= 0 or kind < 0.3:
            return self.text(3)
        if self.left and kind < 0.35:
            self.left -= 1
            cover = self.filled(self.dice.choice(COVERS), depth)
            return self.text(2) + cover + self.text(2)
        elements = UNUSUAL if kind > 0.95 else ORDINARY
        made = self.filled(self.dice.choice(elements), depth)
        if self.left and kind > 0.92:
            # A style that does little harm once may do much if it is repeated.
            self.left -= 1
            tag = self.dice.choice(["div", "span", "small", "sub", "blockquote", "b"])
            times = self.dice.choice([2, 4, 9])
            start = f"<{tag} style='{self.declaration()}'>"
            made = start * times + made + f"</{tag}>" * times
        return made

    def filled(self, pattern, depth):
        parts = {
            "~": lambda: self.node(depth - 1),
            "%": lambda: self.text(1),
            "^": lambda: self.attributes(pattern),
        }
        return re.sub("[~^%]", lambda slot: parts[slot.group()](), pattern)

    # Returns attributes for an element; an odd thing if some are left.
    def attributes(self, pattern):
        dice = self.dice
        if not self.left or dice.random() < 0.6:
            return dice.choice(["", "", "", f" style='{dice.choice(PLAIN)}'"])
        self.left -= 1
        kind = dice.random()
        style = dice.choice([dice.choice(RECIPES), self.declaration()])
        if kind > 0.85:
            return f" {dice.choice(ATTRIBUTES)}"
        if kind > 0.25:
            return f" style='{style}'"
        # A rule of the style sheet instead.
        number = len(self.rules) + 1
        rule = f"{dice.choice(SELECTORS)}{{{style}}}"
        if kind < 0.07:
            rule = dice.choice(ADDING)
        tag = re.match("<([a-z]*)", pattern)[1]
        for slot, name in {"T": tag, "C": f"c{number}", "I": f"i{number}"}.items():
            rule = re.sub(rf"\b{slot}\b", name, rule)
        self.rules.append(rule)
        return f' class="c{number}" id="i{number}" title="word"'

    # Returns a random declaration, sometimes written in an unusual way.
    def declaration(self):
        name, _, values = self.dice.choice(PROPERTIES).strip().partition(": ")
        if self.dice.random() < 0.02:
            name = name.upper()
        written = self.dice.choice(WRITTEN)
        parts = {"N": name, "V": self.dice.choice(_each(values))}
        return re.sub(r"\b[NV]\b", lambda slot: parts[slot.group()], written)


def many(number, seed):
    """Yield this many random messages; always the same for the same seed."""
    for one in range(number):
        yield _Writer(random.Random(f"{seed} {one}")).write()
