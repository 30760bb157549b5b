// Comforts of the console: keys, numbers that renew themselves, and the focus on errors. Every page works without it.

const KEYS_OFF = "fieldpost.keys.off";
const EVERY = 15000;

const stored = {
  get keysAreOff() {
    try {
      return localStorage.getItem(KEYS_OFF) === "1";
    } catch {
      return false;
    }
  },
  set keysAreOff(value) {
    try {
      localStorage.setItem(KEYS_OFF, value ? "1" : "");
    } catch {
      // The browser keeps nothing for this site: the switch holds for this page alone.
    }
  },
};

/** Move the focus to the next or the previous row of the page's list; a page without a list gives way to the next. */
function step(by) {
  const links = [...document.querySelectorAll("[data-rows] [data-row]")];
  if (!links.length) {
    document.querySelector(by > 0 ? "a[rel=next]" : "a[rel=prev]")?.click();
    return;
  }
  const row = document.activeElement?.closest("tr, li");
  const present = links.findIndex((link) => row?.contains(link));
  const next = present < 0 ? (by > 0 ? 0 : links.length - 1) : present + by;
  links[Math.min(Math.max(next, 0), links.length - 1)].focus();
}

function search() {
  const field = document.querySelector("[data-search]");
  if (!field) return false;
  const box = field.closest("details");
  if (box) box.open = true;
  field.focus();
  return true;
}

/** Choose a value of the field that has the focus: the one of its radio buttons with this key. */
function choose(key) {
  const button = document.activeElement?.closest("fieldset")?.querySelector(`input[data-key="${key}"]`);
  if (!button) return false;
  button.checked = true;
  button.focus();
  return true;
}

const ACTIONS = {
  "/": search,
  j: () => step(1),
  k: () => step(-1),
  1: () => choose(1),
  2: () => choose(2),
  3: () => choose(3),
  "?": () => document.getElementById("keys")?.showModal(),
};

/** Whether keys that are pressed in an element are its own. A ticked box must not turn the keys of the page off. */
function typing(element) {
  const isOwn = element.isContentEditable || /^(input|select|textarea)$/i.test(element.tagName);
  return isOwn && !/^(checkbox|radio)$/.test(element.type);
}

function initKeys() {
  const dialog = document.getElementById("keys");
  const box = document.getElementById("keys-on");
  if (box) {
    box.checked = !stored.keysAreOff;
    box.addEventListener("change", () => (stored.keysAreOff = !box.checked));
  }
  for (const button of document.querySelectorAll("[data-opens-keys]")) {
    button.hidden = false;
    button.addEventListener("click", () => dialog?.showModal());
  }
  document.addEventListener("keydown", (event) => {
    const action = ACTIONS[event.key];
    const isOff = stored.keysAreOff || event.ctrlKey || event.metaKey || event.altKey;
    if (!action || isOff || dialog?.open || typing(event.target)) return;
    if (action() !== false) event.preventDefault();
  });
}

/** Renew the texts of `[data-number]` from an address that answers `{"name": text}` with an ETag. */
function renewFrom(address) {
  let tag = "";
  async function renew() {
    if (document.hidden) return;
    try {
      const answer = await fetch(address, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status !== 200 || answer.redirected) return;
      tag = answer.headers.get("ETag") ?? "";
      for (const [name, text] of Object.entries(await answer.json())) {
        for (const place of document.querySelectorAll(`[data-number="${CSS.escape(name)}"]`)) place.textContent = text;
      }
    } catch {
      // No network at this moment: the next turn tries again.
    }
  }
  setInterval(renew, EVERY);
  document.addEventListener("visibilitychange", renew);
}

function initNumbers() {
  for (const place of document.querySelectorAll("[data-numbers]")) renewFrom(place.dataset.numbers);
}

/** Boxes that choose rows: one for all rows of the page, and the number of the chosen ones. */
function initChoices() {
  const all = document.querySelector("[data-chooses-all]");
  if (!all) return;
  const boxes = [...document.querySelectorAll("[data-choice]")];
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    for (const place of document.querySelectorAll("[data-chosen]")) place.textContent = String(chosen);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  for (const box of boxes) box.addEventListener("change", show);
  show();
}

/** Times in the reader's zone and language; the exact one, as the server has it, stays in the title. */
function initTimes() {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[data-moment]")) {
    time.title = time.dateTime;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

initKeys();
initNumbers();
initChoices();
initTimes();
document.querySelector("[data-errors]")?.focus();
