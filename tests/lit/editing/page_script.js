// Runs the page's script without a browser: node page_script.js ADDRESS edit.js
// Elements do nothing but remember; requests go to the server. Draws a stroke, looks from elsewhere, takes it back.
"use strict";
const fs = require("fs"), vm = require("vm");
const [address, script] = process.argv.slice(2);
const elements = {}, asked = [];

function element() {
  return {
    children: [], dataset: {}, listeners: {}, attributes: {}, value: "0", src: "", clientWidth: 160, textContent: "",
    addEventListener(kind, act) { this.listeners[kind] = act; },
    setAttribute(name, value) { this.attributes[name] = value; },
    append(...more) { this.children.push(...more); },
    setPointerCapture() {},
    getBoundingClientRect: () => ({ left: 10, top: 20, width: 160, height: 160 }),
    getContext: () => ({ drawImage() {}, beginPath() {}, moveTo() {}, lineTo() {}, stroke() {} }),
  };
}

const page = element();
const context = {
  document: {
    getElementById: (name) => (elements[name] ??= element()),
    createElement: element, createElementNS: element, body: page,
  },
  fetch: (path, options) => {
    asked.push(`${options.method ?? "GET"} ${path.split("?")[0]}`);
    return fetch(address + path, options);
  },
  createImageBitmap: async (blob) => blob,
  setInterval() {}, URL, Option: function Option(text, value) { Object.assign(this, { text, value }); },
};

async function until(true_) {
  for (let waited = 0; !true_(); waited++) {
    if (waited > 5000) throw new Error(`${true_}: ${JSON.stringify([page.dataset, elements.status.textContent])}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

(async () => {
  vm.runInNewContext(fs.readFileSync(script, "utf8"), context);
  await until(() => page.dataset.film === 1);
  const first = elements.image.src, canvas = elements.canvas.listeners;
  elements.brushes.children[2].listeners.click();
  elements.radius.value = "2";
  canvas.pointerdown({ button: 0, pointerId: 1, clientX: 50, clientY: 105 });
  canvas.pointermove({ clientX: 130, clientY: 105 });
  canvas.pointerup({});
  await until(() => page.dataset.film === 2);
  const drawn = elements.image.src !== first;
  elements.yaw.value = "2";
  elements.pitch.value = "0.1";
  elements.yaw.listeners.input();
  await until(() => page.dataset.view === "?yaw=2&pitch=0.1");
  elements.undo.listeners.click();
  await until(() => page.dataset.version === 3);
  const brushes = elements.brushes.children.map((button) => button.attributes["aria-checked"]);
  console.log(JSON.stringify({ drawn, brushes, posts: asked.filter((line) => line.startsWith("POST")),
    films: asked.length, said: elements.status.textContent }));
  process.exit(0);
})();
