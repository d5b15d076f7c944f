// Follows the change log: adds each change to the feed, and fetches the rest of the page anew when something has changed.
"use strict";

const MOST = 50;
const PAUSE = 1000; // between two fetches
const LOOK = 30000; // what only time changes is looked at this often
const feed = document.getElementById("feed");
const live = document.getElementById("live");
let after = document.body.dataset.after;
let stream = null;
let due = null;
let busy = false;
let over = false;

function row(change) {
  const time = document.createElement("time");
  time.dateTime = change.at;
  time.textContent = change.at.slice(11, 19);
  const who = document.createElement("small");
  who.textContent = ` ${change.actor}`;
  const state = typeof change.payload.state === "string" ? ` ${change.payload.state}` : "";
  const item = document.createElement("li");
  item.append(time, ` ${change.event} ${change.entity_id}${state}`, who);
  return item;
}

function heard(event) {
  after = event.lastEventId;
  feed.prepend(row(JSON.parse(event.data)));
  while (feed.children.length > MOST) feed.lastElementChild.remove();
  soon();
}

function listen() {
  stream = new EventSource(`/api/v1/events?after=${encodeURIComponent(after)}`);
  for (const name of document.body.dataset.events.split(" ")) stream.addEventListener(name, heard);
  stream.addEventListener("reset", () => location.reload());
  stream.onopen = () => { live.textContent = "live"; };
  stream.onerror = () => {
    live.textContent = "not connected, trying again";
    if (stream.readyState === EventSource.CLOSED && !over) setTimeout(again, 2 * PAUSE);
  };
}

async function again() {
  await fetchState();
  if (!over) listen();
}

function soon() {
  if (due === null && !over) due = setTimeout(refresh, PAUSE);
}

async function refresh() {
  due = null; // before the fetch: what comes during it is fetched too
  if (busy || document.hidden || selecting()) {
    soon();
    return;
  }
  busy = true;
  await fetchState();
  busy = false;
}

function selecting() {
  const chosen = document.getSelection();
  return !chosen.isCollapsed && document.getElementById("state").contains(chosen.anchorNode);
}

async function fetchState() {
  let answer;
  try {
    answer = await fetch("/", { headers: { Accept: "text/html" } });
  } catch {
    return; // the daemon is away; the stream will tell when it is back
  }
  if (answer.status === 401) {
    over = true;
    stream.close();
    live.textContent = "signed out: type holdfast open";
    return;
  }
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = found.getElementById("state");
  if (fresh === null) return;
  const old = document.getElementById("state");
  const open = new Set(Array.from(old.querySelectorAll("details[open]"), (each) => each.dataset.key));
  for (const each of fresh.querySelectorAll("details")) each.open = open.has(each.dataset.key);
  old.replaceWith(document.adoptNode(fresh));
  document.title = found.title;
}

listen();
setInterval(soon, LOOK);
