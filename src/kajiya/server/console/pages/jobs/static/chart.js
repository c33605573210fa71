// A chart of metrics that grows. The server thins what it sends, so a million steps draw as fast as a thousand;
// dragging over a part asks for that part in detail, a double click shows everything again.

import { element } from "../shell/js/dom.js";
import { read, headers } from "../shell/js/request.js";
import { number, t } from "../shell/js/texts.js";

const LOSSES = ["loss", "held_out_loss"];
const MOST = 4000; // points added while watching, before the server is asked to thin them again
const REDRAW = 200; // milliseconds: more often nobody sees

export class Chart {
  #host;
  #address;
  #series = {}; // name: [steps, values]
  #metric = "";
  #zoom = null;
  #plot = null;
  #drawn = "";
  #waiting = 0;
  #added = 0;

  constructor(host, address) {
    this.#host = host;
    this.#address = address;
    new ResizeObserver(() => this.#resize()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#again());
  }

  /** Fetch what there is. Returns the names of the metrics. */
  async load() {
    const part = this.#zoom ? `?first=${Math.floor(this.#zoom[0])}&last=${Math.ceil(this.#zoom[1])}` : "";
    const found = await read(await fetch(this.#address + part, { headers: headers() }));
    this.#series = found.series;
    this.#added = 0;
    this.#draw();
    return Object.keys(this.#series);
  }

  /** Show the losses (empty) or one metric. */
  choose(metric) {
    this.#metric = metric;
    this.#draw();
  }

  /** One more measurement; a resumed job measures steps again, which replaces them. */
  add(step, values) {
    if (this.#zoom) return;
    for (const [name, value] of Object.entries(values)) {
      const [steps, all] = (this.#series[name] ??= [[], []]);
      while (steps.length && steps.at(-1) >= step) {
        steps.pop();
        all.pop();
      }
      steps.push(step);
      all.push(value);
    }
    this.#added += 1;
    if (this.#added > MOST) {
      this.#added = -Infinity; // until it has been loaded
      this.load();
    } else if (!this.#waiting) {
      this.#waiting = setTimeout(() => this.#draw(), REDRAW);
    }
  }

  #names() {
    const wanted = this.#metric ? [this.#metric] : LOSSES;
    return wanted.filter((name) => this.#series[name]?.[0].length);
  }

  #draw() {
    clearTimeout(this.#waiting);
    this.#waiting = 0;
    const names = this.#names();
    if (!names.length) return;
    const data = joined(names.map((name) => this.#series[name]));
    if (this.#plot && this.#drawn === names.join()) this.#plot.setData(data);
    else this.#make(names, data);
    this.#host.setAttribute("aria-label", this.#told(names));
  }

  #told(names) {
    const parts = names.map((name) => {
      const [steps, values] = this.#series[name];
      const last = values.at(-1);
      return t("jobs.chart-told", { name: label(name), value: last == null ? "–" : number(last, 3), step: steps.at(-1) });
    });
    return parts.join(" ");
  }

  #make(names, data) {
    this.#plot?.destroy();
    this.#drawn = names.join();
    const style = getComputedStyle(document.documentElement);
    const probe = document.body.appendChild(element("span")); // a colour is one of two until it is used
    const colour = (name) => ((probe.style.color = `var(${name})`), getComputedStyle(probe).color);
    const lines = [colour("--shu"), colour("--ai")];
    const axis = {
      stroke: colour("--ink-soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: `12px ${style.getPropertyValue("--sans")}`,
    };
    probe.remove();
    this.#plot = new uPlot(
      {
        ...this.#size(),
        scales: { x: { time: false } },
        axes: [{ ...axis }, { ...axis, size: 64 }],
        cursor: { drag: { x: true, y: false, setScale: false } },
        series: [
          { label: t("jobs.step") },
          ...names.map((name, i) => ({
            label: label(name),
            stroke: lines[LOSSES.indexOf(name) === 1 ? 1 : 0],
            width: LOSSES.indexOf(name) === 1 ? 2.5 : 1.5,
            spanGaps: true,
            points: { show: LOSSES.indexOf(name) === 1 },
            value: (_, value) => (value == null ? "–" : number(value, value < 0.01 && value > 0 ? 6 : 3)),
          })),
        ],
        hooks: { setSelect: [(plot) => this.#select(plot)] },
      },
      data,
      this.#host,
    );
    this.#plot.over.addEventListener("dblclick", () => {
      this.#zoom = null;
      this.load();
    });
  }

  #select(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    this.#zoom = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.load();
  }

  #size() {
    return { width: Math.max(200, this.#host.clientWidth), height: this.#host.clientWidth < 500 ? 220 : 300 };
  }

  #resize() {
    this.#plot?.setSize(this.#size());
  }

  #again() {
    this.#drawn = "";
    this.#draw();
  }
}

function label(name) {
  const known = t(`jobs.metric-${name}`);
  return known.startsWith("jobs.") ? name : known;
}

/** Series with steps of their own as uPlot wants them: all steps once, and a value or null for each. */
export function joined(series) {
  if (series.length === 1) return [series[0][0], series[0][1]];
  const steps = [...new Set(series.flatMap(([own]) => own))].sort((a, b) => a - b);
  return [
    steps,
    ...series.map(([own, values]) => {
      const known = new Map(own.map((step, i) => [step, values[i]]));
      return steps.map((step) => known.get(step) ?? null);
    }),
  ];
}
