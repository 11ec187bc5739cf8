// Tables that sort by the column whose heading is clicked; a second click turns the order round.

function sortBy(table, place) {
  const up = table.dataset.sorted === String(place);  // numbers: largest first, then smallest first
  table.dataset.sorted = up ? `-${place}` : String(place);
  const of = row => row.cells[place].dataset.value ?? row.cells[place].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // no value: last, in both orders
    const order = place === 0 ? x.localeCompare(y) : y - x;
    return up ? -order : order;
  });
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, number) => {
    const sorted = place === 0 ? ["ascending", "descending"] : ["descending", "ascending"];
    if (number === place) cell.setAttribute("aria-sort", sorted[Number(up)]);
    else cell.removeAttribute("aria-sort");
  });
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, place) =>
    cell.querySelector("button").addEventListener("click", () => sortBy(table, place)));
}
