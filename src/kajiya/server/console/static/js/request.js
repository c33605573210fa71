// Requests to our own server, and telling people how they went.

import { element } from "./dom.js";

export class RequestError extends Error {
  constructor(status, { message, where = "", fix = "", code = "" }) {
    super([where, message, fix].filter(Boolean).join(" – "));
    Object.assign(this, { status, code, where, fix, plain: message });
  }
}

/** Ask for JSON; `body` is sent as JSON. Throws RequestError with the server's own words. */
export async function send(method, address, body) {
  const options = { method, headers: headers() };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  return read(await fetch(address, options));
}

export function headers() {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  return { Accept: "application/json", "X-CSRF-Token": token };
}

export async function read(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  if (response.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  const told = await response.json().catch(() => ({}));
  throw new RequestError(response.status, told.error ?? { message: response.statusText });
}

/** A message that goes by itself; kind is info, good, warning or bad. */
export function show(kind, words) {
  const message = element("div", { class: `message ${kind}` }, words);
  document.getElementById("messages").append(message);
  setTimeout(() => message.remove(), kind === "bad" ? 12000 : 4000);
}
