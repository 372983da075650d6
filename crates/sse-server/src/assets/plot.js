// Draws figures over time as SVG, and says them in words.
const SVG = "http://www.w3.org/2000/svg";
/** The time that a plot shows. */
export const WINDOW_MS = 300_000;
/** Between points further apart nothing is known. */
const GAP_MS = 3_500;
const HEIGHT = 150;
const TOP = 8;
const LEFT = 56;
const BOTTOM = 22;

export class Plot {
  #svg;
  #now;
  #points = [];
  #width = 0;
  #series;
  #format;
  #least;
  #isBinary;

  /** Makes `figure` a plot of `series`, a list of names; `least` is the smallest top of its scale, which `isBinary` divides as bytes are. */
  constructor(figure, { title, series, format, least = 1, isBinary = false }) {
    this.title = title;
    this.#series = series;
    this.#format = format;
    this.#least = least;
    this.#isBinary = isBinary;
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.appendChild(document.createElement("h3")).textContent = title;
    this.#now = series.map((name, n) => {
      const item = caption.appendChild(document.createElement("p"));
      if (series.length > 1) {
        item.append(swatch(n), `${name} `);
      }
      return item.appendChild(document.createElement("strong"));
    });
    for (const now of this.#now) now.textContent = "–";
    this.#svg = figure.appendChild(document.createElementNS(SVG, "svg"));
    this.#svg.setAttribute("role", "img");
    this.#svg.setAttribute("height", HEIGHT);
    this.#svg.setAttribute("aria-label", `${title}: nothing yet`);
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.round(contentRect.width);
      this.draw();
    }).observe(figure);
  }

  /** Takes a point: a value for each series, null where there is none. */
  add(at, values) {
    this.#points.push({ at, values });
    while (this.#points[0].at < at - WINDOW_MS) this.#points.shift();
  }

  /** For each series its newest value, the least and the most of the time shown, as text. */
  summary() {
    return this.#series.map((name, n) => {
      const values = this.#points.map(({ values }) => values[n]).filter((value) => value !== null);
      const text = (value) => (Number.isFinite(value) ? this.#format(value) : "none");
      const newest = this.#points.at(-1)?.values[n] ?? NaN;
      return { name, now: text(newest), least: text(Math.min(...values)), most: text(Math.max(...values)) };
    });
  }

  /** Shows what it has. */
  draw() {
    const end = this.#points.at(-1)?.at;
    if (end === undefined || this.#width <= LEFT) return;
    const summary = this.summary();
    summary.forEach(({ now }, n) => {
      this.#now[n].textContent = now === "none" ? "–" : now;
    });
    const words = summary.map(({ name, now, least, most }) => `${name}: now ${now}, least ${least}, most ${most}`);
    this.#svg.setAttribute("aria-label", `${this.title}, the last ${WINDOW_MS / 60_000} minutes. ${words.join("; ")}.`);
    const all = this.#points.flatMap(({ values }) => values.filter((value) => value !== null));
    const top = niceTop(Math.max(this.#least, ...all), this.#isBinary);
    const x = (at) => LEFT + (1 - (end - at) / WINDOW_MS) * (this.#width - LEFT - 4);
    const y = (value) => TOP + (1 - Math.max(value, 0) / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [];
    for (const value of [0, top / 2, top]) {
      parts.push(element("line", { class: "grid", x1: LEFT, x2: this.#width - 4, y1: y(value), y2: y(value) }));
      parts.push(text(this.#format(value), { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }));
    }
    parts.push(text(`${WINDOW_MS / 60_000} min ago`, { x: LEFT, y: HEIGHT - 4 }));
    parts.push(text("now", { x: this.#width - 4, y: HEIGHT - 4, "text-anchor": "end" }));
    this.#series.forEach((_, n) => {
      parts.push(element("path", { class: `series s${n}`, d: this.#path(n, x, y) }));
    });
    this.#svg.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    this.#svg.replaceChildren(...parts);
  }

  /** A line through the values; where some are missing it begins anew, and a value alone is a dot. */
  #path(n, x, y) {
    let path = "";
    let before = null;
    for (const { at, values } of this.#points) {
      if (values[n] === null) {
        before = null;
        continue;
      }
      const place = `${x(at).toFixed(1)} ${y(values[n]).toFixed(1)}`;
      path += before !== null && at - before <= GAP_MS ? `L${place}` : `M${place}h0`;
      before = at;
    }
    return path;
  }
}

/** The next of 1, 2, 5, 10, 20, 50 …, or of 1, 1.5, 2, 3, 4, 6, 8 … */
function niceTop(value, isBinary) {
  const power = isBinary ? 2 ** Math.floor(Math.log2(value)) : 10 ** Math.floor(Math.log10(value));
  return (isBinary ? [1, 1.5, 2] : [1, 2, 5, 10]).find((step) => step * power >= value) * power;
}

function swatch(n) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "swatch", viewBox: "0 0 24 8", "aria-hidden": "true" })) svg.setAttribute(name, value);
  svg.append(element("path", { class: `series s${n}`, d: "M1 4H23" }));
  return svg;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(content, attributes) {
  const made = element("text", attributes);
  made.textContent = content;
  return made;
}
