"use strict";
const FRAMES = 24, FRAME_MS = 110;
const id = (name) => document.getElementById(name);
const canvas = id("canvas"), paint = canvas.getContext("2d");
let state = null, brush = 1, view = null, stroke = null, look = 0, busy = false, again = false;
let film = [], shown = 0, filmOf = -1;

function query() { return view ? `?yaw=${view.yaw}&pitch=${view.pitch}` : ""; }

function say(text) { id("status").textContent = text; }

async function ask(path, content) {
  const options = content === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  throw new Error((await answer.json()).error);
}

async function change(path, content) {
  say("Drawing …");
  try {
    state = await (await ask(path, content)).json();
    await refresh();
    say("");
  } catch (error) { say(error.message); await refresh(); }
}

async function picture(name, at) { return (await ask(`picture/${name}${at}`)).blob(); }

function put(image, blob) {
  const old = image.src, source = URL.createObjectURL(blob);
  image.src = source;
  if (old.startsWith("blob:") && !film.includes(old)) URL.revokeObjectURL(old);
}

async function refresh() {  // one at a time; views that are passed while it is slow are left out
  again = true;
  if (busy) return;
  busy = true;
  try {
    while (again) {
      again = false;
      await redraw();
    }
  } finally { busy = false; }
  turn();
}

async function redraw() {
  const at = query(), version = state.version;
  id("undo").disabled = !state.undoable;
  const drawn = await createImageBitmap(await picture("canvas", at));
  if (!stroke) {
    canvas.width = canvas.height = state.size;
    paint.drawImage(drawn, 0, 0);
  }
  put(id("image"), await picture("image", at));
  Object.assign(document.body.dataset, { version, view: at });
}

async function turn() {  // frame after frame, as long as nothing changes
  const version = state.version;
  if (filmOf === version) return;
  filmOf = version;
  film.forEach((frame) => URL.revokeObjectURL(frame));
  film = [];
  const full = state.reach[0] > 3;
  for (let frame = 0; frame < FRAMES; frame++) {
    const share = frame / FRAMES * 2 * Math.PI;
    const yaw = full ? share : state.reach[0] * Math.sin(share);
    try {
      const blob = await picture("image", `?yaw=${yaw}&pitch=${state.level}`);
      if (filmOf !== version) return;
      film.push(URL.createObjectURL(blob));
    } catch (error) { say(error.message); return; }
  }
  document.body.dataset.film = version;
}

setInterval(() => {
  if (!film.length) return;
  shown = (shown + 1) % film.length;
  id("turn").src = film[shown];
}, FRAME_MS);

function place(event) {
  const box = canvas.getBoundingClientRect(), scale = state.size / box.width;
  return [(event.clientX - box.left) * scale - 0.5, (event.clientY - box.top) * scale - 0.5];
}

function trace() {  // at once, before the server answers
  const [r, g, b] = state.brushes[brush].colour, last = stroke.slice(-2);
  paint.strokeStyle = `rgb(${r},${g},${b})`;
  paint.lineWidth = 2 * Number(id("radius").value);
  paint.lineCap = paint.lineJoin = "round";
  paint.beginPath();
  paint.moveTo(last[0][0] + 0.5, last[0][1] + 0.5);
  paint.lineTo(last[last.length - 1][0] + 0.5, last[last.length - 1][1] + 0.5);
  paint.stroke();
}

canvas.addEventListener("pointerdown", (event) => {
  if (!state || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  stroke = [place(event)];
  trace();
});
canvas.addEventListener("pointermove", (event) => {
  if (!stroke || stroke.length > 9000) return;
  stroke.push(place(event));
  trace();
});
canvas.addEventListener("pointerup", () => {
  if (!stroke) return;
  const points = stroke;
  stroke = null;
  change("stroke", { points, radius: Number(id("radius").value), value: brush, ...view });
});
canvas.addEventListener("pointercancel", () => { stroke = null; refresh(); });

let drag = null;
id("image").addEventListener("pointerdown", (event) => {
  id("image").setPointerCapture(event.pointerId);
  drag = { x: event.clientX, y: event.clientY, yaw: Number(id("yaw").value), pitch: Number(id("pitch").value) };
});
id("image").addEventListener("pointermove", (event) => {
  if (!drag) return;
  const width = id("image").clientWidth;
  id("yaw").value = drag.yaw - (event.clientX - drag.x) / width * 3;
  id("pitch").value = drag.pitch + (event.clientY - drag.y) / width * 2;
  look_from();
});
id("image").addEventListener("pointerup", () => { drag = null; });

function look_from() {
  view = { yaw: Number(id("yaw").value), pitch: Number(id("pitch").value) };
  refresh().catch((error) => say(error.message));
}

function choose(number) {
  brush = number;
  [...id("brushes").children].forEach((button, index) => button.setAttribute("aria-checked", String(index === number)));
}

function swatch(colour) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  const square = document.createElementNS(space, "rect");
  svg.setAttribute("class", "swatch");
  for (const [name, value] of [["width", 14], ["height", 14]]) {
    svg.setAttribute(name, value);
    square.setAttribute(name, value);
  }
  square.setAttribute("fill", `rgb(${colour.join(",")})`);
  svg.append(square);
  return svg;
}

async function start() {
  state = await (await ask("state")).json();
  state.brushes.forEach(({ name, colour }, number) => {
    const button = document.createElement("button");
    button.setAttribute("role", "radio");
    button.append(swatch(colour), name);
    button.addEventListener("click", () => choose(number));
    id("brushes").append(button);
  });
  choose(Math.min(1, state.brushes.length - 1));
  state.maps.forEach((name, number) => id("maps").append(new Option(name, number)));
  const [yaw, pitch] = state.reach;
  Object.assign(id("yaw"), { min: -yaw, max: yaw, value: 0 });
  Object.assign(id("pitch"), { min: -pitch, max: pitch, value: state.level });
  id("radius").max = Math.max(4, state.size / 8);
  id("radius").value = Math.max(1, state.size / 40);
  for (const name of ["yaw", "pitch"]) id(name).addEventListener("input", look_from);
  id("own").addEventListener("click", () => { view = null; refresh(); });
  id("undo").addEventListener("click", () => change("undo", {}));
  id("look").addEventListener("click", () => change("look", { number: ++look }));
  id("maps").addEventListener("change", () => { view = null; change("begin", { number: Number(id("maps").value) }); });
  await refresh();
}

start().catch((error) => say(error.message));
