"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1080; // pixels on the screen that a picture is enlarged to at most
const ZOOM = 5; // of the worst patch
const LABELLED = 40; // pixels on the screen that a patch has, for its bytes to be written on it

// Fill a <select>, one option for each text.
function offer(select, texts) {
  select.replaceChildren(...texts.map((text, value) => new Option(text, value)));
}

// Write a picture's title and what there is to say of it.
function caption(element, title, ...lines) {
  const name = document.createElement("b");
  name.textContent = title;
  element.replaceChildren(name, ...lines.flatMap((line) => [line, document.createElement("br")]));
}

// Say how much larger a file is than another, where that is worth a word.
function unequal({ bytes }, ours) {
  const percent = Math.round((100 * bytes) / ours.bytes) - 100;
  if (!bytes || Math.abs(percent) < 5) return [];
  return [`${Math.abs(percent)} % ${percent > 0 ? "larger" : "smaller"}`];
}

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Show a part [x, y, width, height] of a picture, enlarged to all the room it has.
function crop(picture, [x, y, width, height], [, , whole, tall]) {
  const box = document.createElement("div");
  box.className = "crop";
  box.style.aspectRatio = `${width} / ${height}`;
  const image = new Image();
  image.src = picture.source;
  image.alt = picture.title;
  image.style.width = `${(100 * whole) / width}%`;
  image.style.transform = `translate(${(-100 * x) / whole}%, ${(-100 * y) / tall}%)`;
  box.append(image);
  return box;
}

// How to place a picture so that a part of it fills its frame.
function zoomed([x, y, width, height], [, , whole, tall]) {
  const shift = `translate(${(-100 * x) / whole}%, ${(-100 * y) / tall}%)`;
  return `scale(${whole / width}, ${tall / height}) ${shift}`;
}

function drawBits(root, image, bits) {
  const [x, y, width, height] = bits.at;
  const map = root.querySelector(".bits");
  map.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
  map.setAttribute("width", screenWidth(image.width));
  map.setAttribute("aria-label", `Map of ${bits.bytes} bytes over the picture`);
  const all = { preserveAspectRatio: "none" };
  const whole = { x: 0, y: 0, width: image.width, height: image.height };
  const parts = [
    svg("image", { ...all, ...whole, href: image.small, class: "under" }),
    svg("image", { ...all, x, y, width, height, href: bits.source, class: "over" }),
  ];
  const few = (map.clientWidth * bits.side) / image.width >= LABELLED;
  for (const [left, top, across, down, cost] of bits.patches) {
    const place = svg("rect", { x: left, y: top, width: across, height: down });
    const rate = (cost / (across * down)).toFixed(3);
    place.append(svg("title", {}, `${Math.round(cost / 8)} bytes, ${rate} bits per pixel`));
    parts.push(place);
    if (few && across >= bits.side / 4 && down >= bits.side / 6) {
      const at = { x: left + across / 2, y: top + down / 2, "font-size": bits.side / 8 };
      parts.push(svg("text", at, Math.round(cost / 8)));
    }
  }
  map.replaceChildren(...parts);
  const square = `${bits.cell} × ${bits.cell}`;
  root.querySelector(".spent").textContent =
    `${bits.bytes} bytes code the picture, ${bits.spread} of them for whole segments alike. ` +
    `A square has ${square} pixels; a number is the bytes of a patch of ` +
    `${bits.side} × ${bits.side}. What is coded first costs more: the rest is foreseen from it.`;
  root.querySelector(".peak").textContent = `${bits.peak} bits per pixel and more`;
}

// Small pictures are enlarged by a whole number.
function screenWidth(width) {
  return width * Math.max(1, Math.floor(WIDTH / width));
}

function show(section) {
  const image = JSON.parse(section.querySelector("script").textContent);
  const heading = section.querySelector("h2");
  const size = document.createElement("small");
  const [left, top, width, height] = image.part;
  size.textContent = `${image.width} × ${image.height}`;
  if (width < image.width || height < image.height) {
    size.textContent += `, of which ${width} × ${height} from ${left}, ${top} are shown`;
  }
  heading.append(size);
  section.append(document.getElementById("view").content.cloneNode(true));

  const find = (selector) => section.querySelector(selector);
  const [ours, other, zoom] = [find(".ours"), find(".other"), find(".zoom")];
  const [frame, range] = [find(".frame"), find("input")];
  const pictures = (view) => view.pictures.map((number) => image.pictures[number]);

  function sides() {
    const shown = pictures(image.views[ours.value]);
    return [shown[other.value], shown[1]]; // the first is the original, the second is ours
  }

  function split() {
    frame.style.setProperty("--split", `${range.value}%`);
    const [before, after] = sides();
    range.setAttribute("aria-valuetext", `${range.value} % ${before.title}, then ${after.title}`);
  }

  function place() {
    const on = zoom.getAttribute("aria-pressed") === "true";
    const worst = image.views[ours.value].worst.at;
    const [across, down] = on ? worst.slice(2) : [width, height];
    find("figure").style.width = `${on ? ZOOM * across : screenWidth(across)}px`;
    frame.style.aspectRatio = `${across} / ${down}`;
    frame.classList.toggle("coarse", frame.clientWidth >= 2 * across);
    for (const picture of frame.querySelectorAll("img")) {
      picture.style.transform = on ? zoomed(worst, image.part) : "";
    }
  }

  function compare() {
    const shown = sides();
    shown.forEach((picture, side) => {
      const name = [".left", ".right"][side];
      const half = find(`.half${name} img`);
      half.src = picture.source;
      half.alt = picture.title;
      const words = [picture.figures, ...unequal(picture, shown[1])];
      caption(find(`.captions ${name}`), picture.title, ...words);
    });
    range.setAttribute("aria-label", "Where the left picture ends and the right one begins");
    split();
    place();
  }

  function choose() {
    const view = image.views[ours.value];
    const shown = pictures(view);
    const before = other.value || 0;
    offer(other, shown.flatMap((picture, index) => (index === 1 ? [] : [picture.title])));
    [...other.options].forEach((option, index) => (option.value = index && index + 1));
    other.value = before;
    const { at, psnr } = view.worst;
    find(".where").textContent =
      `${at[2]} × ${at[3]} pixels from ${left + at[0]}, ${top + at[1]}, where ` +
      `${shown[1].title} has its lowest PSNR, and what the others make of them.`;
    find(".crops").replaceChildren(
      ...shown.map((picture, index) => {
        const figure = document.createElement("figure");
        const words = document.createElement("figcaption");
        const here = index ? [`${psnr[index - 1]} here`, picture.figures] : [];
        caption(words, picture.title, ...here, ...unequal(picture, shown[1]));
        figure.append(crop(picture, at, image.part), words);
        return figure;
      }),
    );
    drawBits(section, image, view.bits);
    compare();
  }

  offer(ours, image.views.map((view) => pictures(view)[1].title));
  ours.addEventListener("change", choose);
  other.addEventListener("change", compare);
  range.addEventListener("input", split);
  zoom.addEventListener("click", () => {
    zoom.setAttribute("aria-pressed", zoom.getAttribute("aria-pressed") !== "true");
    place();
  });
  choose();
}

document.querySelectorAll("section.image").forEach(show);
