const pick = document.getElementById("metric");
const show = () => {
  for (const section of document.querySelectorAll("section[data-metric]")) {
    section.hidden = section.dataset.metric !== pick.value;
  }
};
pick.addEventListener("change", show);
show();

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const down = header.getAttribute("aria-sort") !== "descending";
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.key ?? row.children[column].textContent;
  const number = (text) => (text === "" ? -Infinity : Number(text));
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const order = isNaN(number(x)) || isNaN(number(y)) ? x.localeCompare(y) : number(x) - number(y);
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

for (const header of document.querySelectorAll("thead th")) {
  header.tabIndex = 0;
  header.addEventListener("click", () => sortBy(header));
  header.addEventListener("keydown", (event) => event.key === "Enter" && sortBy(header));
}
