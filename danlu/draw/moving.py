"""What moves: points or pictures from frame to frame, with a button and a slider; without scripts, some of
the frames side by side. Nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from danlu.draw.phrases import Words, english
from danlu.draw.picture import Picture
from danlu.draw.scatter import Point, Scatter, around, cloud, grid, opening, scales
from danlu.draw.xml import px, text

SIDE, LEFT, TOP, BELOW = 460, 44, 12, 30  # pixels of the stage, and around it
STILL = 5  # frames that are shown without scripts, at most
SECONDS = 4.0  # from the first frame to the last

# Between frames points go straight; pictures change at once. Who asked for less motion starts it by hand.
_SCRIPT = """<script>
for (const box of document.querySelectorAll(".moving")) {
  const data = JSON.parse(box.querySelector("[type='application/json']").textContent);
  const [play, slide, said] = ["button", "input", "output"].map((tag) => box.querySelector(tag));
  const dots = box.querySelector(".dots"), image = box.querySelector("image");
  const last = data.frames.length - 1, seconds = SECONDS;
  let at = 0, running = false, before = 0;
  const draw = () => {
    const k = Math.min(Math.floor(at), last - 1), share = at - k;
    if (image) image.setAttribute("href", data.frames[Math.round(at)]);
    else {
      const a = data.frames[k], b = data.frames[k + 1];
      let d = "";
      for (let i = 0; i < a.length; i += 2)
        d += `M${((a[i] + share * (b[i] - a[i])) / 10).toFixed(1)} ` +
          `${((a[i + 1] + share * (b[i + 1] - a[i + 1])) / 10).toFixed(1)}h0`;
      dots.setAttribute("d", d);
    }
    slide.value = at;
    said.textContent = data.said.replace("0", Math.round(at));
  };
  const tick = (now) => {
    if (!running) return;
    at = Math.min(last, at + ((now - before) / 1000) * (last / seconds));
    before = now;
    draw();
    if (at < last) requestAnimationFrame(tick);
    else pause();
  };
  const pause = () => { running = false; play.textContent = data.play; };
  const start = () => {
    if (at >= last) at = 0;
    running = true;
    before = performance.now();
    play.textContent = data.pause;
    requestAnimationFrame(tick);
  };
  play.onclick = () => (running ? pause() : start());
  slide.oninput = () => { pause(); at = Number(slide.value); draw(); };
  box.hidden = false;
  draw();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
}
</script>""".replace("SECONDS", f"{SECONDS:g}")


@dataclass(frozen=True)
class MovingPoints:
    """``frames`` of the same points, the start first; ``beside``: points that stay, such as the data, which
    say what the frame is."""

    frames: Sequence[Sequence[Point]]
    beside: Sequence[Point] = ()
    caption: str = ""
    words: Words = english

    def reworded(self, words: Words) -> MovingPoints:
        """The same in other words."""
        return replace(self, words=words, caption=words(self.caption))

    def html(self) -> str:
        """The stage, and the frames that are seen without scripts."""
        frame = around(self.beside or self.frames[-1])
        across, up = scales(frame, LEFT, TOP, SIDE)
        said = self.caption or self.words("points that move")
        stage = "".join([
            opening(LEFT + SIDE + 12, TOP + SIDE + BELOW, text(said)),
            grid(across, up),
            f'<clipPath id="stage"><rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/></clipPath>',
            f'<g class="muted">{cloud(self.beside, across, up)}</g>',
            '<g class="c1" clip-path="url(#stage)"><path class="dots" d="" fill="none" stroke="currentColor" '
            'stroke-width="4" stroke-linecap="round" stroke-opacity="0.8"/></g></svg>',
        ])  # fmt: skip
        tenths = [
            [round(10 * place) for x, y in points for place in (_held(across.at(x)), _held(up.at(y)))]
            for points in self.frames
        ]
        still = Scatter()
        if self.beside:
            still.panel("data", [(0, self.beside)])
        for k in stills(len(self.frames)):
            still.panel(f"step {k} of {len(self.frames) - 1}", [(1, self.frames[k])])
        return _moving(stage, tenths, still.reworded(self.words).svg(), self.caption, self.words)


@dataclass(frozen=True)
class MovingPictures:
    """``frames``: pictures of one size, the start first."""

    frames: Sequence[Picture]
    caption: str = ""
    words: Words = english

    def reworded(self, words: Words) -> MovingPictures:
        """The same in other words."""
        return replace(self, words=words, caption=words(self.caption))

    def html(self) -> str:
        """The stage, and the frames that are seen without scripts."""
        uris = [frame.uri for frame in self.frames]
        still = "".join(
            f"<p>{text(self.words(f'step {k}'))}</p>{self.frames[k].svg()}" for k in stills(len(self.frames))
        )
        return _moving(self.frames[0].svg(), uris, still, self.caption, self.words)


def stills(count: int) -> list[int]:
    """Of ``count`` frames the first, the last, and some between them, evenly."""
    most = min(count, STILL)
    return sorted({round(k * (count - 1) / max(1, most - 1)) for k in range(most)})


def _held(place: float) -> float:
    """A place that fits into a script's numbers, however far outside: it is clipped there."""
    return min(max(place, -1e5), 1e5) if place == place else -1e5


def _moving(stage: str, frames: Sequence[object], still: str, caption: str, words: Words) -> str:
    last = len(frames) - 1
    said = {"said": words(f"step 0 of {last}"), "play": words("play"), "pause": words("pause")}
    data = json.dumps({"frames": frames, **said}, separators=(",", ":"))
    return (
        f'<figure><div class="moving" hidden>{stage}<p><button type="button">{text(words("play"))}</button> '
        f'<input type="range" min="0" max="{last}" step="any" value="0" aria-label="{text(words("step"))}" '
        f'style="width:{px(SIDE / 2)}px"/> <output></output></p>'
        f'<script type="application/json">{data}</script></div>'
        f"<noscript>{still}</noscript>"
        f"<figcaption>{text(caption)}</figcaption></figure>{_SCRIPT}"
    )
