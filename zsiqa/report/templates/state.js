// What is shown: chosen by the controls, and kept in the address behind '#', which can be shared.

const root = document.documentElement;
root.dataset.errors = "";
const fail = text => { root.dataset.errors += `${text}\n`; };
window.addEventListener("error", event => fail(event.message));
window.addEventListener("unhandledrejection", event => fail(String(event.reason)));
window.addEventListener("securitypolicyviolation", event => fail(`blocked: ${event.blockedURI}`));

const data = JSON.parse(document.getElementById("data").textContent);
const bar = document.getElementById("bar");
const cells = document.getElementById("cells");
const byId = id => document.getElementById(id);
const say = (section, text) => { byId(`${section}-said`).textContent = text; };
// Okabe and Ito's colours, black for their yellow; then the same with other marks.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000"];
const MARKS = ["circle", "square", "diamond", "triangle-up", "x"];
const MOVES = {original: "#000000", translate: "#e69f00", dilate: "#56b4e9", rotate: "#009e73"};
const SIGNED = [[0, "#d55e00"], [0.5, "#ffffff"], [1, "#0072b2"]];
const DECIDED = [[0, "#d55e00"], [0.25, "#d55e00"], [0.25, "#ececec"], [0.75, "#ececec"], [0.75, "#0072b2"],
                 [1, "#0072b2"]];
const FEW = 3000;  // dots up to which SVG is quick; above, WebGL where there is any
const PAGE = new Set([...document.querySelectorAll("main section")].map(section => section.id));

// Plotly takes names for a kind of HTML; these are names.
const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const digits = value => value === null || Number.isNaN(value) ? "n/a" : Number(value.toPrecision(4)).toString();
const three = value => value === null ? "n/a" : value.toFixed(3);
const narrow = () => window.innerWidth < 640;
const short = name => narrow() ? plain(name).replace("-", "<br>") : plain(name);

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), character => character.charCodeAt(0));
  return new {u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array}[packed.kind](bytes.buffer);
}
function unpackOnce(holder, name) {
  const key = `${name} unpacked`;
  if (!(key in holder)) holder[key] = unpack(holder[name]);
  return holder[key];
}
function scoresOf(points) {  // 65535 stands for none
  const steps = unpackOnce(points, "scores");
  const step = (points.high - points.low) / 65534;
  return Float64Array.from(steps, value => value === 65535 ? NaN : points.low + value * step);
}
function curve(points, better) {  // label that the fitted curve gives a score; sides are turned as they were for the fit
  if (!points.fit) return null;
  const [b1, b2, b3, b4] = points.fit;
  return score => {
    const x = points.better ? score : -score;
    const y = b2 + (b1 - b2) / (1 + Math.exp(-(x - b3) / Math.abs(b4)));
    return better ? y : -y;
  };
}

const state = {};
const chosen = name => bar.elements[name].value;
const dataset = () => data.datasets[state.dataset];
const analysis = () => dataset()?.analyses[chosen("perturbation")];
const words = () => chosen("q").toLowerCase().split(/\s+/).filter(Boolean);
const fits = name => words().every(word => String(name).toLowerCase().includes(word));
const pointsOf = (metric, perturbation) =>
  dataset()?.points.find(one => one.metric === metric && one.perturbation === perturbation);

function fill(name, options, wanted) {
  const select = bar.elements[name];
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = options.some(([value]) => value === wanted) ? wanted : options[0]?.[0] ?? "";
}
function offer(wanted) {
  fill("dataset", data.datasets.map(one => [one.name, one.label]), wanted.dataset);
  state.dataset = data.datasets.findIndex(one => one.name === chosen("dataset"));
  fill("perturbation", (dataset()?.perturbations ?? []).map(name => [name, name]), wanted.perturbation);
  const values = {};
  analysis()?.metrics.forEach((name, row) => { values[name] = analysis().srcc[row][0]; });
  const known = (dataset()?.points ?? []).filter(one => one.perturbation === chosen("perturbation"));
  const matching = known.filter(one => fits(one.metric));
  fill("metric", (matching.length ? matching : known).map(one => [one.metric,
    `${one.metric}${one.metric in values ? ` (SRCC ${three(values[one.metric])})` : ""}`
    + (one.scores ? "" : " - no plot here")]), wanted.metric);
}
function readAddress() {
  const text = location.hash.slice(1);
  if (PAGE.has(text)) return;
  const wanted = Object.fromEntries(new URLSearchParams(text));
  bar.elements.q.value = wanted.q ?? "";
  for (const name of ["coefficient", "order"]) {
    const select = bar.elements[name];
    select.value = wanted[name] ?? select.options[0].value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }
  for (const radio of cells.elements.show) radio.checked = radio.value === (wanted.show ?? "ours");
  if (![...cells.elements.show].some(radio => radio.checked)) cells.elements.show[0].checked = true;
  cells.elements.columns.checked = wanted.columns === "chosen";
  offer(wanted);
}
function writeAddress() {
  const query = new URLSearchParams();
  for (const name of ["dataset", "perturbation", "metric", "coefficient", "order", "q"]) {
    if (chosen(name)) query.set(name, chosen(name));
  }
  if (cells.elements.show.value !== "ours") query.set("show", cells.elements.show.value);
  if (cells.elements.columns.checked) query.set("columns", "chosen");
  history.replaceState(null, "", `#${query}`);
}
