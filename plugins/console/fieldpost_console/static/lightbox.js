// The lightbox: a picture over the page, with the keys of every dialog, and the arrows. Without it a link opens the picture.

const dialog = document.getElementById("lightbox");
const links = [...document.querySelectorAll("[data-picture]")];
const image = dialog?.querySelector("img");
let present = 0;

function show(place) {
  present = (place + links.length) % links.length;
  const link = links[present];
  image.src = link.href;
  image.alt = link.dataset.picture;
  dialog.querySelector("[data-name]").textContent = link.dataset.picture;
  for (const button of dialog.querySelectorAll("[data-step]")) button.hidden = links.length < 2;
}

for (const [place, link] of links.entries()) {
  link.addEventListener("click", (event) => {
    if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(place);
    dialog.showModal();
  });
}

for (const button of dialog?.querySelectorAll("[data-step]") ?? []) {
  button.addEventListener("click", () => show(present + Number(button.dataset.step)));
}

dialog?.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  show(present + by);
});

dialog?.addEventListener("close", () => {
  image.removeAttribute("src");
  links[present]?.focus();
});
