// The filter of the tables, and what their cells show.

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
