"use strict";
// The plots and the filter of the report. What is shown follows from the address behind '#', which can be shared.
(() => {
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

// ---- state

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

// ---- tables

function showTables() {
  let shown = 0, all = 0;
  for (const table of document.querySelectorAll("#tables table")) {
    const columns = JSON.parse(table.dataset.columns);
    const some = cells.elements.columns.checked;
    const visible = columns.map(([set, perturbation]) =>
      !some || (set === chosen("dataset") && perturbation === chosen("perturbation")));
    for (const line of table.tHead.rows) {
      let place = 0;
      [...line.cells].slice(2).forEach(cell => {
        const span = Number(cell.dataset.span ??= cell.colSpan);
        const left = visible.slice(place, place + span).filter(Boolean).length;
        cell.hidden = left === 0;
        cell.colSpan = Math.max(left, 1);
        place += span;
      });
    }
    let rows = 0;
    for (const body of table.tBodies) {
      const name = body.dataset.name ??= body.rows[0]?.cells[0].textContent ?? "";
      let first = true;
      for (const row of body.rows) {
        all += 1;
        row.hidden = !fits(`${row.dataset.metric} ${name} ${row.cells[1].textContent}`);
        if (row.hidden) continue;
        row.cells[0].textContent = first ? name : "";
        first = false;
        rows += 1;
        [...row.cells].slice(2).forEach((cell, place) => { cell.hidden = !visible[place]; showCell(cell); });
      }
      body.hidden = first;
    }
    shown += rows;
    const wrapper = table.parentElement;
    wrapper.hidden = rows === 0 || !visible.some(Boolean);
  }
  byId("count").textContent = shown === all ? `${all} rows` : `${shown} of ${all} rows`;
}
function showCell(cell) {
  cell.dataset.html ??= cell.innerHTML;
  const show = cells.elements.show.value;
  cell.style.background = "";
  if (show === "ours") cell.innerHTML = cell.dataset.html;
  else if (!("paper" in cell.dataset)) cell.textContent = "";
  else {
    cell.textContent = show === "paper" ? cell.dataset.paper : cell.dataset.delta;
    if (show === "difference") cell.style.background = shade(Number(cell.dataset.delta));
  }
}
function shade(delta) {  // blue where ours is higher, orange where it is lower; full colour from 0.1 on
  if (Math.abs(delta) < 0.001) return "";
  const share = Math.min(Math.abs(delta) / 0.1, 1) * 0.55 + 0.1;
  return delta > 0 ? `rgba(0, 114, 178, ${share})` : `rgba(213, 94, 0, ${share})`;
}

// ---- plots

const drawn = [];
function draw(section, traces, layout) {
  const plot = byId(`${section}-plot`);
  const font = {family: "system-ui, sans-serif", size: narrow() ? 10 : 12, color: "#1b1b1b"};
  drawn.push(Plotly.react(plot, traces, {
    font, margin: {l: 60, r: 20, t: 30, b: 50}, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest",
    hoverlabel: {align: "left"}, ...layout,
  }, {responsive: true, displaylogo: false, toImageButtonOptions: {filename: `zsiqa-${section}`, scale: 2}}));
}
function nothing(section, text) {
  Plotly.purge(byId(`${section}-plot`));
  byId(`${section}-plot`).replaceChildren();
  say(section, text);
}
function webgl() {
  state.webgl ??= Boolean(document.createElement("canvas").getContext("webgl"));
  return state.webgl;
}

function showScatter() {
  const set = dataset(), points = pointsOf(chosen("metric"), chosen("perturbation"));
  if (!points) return nothing("scatter", "Nothing to plot for this choice; the notes at the end say why.");
  if (!points.scores) return nothing("scatter", "This plot is left out to keep the page small; see the notes.");
  const scores = scoresOf(points), labels = unpackOnce(set, "labels"), types = unpackOnce(set.types, "of");
  const kind = scores.length > FEW && webgl() ? "scattergl" : "scatter";
  const rows = set.types.names.map(() => []);
  scores.forEach((score, row) => { if (!Number.isNaN(score)) rows[types[row]].push(row); });
  const traces = set.types.names.map((name, index) => ({
    type: kind, mode: "markers", name: plain(set.types.titles[index]),
    x: rows[index].map(row => scores[row]), y: rows[index].map(row => labels[row]),
    text: rows[index].map(row => plain(set.ids[row])),
    marker: {size: scores.length > FEW ? 4 : 6, opacity: scores.length > FEW ? 0.5 : 0.75,
             color: COLOURS[index % COLOURS.length],
             symbol: MARKS[Math.floor(index / COLOURS.length) % MARKS.length]},
    hovertemplate: "%{text}<br>score %{x:.5~g}<br>label %{y:.4~g}<extra>%{fullData.name}</extra>",
  }));
  const line = curve(points, set.better);
  if (line) {
    const xs = Array.from({length: 201}, (_, step) => points.low + (points.high - points.low) * step / 200);
    traces.push({type: kind, mode: "lines", name: "logistic fit", x: xs, y: xs.map(line), hoverinfo: "skip",
                 line: {color: "#000", width: 2.5}});
  }
  const direction = better => better ? "higher is better" : "lower is better";
  draw("scatter", traces, {
    height: narrow() ? 520 : 560, showlegend: set.types.names.length > 1 || Boolean(line),
    xaxis: {title: {text: plain(`${points.metric} (${direction(points.better)})`)}, zeroline: false},
    yaxis: {title: {text: `label (${direction(set.better)})`}, zeroline: false},
    legend: narrow() ? {orientation: "h", y: -0.2} : {itemsizing: "constant"},
  });
  const found = rows.reduce((sum, some) => sum + some.length, 0);
  say("scatter", `${set.label}, ${points.metric}, ${points.perturbation} images: ${found} of ${scores.length} pairs`
    + (points.problem ? `. No curve: ${points.problem}.` : `, PLCC after the curve ${three(points.plcc)}.`)
    + (points.note ? ` Note: ${points.note}.` : ""));
}

function showWorst() {
  const set = dataset(), points = pointsOf(chosen("metric"), chosen("perturbation")), list = byId("worst-list");
  list.replaceChildren();
  if (!points?.scores) return say("worst", "Nothing to show for this choice; the notes at the end say why.");
  const scores = scoresOf(points), labels = unpackOnce(set, "labels"), line = curve(points, set.better);
  const place = (values, row, better) => 1 + values.reduce((sum, value, other) => sum
    + (!Number.isNaN(scores[other]) && (better ? value > values[row] : value < values[row])), 0);
  const there = scores.filter(score => !Number.isNaN(score)).length;
  for (const row of points.worst) {
    const item = document.createElement("li"), pair = document.createElement("div");
    pair.className = "pair";
    (set.images[row] ?? []).forEach((key, side) => {
      if (key < 0) return;
      const figure = document.createElement("figure"), image = document.createElement("img");
      image.src = data.thumbnails[key];
      image.alt = `${side ? "distorted" : "reference"} image of ${set.ids[row]}`;
      const caption = document.createElement("figcaption");
      caption.textContent = side ? "distorted" : "reference";
      figure.append(image, caption);
      pair.append(figure);
    });
    const name = document.createElement("strong"), text = document.createElement("p");
    name.textContent = set.ids[row];
    const people = place(labels, row, set.better), metric = place(scores, row, points.better);
    text.style.margin = ".3rem 0 0";
    text.textContent = `${set.types.titles[unpackOnce(set.types, "of")[row]]}. `
      + `Label ${digits(labels[row])}${line ? `, by the curve ${digits(line(scores[row]))}` : ""}; `
      + `score ${digits(scores[row])}. Rank of ${there}: by labels ${people}, by the metric ${metric}: `
      + (people < metric ? "better than the metric says." : "worse than the metric says.");
    item.append(name, pair, text);
    list.append(item);
  }
  const moved = points.perturbation === "original" ? "" : " The pictures are the unmoved ones.";
  say("worst", (points.byRank ? "By difference of ranks, as there is no curve." : "")
    + (set.imagesNote ? ` ${set.imagesNote}` : moved));
}

function shownRows(found) {
  return found ? found.metrics.map((_, row) => row).filter(row => fits(found.metrics[row])) : [];
}
const NONE = "No statistics for this choice; the filter leaves no metric, or the notes at the end say why.";

function showRobustness() {
  const set = dataset(), coefficient = chosen("coefficient"), values = {};
  for (const name of set?.perturbations ?? []) {
    const found = set.analyses[name];
    for (const row of shownRows(found)) (values[found.metrics[row]] ??= {})[name] = found[coefficient][row];
  }
  const metrics = Object.keys(values);
  if (!metrics.length) return nothing("robustness", NONE);
  const value = (metric, name) => values[metric][name]?.[0] ?? null;
  const loss = metric => {
    const moved = set.perturbations.filter(name => name !== "original").map(name => value(metric, name))
      .filter(one => one !== null);
    const still = value(metric, "original");
    return moved.length && still !== null ? still - Math.min(...moved) : null;
  };
  const order = chosen("order") === "loss" ? metric => loss(metric) ?? Infinity
    : metric => -(value(metric, "original") ?? -Infinity);
  metrics.sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
  const names = set.perturbations;
  const traces = names.map((name, index) => ({
    type: "bar", orientation: "h", name: plain(name), y: metrics.map(short), x: metrics.map(one => value(one, name)),
    marker: {color: MOVES[name] ?? COLOURS[(index + 3) % COLOURS.length]},
    error_x: {type: "data", symmetric: false, thickness: 1, width: 0, color: "#777",
              array: metrics.map(one => (values[one][name]?.[2] ?? NaN) - (value(one, name) ?? NaN)),
              arrayminus: metrics.map(one => (value(one, name) ?? NaN) - (values[one][name]?.[1] ?? NaN))},
    hovertext: metrics.map(one => `${plain(one)}, ${plain(name)}: ${three(value(one, name))} `
      + `[${three(values[one][name]?.[1] ?? null)}, ${three(values[one][name]?.[2] ?? null)}]`),
    hoverinfo: "text",
  }));
  draw("robustness", traces, {
    barmode: "group", bargap: 0.25, height: 120 + metrics.length * (14 + 8 * names.length),
    xaxis: {title: {text: coefficient.toUpperCase()}, zeroline: true, zerolinecolor: "#333", side: "top"},
    yaxis: {autorange: "reversed", automargin: true, tickmode: "array", tickvals: metrics.map(short)},
    legend: {orientation: "h", traceorder: "normal", x: 0, y: 1, yref: "container", yanchor: "top"},
    margin: {l: 40, r: 20, t: 90, b: 20},
  });
  const losses = metrics.filter(one => loss(one) !== null).sort((a, b) => loss(a) - loss(b));
  const about = one => `${one} (${three(value(one, "original"))}, at worst ${three(value(one, "original") - loss(one))})`;
  const steady = losses[0], frail = losses[losses.length - 1];
  say("robustness", losses.length > 1 ? `${set.label}: least is lost by ${about(steady)}, most by ${about(frail)}.` : "");
}

function heat(section, found, rows, columns, z, text, layout) {
  const few = rows.length * columns.length <= 400 && !narrow();
  draw(section, [{type: "heatmap", x: columns, y: rows.map(row => short(found.metrics[row])), z, xgap: 1, ygap: 1,
    zmin: -1, zmax: 1, colorscale: layout.numbers ? SIGNED : DECIDED, hoverongaps: false, text, hoverinfo: "text",
    ...(layout.numbers && few ? {texttemplate: "%{z:.2f}"} : {}), showscale: Boolean(layout.numbers),
    colorbar: {thickness: 12, len: 0.9}}], {
    height: 80 + layout.below + rows.length * (narrow() ? 30 : 22),
    yaxis: {autorange: "reversed", automargin: true, tickmode: "array",
            tickvals: rows.map(row => short(found.metrics[row]))},
    xaxis: {automargin: true, tickangle: -60, type: "category", showticklabels: layout.ticks ?? true},
    margin: {l: 40, r: 10, t: 30, b: 40}});
}
function showTypes() {
  const found = analysis(), rows = shownRows(found);
  if (!rows.length) return nothing("types", NONE);
  if (!found.types.names.length) return nothing("types", "The score files of this data set name no distortion types.");
  const known = dataset().types;
  const titles = found.types.names.map(name => plain(known.titles[known.names.indexOf(name)] ?? name));
  heat("types", found, rows, titles, rows.map(row => found.types.values[row]),
    rows.map(row => found.types.values[row].map((value, column) =>
      `${plain(found.metrics[row])}<br>${plain(found.types.titles[column])}: ${three(value)}`)),
    {numbers: true, below: 190});
  say("types", `${dataset().label}, ${chosen("perturbation")} images, ${found.n} pairs.`
    + (found.types.names.length > dataset().types.names.length ? " The last columns are published groups of types." : ""));
}
function showReferences() {
  const found = analysis(), rows = shownRows(found);
  if (!rows.length) return nothing("references", NONE);
  const names = found.within.names;
  draw("references", rows.map(row => ({
    type: "box", orientation: "h", name: short(found.metrics[row]), x: found.within.values[row], text: names.map(plain),
    y: names.map(() => short(found.metrics[row])), boxpoints: names.length > 60 ? "outliers" : "all", jitter: 0.5,
    pointpos: 0, marker: {size: 3.5, color: "#0072b2", opacity: 0.6}, line: {width: 1.3, color: "#333"},
    fillcolor: "rgba(86, 180, 233, 0.35)", hovertemplate: `%{text}: %{x:.3f}<extra>${plain(found.metrics[row])}</extra>`,
  })), {height: 110 + rows.length * 30, showlegend: false,
    xaxis: {title: {text: "SRCC"}, zeroline: true, zerolinecolor: "#333"},
    yaxis: {autorange: "reversed", automargin: true}, margin: {l: 40, r: 20, t: 30, b: 50}});
  const undefined_ = rows.reduce((sum, row) => sum + found.within.values[row].filter(value => value === null).length, 0);
  say("references", `${dataset().label}, ${chosen("perturbation")} images, ${names.length} references.`
    + (undefined_ ? ` ${undefined_} values are undefined (all scores or labels equal) and left out.` : ""));
}
function showSignificance() {
  const found = analysis(), rows = shownRows(found);
  if (!rows.length) return nothing("significance", NONE);
  const about = (a, b) => {
    if (a === b) return plain(found.metrics[a]);
    const [difference, p] = a < b ? found.comparisons[`${a} ${b}`] : found.comparisons[`${b} ${a}`];
    const signed = difference === null ? null : a < b ? difference : -difference;
    return `${plain(found.metrics[a])}<br>less ${plain(found.metrics[b])}:<br>${three(signed)}, p ${digits(p)}`;
  };
  heat("significance", found, rows, rows.map(row => short(found.metrics[row])),
    rows.map(a => rows.map(b => a === b ? null : found.significance[a][b])), rows.map(a => rows.map(b => about(a, b))),
    {below: narrow() ? 60 : 190, ticks: !narrow()});
  const best = found.metrics.filter((_, row) => found.best[row]);
  say("significance", `${dataset().label}, ${chosen("perturbation")} images. Best, and not significantly worse than it: `
    + `${best.join(", ")}.`);
}

async function show() {
  drawn.length = 0;
  root.dataset.ready = "";
  for (const step of [showTables, showScatter, showWorst, showRobustness, showTypes, showReferences,
                      showSignificance]) {
    try { step(); } catch (error) { fail(`${step.name}: ${error.message}`); }
  }
  await Promise.all(drawn);
  root.dataset.ready = "yes";
}
function changed() {
  offer({dataset: chosen("dataset"), perturbation: chosen("perturbation"), metric: chosen("metric")});
  writeAddress();
  show();
}
let waiting;
bar.addEventListener("submit", event => event.preventDefault());
bar.addEventListener("change", changed);
bar.elements.q.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(changed, 250); });
cells.addEventListener("change", () => { writeAddress(); showTables(); });
window.addEventListener("hashchange", () => { if (!PAGE.has(location.hash.slice(1))) { readAddress(); show(); } });
let wasNarrow = narrow();
window.addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); show(); } });
readAddress();
if (PAGE.has(location.hash.slice(1))) offer({});
show();
})();
