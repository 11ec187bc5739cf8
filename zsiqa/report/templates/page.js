// Draw everything, and again when something is chosen.

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
