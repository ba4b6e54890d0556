"use strict";
// Tables are sorted by the header that is pressed; what is empty stays last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const order = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    };
    body.append(...[...body.rows].sort(compare));
  });
}
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not(.print-not)")) part.open = true;
});

// Marks of figures say what they are: to a pointer or a finger near them, and to the arrow keys.
const REACH = 24;
const tip = document.createElement("div"), texts = new Map();
tip.id = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
document.body.append(tip);
for (const note of document.querySelectorAll(".says")) {
  texts.set(note, note.textContent);
  note.replaceChildren(); // the browser's own tip would come on top
}
let told = null;
const place = () => {
  if (!told) return;
  const mark = told.getBoundingClientRect(), above = mark.top - tip.offsetHeight - 8;
  const left = (mark.left + mark.right - tip.offsetWidth) / 2;
  tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${above > 8 ? above : mark.bottom + 8}px`;
};
const tell = (note) => {
  told?.classList.remove("told");
  told = note;
  tip.hidden = !note;
  tip.textContent = texts.get(note);
  note?.classList.add("told");
  place();
};
const nearest = (notes, x, y) => {
  let found = null, least = Infinity;
  for (const note of notes) {
    const box = note.getBoundingClientRect();
    const [across, down] = [Math.abs(x - (box.left + box.right) / 2), Math.abs(y - (box.top + box.bottom) / 2)];
    const far = Math.hypot(across, down), inside = across <= box.width / 2 && down <= box.height / 2;
    if (far < least && (inside || far < REACH)) [found, least] = [note, far];
  }
  return found;
};
const point = ({ target, clientX, clientY }) =>
  tell(nearest(target.closest?.(".drawing")?.querySelectorAll(".says") ?? [], clientX, clientY));
for (const kind of ["pointermove", "pointerdown"]) addEventListener(kind, point);
for (const kind of ["scroll", "resize"]) addEventListener(kind, place, true);
addEventListener("focusin", ({ target }) => {
  if (target.matches(":focus-visible")) tell(target.querySelector(".says"));
});

// A picture that is pressed is shown large; the arrow keys go to those beside it.
const large = document.createElement("dialog");
document.body.append(large);
let shown = null;
const show = (picture) => {
  shown = picture;
  const caption = document.createElement("p");
  caption.textContent = picture.alt;
  large.replaceChildren(picture.cloneNode(), caption);
  if (!large.open) large.showModal();
};
addEventListener("click", ({ target }) => {
  if (large.open) large.close();
  else if (target.closest("button.picture")) show(target.closest("button.picture").firstElementChild);
});
addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") tell(null);
  const within = large.open ? shown.closest("table") : event.target.matches(".scroll") && event.target;
  if (!step || !within) return;
  const all = [...within.querySelectorAll(large.open ? "img" : ".says")];
  const next = all.at((all.indexOf(large.open ? shown : told) + step) % all.length);
  if (!next) return;
  event.preventDefault();
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  (large.open ? show : tell)(next);
});
