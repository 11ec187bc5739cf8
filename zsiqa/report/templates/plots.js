// The plots, and the list of the worst.

const drawn = [];
function draw(section, traces, layout) {
  const plot = byId(`${section}-plot`);
  const font = {family: "system-ui, sans-serif", size: narrow() ? 10 : 12, color: "#1b1b1b"};
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-labelledby", `${section}-said`);
  drawn.push(Plotly.react(plot, traces, {
    font, margin: {l: 60, r: 20, t: 30, b: 50}, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest",
    hoverlabel: {align: "left"}, ...layout,
  }, {responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover",
      toImageButtonOptions: {filename: `zsiqa-${section}`, format: "svg"}}));
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
    legend: narrow() ? {orientation: "h", y: -0.35} : {itemsizing: "constant"},
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
const basis = () =>
  `${dataset().label}, ${chosen("perturbation")} images, ${analysis().n} of ${dataset().ids.length} pairs`
  + (analysis().leftOut ? `; ${analysis().leftOut} metrics left out: see Notes` : "");
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
  const worst = metric => {
    const known = set.perturbations.map(name => value(metric, name)).filter(one => one !== null);
    return value(metric, "original") !== null && known.length > 1 ? Math.min(...known) : null;
  };
  const order = chosen("order") === "worst" ? metric => -(worst(metric) ?? -Infinity)
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
  const loss = one => value(one, "original") - worst(one);
  const ranked = metrics.filter(one => worst(one) !== null).sort((a, b) => worst(b) - worst(a));
  const frail = [...ranked].sort((a, b) => loss(b) - loss(a))[0];
  const about = one => `${one} (${three(value(one, "original"))} on original images, ${three(worst(one))} in the worst case)`;
  const fewest = Math.min(...Object.values(set.analyses).map(found => found.n)), all = set.ids.length;
  const part = fewest < all ? ` (${fewest} of ${all} pairs at least)` : "";
  say("robustness", ranked.length > 1
    ? `${set.label}${part}: the most robust is ${about(ranked[0])}; most is lost by ${about(frail)}.` : "");
}

function heat(section, found, rows, columns, z, text, layout) {
  const few = rows.length * columns.length <= 400 && !narrow();
  // Cells keep a width at which their columns' names do not overlap; a plot wider than the page scrolls.
  const needed = (narrow() ? 130 : 220) + 18 * columns.length;
  const wide = needed > byId(`${section}-plot`).clientWidth;
  draw(section, [{type: "heatmap", x: columns, y: rows.map(row => short(found.metrics[row])), z, xgap: 1, ygap: 1,
    zmin: -1, zmax: 1, colorscale: layout.numbers ? SIGNED : DECIDED, hoverongaps: false, text, hoverinfo: "text",
    ...(layout.numbers && few ? {texttemplate: "%{z:.2f}"} : {}), showscale: Boolean(layout.numbers) && !narrow(),
    colorbar: {thickness: 12, len: 0.9}}], {
    height: 80 + layout.beside + rows.length * (narrow() ? 30 : 22), autosize: !wide, width: wide ? needed : undefined,
    yaxis: {autorange: "reversed", automargin: true, tickmode: "array",
            tickvals: rows.map(row => short(found.metrics[row]))},
    xaxis: {automargin: true, tickangle: -60, type: "category", side: "top", title: {text: " "}, tickmode: "array", tickvals: columns},
    margin: {l: 40, r: layout.beyond, t: 60, b: 20}});
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
    {numbers: true, beside: 190, beyond: 110});
  say("types", `${basis()}.`
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
  say("references", `${basis()}, ${names.length} references.`
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
    {beside: 190, beyond: 110});
  const best = found.metrics.filter((_, row) => found.best[row]);
  say("significance", `${basis()}. Best, and not significantly worse than it: ${best.join(", ")}.`);
}
