// Sorting, filtering and switches. The page is complete without it.
"use strict";

function sortable(table) {
  const body = table.tBodies[0];
  const original = Array.from(body.rows);
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, original, head, column));
  });
}

// First click: numbers from high to low, words from A; second: the other way; third: as it was.
function sortBy(table, original, head, column) {
  const keys = original.map((row) => key(row.cells[column]));
  const numeric = keys.every((k) => k === "" || !Number.isNaN(Number(k)));
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const now = head.getAttribute("aria-sort");
  const next = now === null ? first : now === first ? second : null;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  if (next === null) {
    table.tBodies[0].append(...original);
    return;
  }
  head.setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1;
  const order = original.map((row, i) => i);
  order.sort((a, b) => {
    if (keys[a] === "" || keys[b] === "") return (keys[a] === "") - (keys[b] === "") || a - b;
    const d = numeric ? Number(keys[a]) - Number(keys[b]) : keys[a].localeCompare(keys[b]);
    return sign * d || a - b;
  });
  table.tBodies[0].append(...order.map((i) => original[i]));
}

function key(cell) {
  return cell.dataset.key === undefined ? cell.textContent.trim().toLowerCase() : cell.dataset.key;
}

function filterRows() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const singles = document.getElementById("singles").checked;
  const references = document.getElementById("references").checked;
  for (const row of document.querySelectorAll("table.filtered tbody tr")) {
    const text = row.textContent.toLowerCase();
    const reference = row.classList.contains("shortcut") || row.classList.contains("rule");
    row.hidden =
      !words.every((word) => text.includes(word)) ||
      (!singles && row.classList.contains("single")) ||
      (!references && reference);
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
for (const id of ["filter", "singles", "references"]) {
  document.getElementById(id).addEventListener("input", filterRows);
}
document.querySelectorAll(".controls").forEach((controls) => { controls.hidden = false; });
const heat = document.getElementById("heat");
if (heat) {
  heat.addEventListener("input", () => {
    document.getElementById("looked").classList.toggle("without-heat", !heat.checked);
  });
}
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
filterRows();
