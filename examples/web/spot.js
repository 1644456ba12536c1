// Run a spot-edge model file in a web page, with the same tensor, scores and triage categories as on the device.
// Needs only @litertjs/core. Copy this file into your app; `index.html` shows how to use it.

import {loadLiteRt, loadAndCompile, Tensor} from "@litertjs/core";

const STRETCHED = [1.2, 1.5];  // images with a width:height ratio in this range are resized without a crop
const GEOMETRIES = ["stretch", "stretch-reduced-jpeg"];  // browsers decode at full size, which the kit allows for both
const NEAR_TIE = 0.1;  // the top two scores differ by less
const PRECISION = 22;  // fractional bits of Pillow's fixed-point weights

/** Fetch the model file at `url`, verify it and load it into LiteRT.js. `wasm` is the folder of LiteRT.js's wasm files. */
export async function loadModel(url, wasm) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  const content = new Uint8Array(await response.arrayBuffer());
  const id = await verified(content, url);
  const about = JSON.parse(new TextDecoder().decode(member(content, "spot.json")));
  if (!GEOMETRIES.includes(about.image.geometry)) {
    throw new Error(`${url}: this page cannot prepare images with the geometry ${about.image.geometry}, only with ` +
      `${GEOMETRIES.join(" or ")}. Update spot.js.`);
  }
  await loadLiteRt(wasm);
  const network = await loadAndCompile(content, {accelerator: "wasm"});
  return {id, about, network};
}

/** Classify an image (a File or Blob): ranked classes, whether the top two are a near tie, triage, prediction set. */
export async function classify(model, blob) {
  const start = performance.now();
  const {tensor, crop} = await prepare(blob, model.about.image.size);
  const prepared = performance.now();
  const {scores} = await run(model, tensor);
  return {...interpret(model.about, scores), crop, ms: {prepare: prepared - start, network: performance.now() - prepared}};
}

/** Run the network on uint8 RGB `[size, size, 3]`. Returns scores, evidence and embedding as Float32Arrays. */
export async function run(model, tensor) {
  const {size} = model.about.image;
  const image = new Tensor(Uint8Array.from(tensor), [1, size, size, 3]);
  const outputs = await model.network.run({image});
  const found = {};
  for (const [name, output] of Object.entries(outputs)) {
    found[name] = (await output.data()).slice();
    output.delete();
  }
  image.delete();
  return found;
}

/** Turn an image into the model's input tensor: upright, sRGB, cropped to 4:3 if its shape is unusual, then resized. */
export async function prepare(blob, size) {
  const canvas = await decode(blob);
  const crop = central(canvas.width, canvas.height);
  const [left, top, right, bottom] = crop ?? [0, 0, canvas.width, canvas.height];
  const pixels = canvas.getContext("2d").getImageData(left, top, right - left, bottom - top);
  return {tensor: resize(pixels, size), crop};
}

/** Read an image that already has the model's size, such as those in a kit's `inputs/`, without resizing it. */
export async function rawPixels(blob) {
  const canvas = await decode(blob);
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, index) => index % 4 !== 3);
}

async function decode(blob) {
  const bitmap = await createImageBitmap(blob, {imageOrientation: "from-image", premultiplyAlpha: "none"});
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** Turn scores into ranked classes, triage and prediction set, with the figures measured on this model file. */
export function interpret(about, scores) {
  const own = about.conformal?.classes;
  const ranked = about.labels.map((label, index) =>
    ({...label, score: scores[index], coverage: own?.[label.label]?.coverage ?? 1}));
  const malignant = ranked.reduce((sum, each) => sum + (each.malignant ? each.score : 0), 0);
  ranked.sort((one, other) => other.score - one.score);
  const points = [...(about.operating_points ?? [])].sort((one, other) => other.threshold - one.threshold);
  const reached = points.findIndex((point) => malignant >= point.threshold);
  const category =
    points.length === 0 ? "cannot assess" : reached === 0 ? "review now" : reached > 0 ? "review soon" : "routine";
  const point = points.at(reached);  // -1 selects the last one: every score below it is routine
  const predictionSet = own && ranked.filter((each) => !own[each.label] || each.score >= own[each.label].threshold);
  const nearTie = ranked.length > 1 && ranked[0].score - ranked[1].score < NEAR_TIE;
  return {ranked, nearTie, triage: {category, malignant, point}, predictionSet};
}

/** The box to crop to, or null to keep the whole image. */
function central(width, height) {
  if (STRETCHED[0] * height <= width && width <= STRETCHED[1] * height) return null;
  if (3 * width > 4 * height) {
    const kept = Math.floor((4 * height + 1) / 3);
    const left = Math.floor((width - kept) / 2);
    return [left, 0, left + kept, height];
  }
  const kept = Math.floor((3 * width + 2) / 4);
  const top = Math.floor((height - kept) / 2);
  return [0, top, width, top + kept];
}

/** Resize RGBA to RGB of `size` by `size`: bilinear with antialiasing, bit for bit as Pillow does it. */
function resize({data, width, height}, size) {
  const across = weights(width, size), down = weights(height, size);
  const rows = new Uint8Array(height * size * 3), result = new Uint8Array(size * size * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const {first, factors} = across[x];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 1 << (PRECISION - 1), index = 4 * (y * width + first) + channel;
        for (const factor of factors) { sum += data[index] * factor; index += 4; }
        rows[3 * (y * size + x) + channel] = sum >> PRECISION;
      }
    }
  }
  for (let y = 0; y < size; y++) {
    const {first, factors} = down[y];
    for (let index = 0; index < 3 * size; index++) {
      let sum = 1 << (PRECISION - 1), from = 3 * size * first + index;
      for (const factor of factors) { sum += rows[from] * factor; from += 3 * size; }
      result[3 * size * y + index] = sum >> PRECISION;
    }
  }
  return result;
}

/** For each output pixel: the first input pixel that contributes to it, and the weights of that one and the following. */
function weights(from, to) {
  const scale = from / to, support = Math.max(scale, 1);
  return Array.from({length: to}, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const last = Math.min(Math.trunc(center + support + 0.5), from);
    const shares = Array.from({length: last - first}, (_, step) =>
      Math.max(1 - Math.abs((first + step - center + 0.5) / support), 0));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return {first, factors: shares.map((share) => Math.trunc(0.5 + (share / total) * 2 ** PRECISION))};
  });
}

/** The model's id, its last 64 bytes. Throws unless it is the SHA-256 of the content before it. */
async function verified(content, url) {
  const id = new TextDecoder().decode(content.slice(-64));
  const body = content.subarray(0, -(64 + "spot-sha256:".length));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  if (Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") !== id) {
    throw new Error(`${url}: the file is damaged or was not made by 'spot-edge convert'. Download or convert it again.`);
  }
  return id;
}

/** One file from the zip archive at the end of the model file. Its entries are stored without compression. */
function member(content, name) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const end = content.length - 64 - "spot-sha256:".length - 22;
  let at = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count > 0; count--) {
    const size = view.getUint32(at + 24, true), start = view.getUint32(at + 42, true);
    const lengths = [28, 30, 32].map((index) => view.getUint16(at + index, true));
    if (new TextDecoder().decode(content.subarray(at + 46, at + 46 + lengths[0])) === name) {
      const first = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
      return content.subarray(first, first + size);
    }
    at += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  throw new Error(`the model file contains no ${name}`);
}
